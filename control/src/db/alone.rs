//! What one process of many over one database is to do at a time.

use sqlx::{Connection, PgConnection};

use super::{Db, Result};

/// Nobody else does it until this is dropped, or the process dies. Where the connection breaks another may begin, so that
/// what is done must be harmless where two do it.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "the lock is held for as long as the connection is")] Option<PgConnection>);

impl Db {
    /// `None` where another process does it now. On SQLite there is no other. `what` is a number of its own for each thing.
    pub async fn alone(&self, what: i64) -> Result<Option<Alone>> {
        let Db::Postgres { pool, .. } = self else { return Ok(Some(Alone(None))) };
        // Beside the pool, which may be as small as one connection.
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(what).fetch_one(&mut connection).await?;
        Ok(got.then_some(Alone(Some(connection))))
    }
}
