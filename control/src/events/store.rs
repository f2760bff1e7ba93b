//! Every statement on `events` and `event_sequence`.

use std::collections::{HashMap, HashSet};

use clearway_config::{AccountId, EventId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, On, PerEngine, Tx},
    http::hex,
};

/// An event that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in commit order.
    pub sequence: i64,
    pub id: EventId,
    pub account_id: AccountId,
    /// Its type.
    pub kind: String,
    pub version: i64,
    pub object_id: Option<String>,
    /// What is posted, byte for byte.
    pub body: String,
    pub created_at: i64,
}

#[derive(Debug, FromRow)]
struct EventRow {
    sequence: i64,
    id: String,
    account_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    version: i64,
    object_id: Option<String>,
    body: String,
    created_at: i64,
}

/// An event about to be written.
#[derive(Debug, Serialize)]
pub(super) struct NewRow<'a> {
    pub(super) sequence: i64,
    pub(super) id: EventId,
    pub(super) account_id: AccountId,
    pub(super) kind: &'a str,
    pub(super) version: i64,
    pub(super) object_id: Option<&'a str>,
    pub(super) body: &'a str,
    pub(super) idempotency_key: Option<&'a str>,
    /// In hexadecimal.
    pub(super) fingerprint: Option<&'a str>,
    pub(super) created_at: i64,
}

/// Takes the next `count` sequences, and the lock that keeps them in commit order; the one before the first of them.
pub(super) async fn take(tx: &mut Tx, count: usize) -> db::Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = tx.query("UPDATE event_sequence SET last = last + $1 RETURNING last").bind(count).scalar().await?;
    Ok(last - count)
}

/// Writes events, all in one statement.
pub(super) async fn insert(tx: &mut Tx, rows: &[NewRow<'_>]) -> db::Result<()> {
    tx.query(PerEngine {
        sqlite: "INSERT INTO events
                     (sequence, id, account_id, type, version, object_id, body, idempotency_key, fingerprint, created_at)
                 SELECT value ->> 'sequence', value ->> 'id', value ->> 'account_id', value ->> 'kind', value ->> 'version',
                        value ->> 'object_id', value ->> 'body', value ->> 'idempotency_key',
                        unhex(value ->> 'fingerprint'), value ->> 'created_at'
                 FROM json_each($1)",
        postgres: "INSERT INTO events
                       (sequence, id, account_id, type, version, object_id, body, idempotency_key, fingerprint, created_at)
                   SELECT sequence, id, account_id, kind, version, object_id, body, idempotency_key,
                          decode(fingerprint, 'hex'), created_at
                   FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS TEXT[]),
                               CAST($5 AS BIGINT[]), CAST($6 AS TEXT[]), CAST($7 AS TEXT[]), CAST($8 AS TEXT[]),
                               CAST($9 AS TEXT[]), CAST($10 AS BIGINT[]))
                     AS event (sequence, id, account_id, kind, version, object_id, body, idempotency_key, fingerprint, created_at)",
    })
    .bind_rows(rows, |columns| {
        columns.push(rows.iter().map(|row| row.sequence).collect());
        columns.push(rows.iter().map(|row| row.id.to_string()).collect());
        columns.push(rows.iter().map(|row| row.account_id.to_string()).collect());
        columns.push(rows.iter().map(|row| row.kind).collect());
        columns.push(rows.iter().map(|row| row.version).collect());
        columns.push(rows.iter().map(|row| row.object_id).collect());
        columns.push(rows.iter().map(|row| row.body).collect());
        columns.push(rows.iter().map(|row| row.idempotency_key).collect());
        columns.push(rows.iter().map(|row| row.fingerprint).collect());
        columns.push(rows.iter().map(|row| row.created_at).collect());
    })
    .execute()
    .await
    .map(|_| ())
}

/// Gives sequences back that were taken and are not used, so that none is left out.
pub(super) async fn give_back(tx: &mut Tx, count: usize) -> db::Result<()> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    tx.query("UPDATE event_sequence SET last = last - $1").bind(count).execute().await.map(|_| ())
}

/// What came with an idempotency key, when it was first used.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: EventId,
    /// In hexadecimal.
    pub(super) fingerprint: String,
}

/// Those of some accounts' idempotency keys that have been used, in one statement.
pub(super) async fn keyed(tx: &mut Tx, keys: &[(AccountId, &str)]) -> db::Result<HashMap<(AccountId, String), Kept>> {
    let rows: Vec<(String, String, String, Vec<u8>)> = tx
        .query(PerEngine {
            sqlite: "SELECT e.account_id, e.idempotency_key, e.id, e.fingerprint
                     FROM json_each($1) wanted
                     JOIN events e ON e.account_id = wanted.value ->> 0 AND e.idempotency_key = wanted.value ->> 1
                     WHERE e.idempotency_key IS NOT NULL",
            postgres: "SELECT e.account_id, e.idempotency_key, e.id, e.fingerprint
                       FROM jsonb_array_elements($1) wanted (value)
                       JOIN events e ON e.account_id = wanted.value ->> 0 AND e.idempotency_key = wanted.value ->> 1
                       WHERE e.idempotency_key IS NOT NULL",
        })
        .bind(Json(keys))
        .all()
        .await?;
    let kept = rows.into_iter().map(|(account, key, id, fingerprint)| {
        let kept = Kept { id: db::decode("events.id", &id)?, fingerprint: hex(&fingerprint) };
        Ok(((db::decode("events.account_id", &account)?, key), kept))
    });
    kept.collect()
}

