//! `oauth_revocations`.

use sqlx::{FromRow, types::Json};

use crate::db::{self, Db, On, PerEngine, Tx};

/// What is void, and until when that must be remembered.
#[derive(Debug, Clone, FromRow)]
pub(in crate::oauth) struct Revoked {
    pub(in crate::oauth) id: String,
    pub(in crate::oauth) until: i64,
}

pub(in crate::oauth) async fn put(tx: &mut Tx, id: &str, until: i64, now_ms: i64) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_revocations (id, until, created_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE
         SET until = CASE WHEN excluded.until > oauth_revocations.until THEN excluded.until ELSE oauth_revocations.until END",
    )
    .bind(id.to_owned())
    .bind(until)
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// Whether any of three is void.
pub(in crate::oauth) async fn any<'c>(on: impl On<'c>, [one, two, three]: [&str; 3]) -> db::Result<bool> {
    let found: i64 = on
        .query("SELECT count(*) FROM oauth_revocations WHERE id IN ($1, $2, $3)")
        .bind(one.to_owned())
        .bind(two.to_owned())
        .bind(three.to_owned())
        .scalar()
        .await?;
    Ok(found > 0)
}

/// Those of `ids` that are there.
pub(in crate::oauth) async fn some(db: &Db, ids: &[String]) -> db::Result<Vec<Revoked>> {
    db.query(PerEngine {
        sqlite: "SELECT id, until FROM oauth_revocations WHERE id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT id, until FROM oauth_revocations WHERE id IN (SELECT jsonb_array_elements_text($1))",
    })
    .bind(Json(ids.to_vec()))
    .all()
    .await
}

/// By their ids, after one.
pub(in crate::oauth) async fn after(db: &Db, after: &str, limit: u32) -> db::Result<Vec<Revoked>> {
    db.query("SELECT id, until FROM oauth_revocations WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after.to_owned())
        .bind(i64::from(limit))
        .all()
        .await
}

/// Removes those that no token can need any more; a thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM oauth_revocations WHERE id IN (SELECT id FROM oauth_revocations WHERE until < $1 LIMIT 1000)")
        .bind(now_ms)
        .execute()
        .await
}
