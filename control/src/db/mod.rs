//! The database seam: one enum over two native sqlx pools.
//!
//! A feature's `store.rs` writes each statement once, with `$n` markers, and never learns which engine
//! answers. Values and rows are native sqlx types, so `bool`, `Json<T>`, `Vec<u8>` and `Option<_>`
//! work on both. Deliberately absent: an ORM, retries, and any knowledge of a table.

mod connect;
mod error;
mod page;
mod query;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use sqlx::{Postgres, Sqlite, SqlitePool, postgres::PgPool};

pub use connect::{Location, OpenError};
pub use error::{Error, Result, decode, undecodable};
pub use page::{Page, cut};
pub use query::{PerEngine, Query, Record, Scalar, Sql, Value};

/// A database that is open and has this binary's schema.
#[derive(Debug, Clone)]
pub enum Db {
    /// WAL: readers never wait, writers queue fairly for the one connection that writes.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Postgres(PgPool),
}

impl Db {
    /// One statement by itself. On SQLite whatever begins with `SELECT` goes to a read-only connection, so
    /// that a wrong guess fails loudly instead of writing beside the one writer.
    pub fn query(&self, sql: impl Sql) -> Query<'_> {
        match self {
            Db::Sqlite { read, write } => {
                let sql = sql.sqlite();
                let pool = if sql.trim_start().starts_with("SELECT") { read } else { write };
                Query::sqlite_pool(sql, pool)
            }
            Db::Postgres(pool) => Query::postgres_pool(sql.postgres(), pool),
        }
    }

    /// A transaction that writes. SQLite takes its write lock at once, so that it cannot fail half way with BUSY.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Db::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// A transaction that only reads, and sees one state of the database throughout.
    pub async fn begin_read(&self) -> Result<Tx> {
        Ok(match self {
            Db::Sqlite { read, .. } => Tx::Sqlite(read.begin_with("BEGIN DEFERRED").await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.query("SELECT 1 WHERE 1 = 1").execute().await.map(|_| ())
    }

    /// Waits for connections in use to come back, and closes them all.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }

    /// The engine's name, for logs and tests.
    pub fn engine(&self) -> &'static str {
        match self {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }
}

/// A unit of work on one connection; dropping it undoes it. After a failed statement it must be dropped:
/// PostgreSQL refuses everything that follows, SQLite would carry on.
#[derive(Debug)]
pub enum Tx {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    pub fn query(&mut self, sql: impl Sql) -> Query<'_> {
        match self {
            Tx::Sqlite(tx) => Query::sqlite(sql.sqlite(), tx),
            Tx::Postgres(tx) => Query::postgres(sql.postgres(), tx),
        }
    }

    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Sqlite(tx) => tx.commit().await?,
            Tx::Postgres(tx) => tx.commit().await?,
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
