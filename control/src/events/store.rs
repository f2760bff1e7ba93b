//! Every statement on `events`, `event_sequence` and `event_types`.

use clearway_config::{AccountId, EventId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use crate::db::{self, On, PerEngine, Tx};

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
pub(super) struct NewRow {
    pub(super) sequence: i64,
    pub(super) id: EventId,
    pub(super) account_id: AccountId,
    pub(super) kind: String,
    pub(super) version: i64,
    pub(super) object_id: Option<String>,
    pub(super) body: String,
    pub(super) idempotency_key: Option<String>,
    /// In hexadecimal.
    pub(super) fingerprint: Option<String>,
    pub(super) created_at: i64,
}

/// Takes the next `count` sequences, and the lock that keeps them in commit order; the one before the first of them.
pub(super) async fn take(tx: &mut Tx, count: usize) -> db::Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = tx.query("UPDATE event_sequence SET last = last + $1 RETURNING last").bind(count).scalar().await?;
    Ok(last - count)
}

/// Writes events, all in one statement.
pub(super) async fn insert(tx: &mut Tx, rows: Vec<NewRow>) -> db::Result<()> {
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
                   FROM jsonb_to_recordset($1) AS event (sequence BIGINT, id TEXT, account_id TEXT, kind TEXT, version BIGINT,
                        object_id TEXT, body TEXT, idempotency_key TEXT, fingerprint TEXT, created_at BIGINT)",
    })
    .bind(Json(rows))
    .execute()
    .await
    .map(|_| ())
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

impl TryFrom<EventRow> for Row {
    type Error = db::Error;

    fn try_from(row: EventRow) -> db::Result<Self> {
        let EventRow { sequence, id, account_id, kind, version, object_id, body, created_at } = row;
        let (id, account_id) = (db::decode("events.id", &id)?, db::decode("events.account_id", &account_id)?);
        Ok(Self { sequence, id, account_id, kind, version, object_id, body, created_at })
    }
}
