//! What operators see and do of `proxies`.

use clearway_config::ProxyId;
use sqlx::FromRow;

use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) revision: i64,
    pub(super) created_at: i64,
    pub(super) last_seen_at: i64,
    pub(super) refused: String,
    /// The control process that it was last attached to; empty where that said nothing of it.
    pub(super) control: String,
    pub(super) report: String,
    pub(super) ago_ms: i64,
    /// How long ago the first change was made that it lacks; 0 where it lacks none.
    pub(super) behind_ms: i64,
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, paging: Paging<ProxyId>) -> db::Result<Page<Row, String>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT id, name, version, revision, created_at, last_seen_at, refused, control, report,
                            CAST(unixepoch('subsec') * 1000 AS INTEGER) - last_seen_at AS ago_ms,
                            COALESCE((SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) - changes.created_at
                                      FROM changes WHERE changes.revision = proxies.revision + 1), 0) AS behind_ms
                     FROM proxies
                     WHERE CAST($1 AS TEXT) IS NULL OR id < $1
                     ORDER BY id DESC
                     LIMIT $2 OFFSET $3",
            postgres: "SELECT id, name, version, revision, created_at, last_seen_at, refused, control, report,
                              CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - last_seen_at AS ago_ms,
                              COALESCE((SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - changes.created_at
                                        FROM changes WHERE changes.revision = proxies.revision + 1), 0) AS behind_ms
                       FROM proxies
                       WHERE CAST($1 AS TEXT) IS NULL OR id < $1
                       ORDER BY id DESC
                       LIMIT $2 OFFSET $3",
        })
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    Ok(cut(rows, paging.limit, |row| row.id.clone()))
}

/// Its name, where it is there.
pub(super) async fn name(tx: &mut Tx, id: &ProxyId) -> db::Result<Option<String>> {
    let name = tx.query("SELECT name FROM proxies WHERE id = $1").bind(id.to_string()).optional::<(String,)>().await?;
    Ok(name.map(|(name,)| name))
}

/// Forgets a proxy that was not heard of for `silent_ms` beyond its lease, or one of `lease_ms`. Whether it did.
pub(super) async fn forget(tx: &mut Tx, id: &ProxyId, silent_ms: i64, lease_ms: i64) -> db::Result<bool> {
    let gone = tx
        .query(PerEngine {
            sqlite: "DELETE FROM proxies
                     WHERE id = $1
                       AND last_seen_at + MAX(COALESCE(lease_ms, 0), $3) + $2 < CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            postgres: "DELETE FROM proxies
                       WHERE id = $1
                         AND last_seen_at + GREATEST(COALESCE(lease_ms, 0), $3) + $2
                             < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        })
        .bind(id.to_string())
        .bind(silent_ms)
        .bind(lease_ms)
        .execute()
        .await?;
    Ok(gone > 0)
}

/// Forgets some of those that were not heard of for so long: how many.
pub(super) async fn forget_silent(db: &Db, silent_ms: i64) -> db::Result<u64> {
    db.query(PerEngine {
        sqlite: "DELETE FROM proxies
                 WHERE id IN (SELECT id FROM proxies
                              WHERE last_seen_at + $1 < CAST(unixepoch('subsec') * 1000 AS INTEGER) LIMIT 1000)",
        postgres: "DELETE FROM proxies
                   WHERE id IN (SELECT id FROM proxies
                                WHERE last_seen_at + $1 < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)
                                LIMIT 1000)",
    })
    .bind(silent_ms)
    .execute()
    .await
}
