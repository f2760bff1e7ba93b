//! The database seam: one enum over two native sqlx pools.
//!
//! A feature's `store.rs` writes each statement once, with `$n` markers, and never learns which engine
//! answers. Values and rows are native sqlx types, so `bool`, `Json<T>`, `Vec<u8>` and `Option<_>`
//! work on both. Deliberately absent: an ORM, retries, and any knowledge of a table.

mod alone;
mod connect;
pub mod copy;
mod error;
mod hear;
mod page;
mod query;
mod signal;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod words;

use sqlx::{Postgres, Sqlite, SqlitePool, postgres::PgPool};
use tokio::sync::watch;

pub use alone::Alone;
pub use connect::{Location, OpenError};
pub use error::{Error, Result, decode, undecodable};
pub use hear::Hearing;
pub use page::{Page, cut};
pub use query::{Columns, PerEngine, Query, Record, Scalar, Sql, Value};
pub use signal::{Signal, Signals};
pub use words::{Wanted, folded};

/// A database that is open and has this binary's schema.
#[derive(Debug, Clone)]
pub enum Db {
    /// WAL: readers never wait, writers queue fairly for the one connection that writes.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
        signals: Signals,
    },
    Postgres {
        pool: PgPool,
        signals: Signals,
    },
}

impl Db {
    /// One statement by itself. On SQLite whatever begins with `SELECT` goes to a read-only connection, so
    /// that a wrong guess fails loudly instead of writing beside the one writer.
    pub fn query(&self, sql: impl Sql) -> Query<'_> {
        match self {
            Db::Sqlite { read, write, .. } => {
                let sql = sql.sqlite();
                let pool = if sql.trim_start().starts_with("SELECT") { read } else { write };
                Query::sqlite_pool(sql, pool)
            }
            Db::Postgres { pool, .. } => Query::postgres_pool(sql.postgres(), pool),
        }
    }

    /// A transaction that writes. SQLite takes its write lock at once, so that it cannot fail half way with BUSY.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Db::Sqlite { write, signals, .. } => Tx::new(Begun::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?), signals),
            Db::Postgres { pool, signals } => Tx::new(Begun::Postgres(pool.begin().await?), signals),
        })
    }

    /// A transaction that only reads, and sees one state of the database throughout.
    pub async fn begin_read(&self) -> Result<Tx> {
        Ok(match self {
            Db::Sqlite { read, signals, .. } => Tx::new(Begun::Sqlite(read.begin_with("BEGIN DEFERRED").await?), signals),
            Db::Postgres { pool, signals } => {
                let begun = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                Tx::new(Begun::Postgres(begun), signals)
            }
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.query("SELECT 1 WHERE 1 = 1").execute().await.map(|_| ())
    }

    /// Waits for connections in use to come back, and closes them all.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { read, write, .. } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres { pool, .. } => pool.close().await,
        }
    }

    /// Changes with every commit of this process that [`Tx::announce`]d this signal. What other processes commit is not
    /// heard of here: whoever listens also looks now and then.
    pub fn listen(&self, signal: Signal) -> watch::Receiver<u64> {
        match self {
            Db::Sqlite { signals, .. } | Db::Postgres { signals, .. } => signals.listen(signal),
        }
    }

    /// The engine's name, for logs and tests.
    pub fn engine(&self) -> &'static str {
        match self {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres { .. } => "postgres",
        }
    }
}

/// A unit of work on one connection; dropping it undoes it. After a failed statement it must be dropped:
/// PostgreSQL refuses everything that follows, SQLite would carry on.
#[derive(Debug)]
pub struct Tx {
    begun: Begun,
    signals: Signals,
    announced: Vec<Signal>,
}

#[derive(Debug)]
enum Begun {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    fn new(begun: Begun, signals: &Signals) -> Self {
        Self { begun, signals: signals.clone(), announced: Vec::new() }
    }

    pub fn query(&mut self, sql: impl Sql) -> Query<'_> {
        match &mut self.begun {
            Begun::Sqlite(tx) => Query::sqlite(sql.sqlite(), tx),
            Begun::Postgres(tx) => Query::postgres(sql.postgres(), tx),
        }
    }

    /// Wakes who [`Db::listen`]s in this process, once this has been committed.
    pub fn announce(&mut self, signal: Signal) {
        if !self.announced.contains(&signal) {
            self.announced.push(signal);
        }
    }

    pub async fn commit(self) -> Result<()> {
        match self.begun {
            Begun::Sqlite(tx) => tx.commit().await?,
            Begun::Postgres(tx) => tx.commit().await?,
        }
        for signal in self.announced {
            self.signals.raise(signal);
        }
        Ok(())
    }
}

/// Where one statement can run: a `&Db` by itself, a `&mut Tx` as part of its unit of work. For the reads
/// that both handlers and acts need.
pub trait On<'c> {
    fn query(self, sql: impl Sql) -> Query<'c>;
}

impl<'c> On<'c> for &'c Db {
    fn query(self, sql: impl Sql) -> Query<'c> {
        Db::query(self, sql)
    }
}

impl<'c> On<'c> for &'c mut Tx {
    fn query(self, sql: impl Sql) -> Query<'c> {
        Tx::query(self, sql)
    }
}
