//! Every statement on `certificates`.

use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

/// A certificate as it is stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Stored {
    pub(super) name: String,
    /// PEM.
    pub(super) chain: String,
    pub(super) sealed_key: Vec<u8>,
    /// Counts its changes, from 1.
    pub(super) version: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// From here to the transaction's end no other changes a certificate. SQLite has one writer anyway.
pub(super) async fn lock(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862440)" })
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn find<'c>(on: impl On<'c>, name: &str) -> db::Result<Option<Stored>> {
    on.query("SELECT name, chain, sealed_key, version, created_at, updated_at FROM certificates WHERE name = $1")
        .bind(name.to_owned())
        .optional()
        .await
}

pub(super) async fn count<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT count(*) FROM certificates").scalar().await
}

/// By name.
pub(super) async fn list<'c>(on: impl On<'c>, paging: Paging<String>) -> db::Result<Page<Stored>> {
    let rows = on
        .query(
            "SELECT name, chain, sealed_key, version, created_at, updated_at
             FROM certificates
             WHERE name > $1
             ORDER BY name
             LIMIT $2 OFFSET $3",
        )
        .bind(paging.cursor.unwrap_or_default())
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Stored>()
        .await?;
    Ok(cut(rows, paging.limit, |stored| stored.name.clone()))
}

/// Those of `names` that exist.
pub(super) async fn some<'c>(on: impl On<'c>, names: &[String]) -> db::Result<Vec<Stored>> {
    on.query(PerEngine {
        sqlite: "SELECT name, chain, sealed_key, version, created_at, updated_at
                 FROM certificates
                 WHERE name IN (SELECT value FROM json_each($1))",
        postgres: "SELECT name, chain, sealed_key, version, created_at, updated_at
                   FROM certificates
                   WHERE name IN (SELECT jsonb_array_elements_text($1))",
    })
    .bind(Json(names.to_vec()))
    .all()
    .await
}

pub(super) async fn put(tx: &mut Tx, stored: &Stored) -> db::Result<()> {
    tx.query(
        "INSERT INTO certificates (name, chain, sealed_key, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO UPDATE
         SET chain = excluded.chain, sealed_key = excluded.sealed_key, version = excluded.version,
             updated_at = excluded.updated_at",
    )
    .bind(stored.name.clone())
    .bind(stored.chain.clone())
    .bind(stored.sealed_key.clone())
    .bind(stored.version)
    .bind(stored.created_at)
    .bind(stored.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn delete(tx: &mut Tx, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM certificates WHERE name = $1").bind(name.to_owned()).execute().await.map(|_| ())
}
