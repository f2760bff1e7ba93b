//! The mark of a database into which a copy has begun and not been finished.
//!
//! It is a migration that has not succeeded, with a number that none has: whatever reads the table of migrations, this
//! binary or an older one, does not start on such a database.

use sqlx::PgConnection;

/// No migration's number.
pub(in crate::db) const VERSION: i64 = -1;

/// To be committed before anything is copied.
pub(super) async fn set(target: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ($1, 'a copy into this database has begun and has not been finished', FALSE, '', 0)",
    )
    .bind(VERSION)
    .execute(target)
    .await
    .map(|_| ())
}

pub(super) async fn remove(target: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = $1").bind(VERSION).execute(target).await.map(|_| ())
}
