//! What one process of many over one database is to do at a time.

use super::{Begun, Db, Result, Tx};

/// Nobody else does it until this is dropped, or the process dies. PostgreSQL takes it away from whoever holds it for more
/// than a minute without a word, so that what is done must be harmless where two do it.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "its end is the lock's")] Option<Tx>);

impl Db {
    /// `None` where another process does it now. On SQLite there is no other. `what` is a number of its own for each thing.
    pub async fn alone(&self, what: i64) -> Result<Option<Alone>> {
        if matches!(self, Db::Sqlite { .. }) {
            return Ok(Some(Alone(None)));
        }
        let mut tx = self.begin().await?;
        debug_assert!(matches!(tx.begun, Begun::Postgres(_)));
        let got: bool = match &mut tx.begun {
            Begun::Sqlite(_) => true,
            Begun::Postgres(tx) => {
                sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(what).fetch_one(&mut **tx).await?
            }
        };
        Ok(got.then_some(Alone(Some(tx))))
    }
}
