//! One statement with its values, on whichever engine it was begun.

use serde::Serialize;
use sqlx::{
    Arguments, Decode, Encode, FromRow, PgConnection, Postgres, Sqlite, SqliteConnection, SqlitePool, Type,
    error::BoxDynError,
    postgres::{PgArguments, PgPool, PgRow},
    query_as_with, query_scalar_with, query_with,
    sqlite::{SqliteArguments, SqliteRow},
    types::Json,
};

use super::{Error, Result};

/// A value that both engines can store.
pub trait Value: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}
impl<T> Value for T where T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> {}

/// A single column that both engines can return.
pub trait Scalar:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin
{
}
impl<T> Scalar for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin
{
}

/// A row that both engines can return: `#[derive(sqlx::FromRow)]` is enough.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// SQL for both engines, or for each its own.
pub trait Sql {
    fn sqlite(self) -> &'static str;
    fn postgres(self) -> &'static str;
}

impl Sql for &'static str {
    fn sqlite(self) -> &'static str {
        self
    }

    fn postgres(self) -> &'static str {
        self
    }
}

/// For the few statements whose text differs. Both must take the same values, but for those of [`Query::bind_rows`].
#[derive(Debug, Clone, Copy)]
pub struct PerEngine {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl Sql for PerEngine {
    fn sqlite(self) -> &'static str {
        self.sqlite
    }

    fn postgres(self) -> &'static str {
        self.postgres
    }
}

/// A statement that is being given its values.
#[must_use = "a query does nothing until it is run"]
#[derive(Debug)]
pub struct Query<'c> {
    sql: &'static str,
    target: Target<'c>,
    bound: usize,
    fault: Option<BoxDynError>,
}

#[derive(Debug)]
enum Target<'c> {
    SqlitePool(&'c SqlitePool, SqliteArguments),
    Sqlite(&'c mut SqliteConnection, SqliteArguments),
    PostgresPool(&'c PgPool, PgArguments),
    Postgres(&'c mut PgConnection, PgArguments),
}

/// What is bound in place of rows: an array for each column.
#[derive(Debug)]
pub struct Columns<'a> {
    args: &'a mut PgArguments,
    bound: usize,
    fault: Option<BoxDynError>,
}

impl Columns<'_> {
    pub fn push<'q, T>(&mut self, column: Vec<T>)
    where
        Vec<T>: Encode<'q, Postgres> + Type<Postgres>,
    {
        self.bound += 1;
        if let Err(fault) = self.args.add(column) {
            self.fault.get_or_insert(fault);
        }
    }
}

/// Runs one expression against whichever executor the query holds.
macro_rules! run {
    ($query:ident, |$sql:ident, $args:ident, $on:ident| $run:expr) => {{
        $query.check()?;
        let $sql = $query.sql;
        match $query.target {
            Target::SqlitePool($on, $args) => $run,
            Target::Sqlite($on, $args) => $run,
            Target::PostgresPool($on, $args) => $run,
            Target::Postgres($on, $args) => $run,
        }
    }};
}

impl<'c> Query<'c> {
    fn new(sql: &'static str, target: Target<'c>) -> Self {
        Self { sql, target, bound: 0, fault: None }
    }

    pub(super) fn sqlite_pool(sql: &'static str, pool: &'c SqlitePool) -> Self {
        Self::new(sql, Target::SqlitePool(pool, SqliteArguments::default()))
    }

    pub(super) fn sqlite(sql: &'static str, connection: &'c mut SqliteConnection) -> Self {
        Self::new(sql, Target::Sqlite(connection, SqliteArguments::default()))
    }

    pub(super) fn postgres_pool(sql: &'static str, pool: &'c PgPool) -> Self {
        Self::new(sql, Target::PostgresPool(pool, PgArguments::default()))
    }

    pub(super) fn postgres(sql: &'static str, connection: &'c mut PgConnection) -> Self {
        Self::new(sql, Target::Postgres(connection, PgArguments::default()))
    }

    /// The value of the next marker.
    pub fn bind(mut self, value: impl Value) -> Self {
        let added = match &mut self.target {
            Target::SqlitePool(_, args) | Target::Sqlite(_, args) => args.add(value),
            Target::PostgresPool(_, args) | Target::Postgres(_, args) => args.add(value),
        };
        self.bound += 1;
        if let Err(fault) = added {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// The values of many rows: on SQLite one marker, an array of JSON objects; on PostgreSQL a marker for each column, in the
    /// order in which `columns` gives them. PostgreSQL takes half the time for those that it takes for JSON.
    pub fn bind_rows<R: Serialize>(mut self, rows: &[R], columns: impl FnOnce(&mut Columns<'_>)) -> Self {
        let fault = match &mut self.target {
            Target::SqlitePool(_, args) | Target::Sqlite(_, args) => {
                self.bound += 1;
                args.add(Json(rows)).err()
            }
            Target::PostgresPool(_, args) | Target::Postgres(_, args) => {
                let mut given = Columns { args, bound: 0, fault: None };
                columns(&mut given);
                let Columns { bound, fault, .. } = given;
                self.bound += bound;
                fault
            }
        };
        if let Some(fault) = fault {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// How many rows were changed.
    pub async fn execute(mut self) -> Result<u64> {
        Ok(run!(self, |sql, args, on| query_with(sql, args).execute(on).await?.rows_affected()))
    }

    /// The row, which must be there.
    pub async fn one<T: Record>(mut self) -> Result<T> {
        Ok(run!(self, |sql, args, on| query_as_with(sql, args).fetch_one(on).await?))
    }

    pub async fn optional<T: Record>(mut self) -> Result<Option<T>> {
        Ok(run!(self, |sql, args, on| query_as_with(sql, args).fetch_optional(on).await?))
    }

    /// Every row: for statements that bound how many there can be.
    pub async fn all<T: Record>(mut self) -> Result<Vec<T>> {
        Ok(run!(self, |sql, args, on| query_as_with(sql, args).fetch_all(on).await?))
    }

    /// The first column of the row, which must be there.
    pub async fn scalar<T: Scalar>(mut self) -> Result<T> {
        Ok(run!(self, |sql, args, on| query_scalar_with(sql, args).fetch_one(on).await?))
    }

    /// SQLite reads a marker without a value as NULL; here that is a fault on both engines.
    fn check(&mut self) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(sqlx::Error::Encode(fault).into());
        }
        let marked = highest_marker(self.sql);
        if self.bound == marked { Ok(()) } else { Err(Error::Markers { sql: self.sql, marked, bound: self.bound }) }
    }
}

/// The `n` of the greatest `$n`; 0 without one.
fn highest_marker(sql: &str) -> usize {
    let digits = |after: &str| after.bytes().take_while(u8::is_ascii_digit).count();
    sql.split('$').skip(1).filter_map(|after| after[..digits(after)].parse().ok()).max().unwrap_or(0)
}
