//! The SQLite file that is copied from: read in one transaction, never written.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::Migration,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tokio_stream::Stream;

use super::{
    CopyError, OpenError,
    connect::{SQLITE_MIGRATIONS, chain},
    schema::{Columns, Table, quoted},
};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Source {
    /// Within the transaction, from beginning to end.
    connection: SqliteConnection,
}

impl Source {
    /// A database of exactly this binary's schema.
    pub(super) async fn open(file: &Path) -> Result<Self, CopyError> {
        let place = format!("sqlite:{}", file.display());
        let unreachable = |error: sqlx::Error| OpenError::Unreachable { place: place.clone(), why: chain(&error) };
        let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let mut connection = options.connect().await.map_err(unreachable)?;
        sqlx::query("BEGIN").execute(&mut connection).await.map_err(CopyError::Source)?;
        let has_schema = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
        let has_schema: i64 = sqlx::query_scalar(has_schema).fetch_one(&mut connection).await.map_err(unreachable)?;
        if has_schema == 0 {
            return Err(CopyError::Foreign { place });
        }
        check_version(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Without virtual tables and those behind them: what is searched is made again from what was copied.
    pub(super) async fn columns(&mut self) -> Result<Columns, CopyError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.name, c.name
             FROM pragma_table_list t, pragma_table_info(t.name) c
             WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
               AND t.name <> '_sqlx_migrations'",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(CopyError::Source)?;
        Ok(rows.into_iter().collect())
    }

    pub(super) async fn count(&mut self, table: &Table) -> Result<u64, CopyError> {
        let rows = count(&mut self.connection, &table.name).await.map_err(CopyError::Source)?;
        Ok(rows.unsigned_abs())
    }

    /// The columns in the table's order.
    pub(super) fn rows<'a>(&'a mut self, table: &Table) -> impl Stream<Item = sqlx::Result<SqliteRow>> + Unpin + use<'a> {
        let statement = format!("SELECT {} FROM {}", table.column_list(), quoted(&table.name));
        sqlx::query(AssertSqlSafe(statement)).fetch(&mut self.connection)
    }

    /// The one row of numbers that `statement` answers.
    pub(super) async fn numbers(&mut self, statement: String) -> Result<SqliteRow, CopyError> {
        sqlx::query(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await.map_err(CopyError::Source)
    }
}

/// What the migrations alone put into tables: how many rows, where there are any.
pub(super) async fn fresh() -> Result<BTreeMap<String, i64>, CopyError> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.map_err(CopyError::Source)?;
    let migrated = SQLITE_MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|error| OpenError::Migration { why: chain(&error) })?;
    let tables = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '_sqlx_migrations'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.map_err(CopyError::Source)?;
    let mut fresh = BTreeMap::new();
    for table in tables {
        match count(&mut connection, &table).await.map_err(CopyError::Source)? {
            0 => {}
            rows => drop(fresh.insert(table, rows)),
        }
    }
    Ok(fresh)
}

async fn count(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<i64> {
    let statement = format!("SELECT count(*) FROM {}", quoted(table));
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), CopyError> {
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await
            .map_err(CopyError::Source)?;
    let known: BTreeMap<i64, &Migration> = SQLITE_MIGRATIONS.iter().map(|migration| (migration.version, migration)).collect();
    let newest = known.keys().next_back().copied().unwrap_or(0);
    for (version, success, checksum) in &applied {
        let Some(migration) = known.get(version) else {
            return Err(OpenError::SchemaNewer { found: *version, known: newest }.into());
        };
        if !success || *migration.checksum != **checksum {
            return Err(OpenError::SchemaChanged { version: *version }.into());
        }
    }
    if applied.len() < known.len() {
        let found = applied.last().map_or(0, |(version, ..)| *version);
        return Err(CopyError::Older { found, known: newest });
    }
    Ok(())
}
