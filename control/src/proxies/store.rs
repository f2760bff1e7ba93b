//! The read of `proxies`.

use clearway_config::ProxyId;
use sqlx::FromRow;

use crate::{
    db::{self, On, Page, cut},
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
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, paging: Paging<ProxyId>) -> db::Result<Page<Row, String>> {
    let rows = on
        .query(
            "SELECT id, name, version, revision, created_at, last_seen_at, refused
             FROM proxies
             WHERE CAST($1 AS TEXT) IS NULL OR id < $1
             ORDER BY id DESC
             LIMIT $2 OFFSET $3",
        )
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    Ok(cut(rows, paging.limit, |row| row.id.clone()))
}
