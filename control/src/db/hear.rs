//! Hearing of other processes' commits by PostgreSQL's NOTIFY. A hint, never the only way: whoever hears also looks now
//! and then, since what is said while a connection is broken is lost.

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{Db, Result};

/// A connection of its own that hears of some channels.
pub struct Hearing(PgListener);

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hearing(…)")
    }
}

impl Db {
    /// `None` on SQLite, which no other process writes.
    pub async fn hear(&self, channels: &[&'static str]) -> Result<Option<Hearing>> {
        let Db::Postgres { pool, .. } = self else { return Ok(None) };
        // Beside the pool, which may be as small as one connection.
        let options = pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok(Some(Hearing(listener)))
    }
}

impl Hearing {
    /// The next channel that something was said on; `None` when the connection was lost and is there again, so that
    /// anything may have been missed.
    pub async fn next(&mut self) -> Result<Option<String>> {
        Ok(self.0.try_recv().await?.map(|heard| heard.channel().to_owned()))
    }
}
