//! A whole database from SQLite into PostgreSQL, for who moves up.
//!
//! It knows no table: names and columns are read from both schemas, which must be this binary's. The source is read in
//! one transaction and not changed. The target must hold nothing but what the migrations put there; what is copied
//! appears in it in one transaction, with the check of it, or not at all. From before that transaction until its end
//! the target carries a [`mark`] by which no control plane starts on it. Rows stream: what is in memory does not grow
//! with them. Deliberately absent: the other direction, and copying a database that is in use.

pub(super) mod mark;
mod row;
mod schema;
mod source;
mod sums;
mod target;
#[cfg(test)]
mod tests;

use sqlx::{PgConnection, postgres::PgDatabaseError};
use tokio_stream::StreamExt;

use self::{
    schema::{Columns, Table, quoted},
    source::Source,
    target::Target,
};
use super::{
    Location, OpenError,
    connect::{self, chain},
};

/// Bytes that are sent to the target at once.
const CHUNK: usize = 256 * 1024;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    pub table: &'a str,
    pub rows: u64,
    pub of: u64,
}

/// What was copied, and found to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// In the order in which they were copied.
    pub tables: Vec<(String, u64)>,
}

/// Why nothing was copied, in one line. The target holds no row of the source's.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("a copy goes from sqlite:FILE to postgres://…")]
    Direction,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the source holds no database of Clearway's: {place}")]
    Foreign { place: String },
    #[error(
        "the source is older than this binary: its schema is at {found}, this binary's at {known}; start this binary's \
         clearway-control on it once, stop it, and copy then"
    )]
    Older { found: i64, known: i64 },
    #[error("the target is not empty: there is something in the table {table}; copy into a new database")]
    NotEmpty { table: String },
    #[error("another copy into the target is under way")]
    UnderWay,
    #[error("the schemas of source and target differ at {at}: that is a fault of this binary")]
    SchemasDiffer { at: String },
    #[error("the tables {tables} refer to each other in a circle: that is a fault of this binary")]
    Circle { tables: String },
    #[error(
        "what arrived is not what was sent: {what} of {column} in the table {table} is {source_has} in the source and \
         {target_has} in the target"
    )]
    Differs { table: String, column: String, what: &'static str, source_has: i64, target_has: i64 },
    #[error("the source cannot be read: {}", chain(.0))]
    Source(#[source] sqlx::Error),
    #[error("the target cannot be written: {}", said(.0))]
    Target(#[source] sqlx::Error),
}

/// With the place in the data where it happened, which PostgreSQL says apart; it holds no values.
fn said(error: &sqlx::Error) -> String {
    let place = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()).and_then(|e| e.r#where());
    place.map_or_else(|| chain(error), |place| format!("{} ({})", chain(error), place.replace('\n', " ")))
}

/// Copies everything, telling of its progress after each table's start and some thousand rows. Nobody else may be
/// writing to the source: that is for the caller to see to.
pub async fn copy(from: &Location, to: &Location, mut progress: impl FnMut(Progress<'_>)) -> Result<Copied, CopyError> {
    let (Location::Sqlite(file), Location::Postgres(url)) = (from, to) else { return Err(CopyError::Direction) };
    let mut source = Source::open(file).await?;
    let mut target = Target::open(url).await?;
    let fresh = source::fresh().await?;
    target.must_be_empty(&fresh).await?;
    let tables = target.prepare().await?;
    // From here on no control plane starts on it; one that did before this has left something.
    if let Err(why) = target.must_be_empty(&fresh).await {
        target.unmark().await?;
        return Err(why);
    }
    same_columns(&source.columns().await?, &tables)?;

    let mut copied = Vec::with_capacity(tables.len());
    let mut tx = target.begin().await?;
    for table in &tables {
        if fresh.contains_key(&table.name) {
            target::clear(&mut tx, table).await?;
        }
        let rows = fill(&mut source, &mut tx, table, &mut progress).await?;
        copied.push((table.name.clone(), rows));
    }
    for table in &tables {
        sums::compare(table, &mut source, &mut tx).await?;
    }
    mark::remove(&mut tx).await.map_err(CopyError::Target)?;
    tx.commit().await.map_err(CopyError::Target)?;
    target.finish().await;
    Ok(Copied { tables: copied })
}

/// One table's rows from one connection to the other.
async fn fill(
    source: &mut Source,
    target: &mut PgConnection,
    table: &Table,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<u64, CopyError> {
    let of = source.count(table).await?;
    progress(Progress { table: &table.name, rows: 0, of });
    let statement = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", quoted(&table.name), table.column_list());
    let mut into = target.copy_in_raw(&statement).await.map_err(CopyError::Target)?;
    let mut chunk = Vec::with_capacity(CHUNK * 2);
    chunk.extend_from_slice(row::HEADER);
    let mut rows = 0;
    let mut read = source.rows(table);
    while let Some(row) = read.next().await {
        row::put(&row.map_err(CopyError::Source)?, &table.columns, &mut chunk).map_err(CopyError::Source)?;
        rows += 1;
        if chunk.len() >= CHUNK {
            into.send(chunk.as_slice()).await.map_err(CopyError::Target)?;
            chunk.clear();
            progress(Progress { table: &table.name, rows, of });
        }
    }
    chunk.extend_from_slice(row::END);
    into.send(chunk.as_slice()).await.map_err(CopyError::Target)?;
    let written = into.finish().await.map_err(CopyError::Target)?;
    if rows > 0 {
        progress(Progress { table: &table.name, rows, of });
    }
    Ok(written)
}

/// Both sets of migrations make the same tables; a test holds them to it. Here it is what nothing may be lost by.
fn same_columns(source: &Columns, tables: &[Table]) -> Result<(), CopyError> {
    let target: Columns = tables.iter().flat_map(Table::names).collect();
    match source.symmetric_difference(&target).next() {
        None => Ok(()),
        Some((table, column)) => Err(CopyError::SchemasDiffer { at: format!("{table}.{column}") }),
    }
}
