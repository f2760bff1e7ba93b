//! Every statement on `audit_unchained` and `audit_chain`.

use clearway_config::audit::{ChainedEntry, Link};
use sqlx::{FromRow, types::Json};

use crate::db::{self, Db, PerEngine, Tx, undecodable};

/// Has links made by one transaction at a time. On SQLite the one writer is that already.
pub(super) async fn lock_chain(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862441)" })
        .execute()
        .await
        .map(|_| ())
}

/// An entry as it is hashed; all of it NULL where the log has no such entry.
#[derive(Debug, FromRow)]
struct EntryRow {
    id: Option<String>,
    account_id: Option<String>,
    at: Option<i64>,
    actor_kind: Option<String>,
    actor_id: Option<String>,
    impersonator_id: Option<String>,
    client_id: Option<String>,
    address: Option<String>,
    request_id: Option<String>,
    action: Option<String>,
    object_kind: Option<String>,
    object_id: Option<String>,
    changes: Option<Json<serde_json::Value>>,
}

impl EntryRow {
    fn read(self) -> Option<ChainedEntry> {
        Some(ChainedEntry {
            id: self.id?,
            account_id: self.account_id?,
            at_ms: self.at?,
            actor_kind: self.actor_kind?,
            actor_id: self.actor_id?,
            impersonator_id: self.impersonator_id,
            client_id: self.client_id,
            address: self.address,
            request_id: self.request_id,
            action: self.action?,
            object_kind: self.object_kind?,
            object_id: self.object_id?,
            changes: self.changes?.0,
        })
    }
}

#[derive(Debug, FromRow)]
struct LinkRow {
    number: i64,
    link: Vec<u8>,
    #[sqlx(flatten)]
    entry: EntryRow,
}

/// Entries that are in no link yet, oldest first.
pub(super) async fn unchained(tx: &mut Tx, limit: i64) -> db::Result<Vec<ChainedEntry>> {
    let rows: Vec<EntryRow> = tx
        .query(
            "SELECT l.id, l.account_id, l.at, l.actor_kind, l.actor_id, l.impersonator_id, l.client_id,
                    l.address, l.request_id, l.action, l.object_kind, l.object_id, l.changes
             FROM audit_unchained u JOIN audit_log l ON l.id = u.audit_id
             ORDER BY l.id
             LIMIT $1",
        )
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().filter_map(EntryRow::read).collect())
}

/// What is in no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(super) struct Unlinked {
    /// Waits for its link.
    pub(super) waiting: i64,
    /// Waited for its link, and is gone from the log.
    pub(super) lost: i64,
    /// Stands in the log and has never waited.
    pub(super) strange: i64,
}

/// Reads the whole log's ids.
pub(super) async fn unlinked(db: &Db) -> db::Result<Unlinked> {
    db.query(
        "SELECT (SELECT count(*) FROM audit_unchained u JOIN audit_log l ON l.id = u.audit_id) AS waiting,
                (SELECT count(*) FROM audit_unchained u LEFT JOIN audit_log l ON l.id = u.audit_id WHERE l.id IS NULL) AS lost,
                (SELECT count(*) FROM audit_log l
                 LEFT JOIN audit_chain c ON c.audit_id = l.id
                 LEFT JOIN audit_unchained u ON u.audit_id = l.id
                 WHERE c.audit_id IS NULL AND u.audit_id IS NULL) AS strange",
    )
    .one()
    .await
}

/// The newest link and its number.
pub(super) async fn last_link(tx: &mut Tx) -> db::Result<Option<(u64, Link)>> {
    let row: Option<(i64, Vec<u8>)> =
        tx.query("SELECT number, link FROM audit_chain ORDER BY number DESC LIMIT 1").optional().await?;
    row.map(|(number, link)| Ok((numbered(number)?, linked(&link)?))).transpose()
}

/// Notes an entry's link; it is in no need of one any more.
pub(super) async fn insert_link(tx: &mut Tx, number: u64, id: &str, link: &Link) -> db::Result<()> {
    tx.query("INSERT INTO audit_chain (number, audit_id, link) VALUES ($1, $2, $3)")
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .bind(id.to_owned())
        .bind(link.as_bytes().to_vec())
        .execute()
        .await?;
    tx.query("DELETE FROM audit_unchained WHERE audit_id = $1").bind(id.to_owned()).execute().await.map(|_| ())
}

/// Links in their order, each with what the log says now of its entry.
pub(super) async fn links_after(db: &Db, after: u64, limit: u64) -> db::Result<Vec<(u64, Link, Option<ChainedEntry>)>> {
    let rows: Vec<LinkRow> = db
        .query(
            "SELECT c.number, c.link, l.id, l.account_id, l.at, l.actor_kind, l.actor_id, l.impersonator_id, l.client_id,
                    l.address, l.request_id, l.action, l.object_kind, l.object_id, l.changes
             FROM audit_chain c LEFT JOIN audit_log l ON l.id = c.audit_id
             WHERE c.number > $1
             ORDER BY c.number
             LIMIT $2",
        )
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .all()
        .await?;
    rows.into_iter().map(|row| Ok((numbered(row.number)?, linked(&row.link)?, row.entry.read()))).collect()
}

fn numbered(number: i64) -> db::Result<u64> {
    u64::try_from(number).map_err(|_| undecodable("audit_chain.number", "is negative"))
}

fn linked(link: &[u8]) -> db::Result<Link> {
    Link::from_slice(link).ok_or_else(|| undecodable("audit_chain.link", "has not 32 bytes"))
}