/// Those of some accounts that are there.
pub(super) async fn known_accounts(tx: &mut Tx, ids: HashSet<AccountId>) -> db::Result<HashSet<AccountId>> {
    let rows: Vec<(String,)> = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM accounts WHERE id IN (SELECT value FROM json_each($1))",
            postgres: "SELECT id FROM accounts WHERE id IN (SELECT jsonb_array_elements_text($1))",
        })
        .bind(Json(ids))
        .all()
        .await?;
    rows.into_iter().map(|(id,)| db::decode("accounts.id", &id)).collect()
}

/// The events of all accounts after a sequence, in order, `limit` at most. Whoever has seen one has seen all before it:
/// none is committed later with a lesser sequence.
pub async fn after<'c>(on: impl On<'c>, sequence: i64, limit: u32) -> db::Result<Vec<Row>> {
    let rows = on
        .query(
            "SELECT sequence, id, account_id, type, version, object_id, body, created_at
             FROM events
             WHERE sequence > $1
             ORDER BY sequence
             LIMIT $2",
        )
        .bind(sequence)
        .bind(i64::from(limit))
        .all::<EventRow>()
        .await?;
    rows.into_iter().map(Row::try_from).collect()
}

/// The last sequence that was given; 0 before the first event.
pub async fn last<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT last FROM event_sequence").scalar().await
}

/// An event, if it is of `account`; NULL is every account, for admins.
pub(super) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: EventId) -> db::Result<Option<Row>> {
    let row = on
        .query(
            "SELECT sequence, id, account_id, type, version, object_id, body, created_at
             FROM events
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<EventRow>()
        .await?;
    row.map(Row::try_from).transpose()
}

/// An account's events after a sequence, in order; without those by which a webhook was tried out.
pub(super) async fn of_account<'c>(on: impl On<'c>, account: AccountId, sequence: i64, limit: u32) -> db::Result<Vec<Row>> {
    let rows = on
        .query(
            "SELECT sequence, id, account_id, type, version, object_id, body, created_at
             FROM events
             WHERE account_id = $1 AND sequence > $2 AND only_for IS NULL
             ORDER BY sequence
             LIMIT $3",
        )
        .bind(account.to_string())
        .bind(sequence)
        .bind(i64::from(limit))
        .all::<EventRow>()
        .await?;
    rows.into_iter().map(Row::try_from).collect()
}

/// Places and types of an account's events after a sequence, in order: what a type is looked for in.
pub(super) async fn kinds_of_account<'c>(
    on: impl On<'c>,
    account: AccountId,
    sequence: i64,
    limit: u32,
) -> db::Result<Vec<(i64, String)>> {
    on.query("SELECT sequence, type FROM events WHERE account_id = $1 AND sequence > $2 AND only_for IS NULL ORDER BY sequence LIMIT $3")
        .bind(account.to_string())
        .bind(sequence)
        .bind(i64::from(limit))
        .all()
        .await
}

/// An account's events of these sequences, in order.
pub(super) async fn of_sequences<'c>(on: impl On<'c>, account: AccountId, sequences: &[i64]) -> db::Result<Vec<Row>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT sequence, id, account_id, type, version, object_id, body, created_at
                     FROM events
                     WHERE account_id = $1 AND sequence IN (SELECT value FROM json_each($2))
                     ORDER BY sequence",
            postgres: "SELECT sequence, id, account_id, type, version, object_id, body, created_at
                       FROM events
                       WHERE account_id = $1 AND sequence IN (SELECT CAST(jsonb_array_elements_text($2) AS BIGINT))
                       ORDER BY sequence",
        })
        .bind(account.to_string())
        .bind(Json(sequences))
        .all::<EventRow>()
        .await?;
    rows.into_iter().map(Row::try_from).collect()
}

impl TryFrom<EventRow> for Row {
    type Error = db::Error;

    fn try_from(row: EventRow) -> db::Result<Self> {
        let EventRow { sequence, id, account_id, kind, version, object_id, body, created_at } = row;
        let (id, account_id) = (db::decode("events.id", &id)?, db::decode("events.account_id", &account_id)?);
        Ok(Self { sequence, id, account_id, kind, version, object_id, body, created_at })
    }
}
