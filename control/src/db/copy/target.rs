//! The PostgreSQL database that is copied into: found to be empty, given its schema, filled in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::{
    CopyError, OpenError,
    connect::{self, POSTGRES_MIGRATIONS, chain},
    mark,
    schema::{Column, Kind, Table, in_order, quoted},
};

/// Of the advisory lock that a copy holds on its target.
const LOCK: i64 = 4_991_386_027_318_862_499;

#[derive(Debug)]
pub(super) struct Target {
    connection: PgConnection,
}

impl Target {
    /// One connection, which is let work for as long as a big table takes. It changes nothing yet.
    pub(super) async fn open(url: &str) -> Result<Self, CopyError> {
        let options = connect::postgres_options(url, "clearway-migrate")?.options([
            ("statement_timeout", "0"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "0"),
        ]);
        let place = format!("postgres://{}:{}", options.get_host(), options.get_port());
        let unreachable = |error: sqlx::Error| OpenError::Unreachable { place: place.clone(), why: chain(&error) };
        let mut connection = PgConnection::connect_with(&options).await.map_err(unreachable)?;
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await
            .map_err(CopyError::Target)?;
        if locked { Ok(Self { connection }) } else { Err(CopyError::UnderWay) }
    }

    /// Nothing but what the migrations put there (`fresh`), whichever of them have been applied.
    pub(super) async fn must_be_empty(&mut self, fresh: &BTreeMap<String, i64>) -> Result<(), CopyError> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT CAST(c.relname AS TEXT)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
             ORDER BY 1",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(CopyError::Target)?;
        for table in tables {
            let put_there = fresh.get(&table).copied().unwrap_or(0);
            let statement = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) found", quoted(&table), put_there + 1);
            let rows: i64 =
                sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await.map_err(CopyError::Target)?;
            if rows > put_there {
                return Err(CopyError::NotEmpty { table });
            }
        }
        Ok(())
    }

    /// Brings the schema up to date and sets the mark; the tables in the order in which they can be filled.
    pub(super) async fn prepare(&mut self) -> Result<Vec<Table>, CopyError> {
        let has_schema: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut self.connection)
            .await
            .map_err(CopyError::Target)?;
        if has_schema {
            // Of a copy that was not finished: this one goes on in its place.
            mark::remove(&mut self.connection).await.map_err(CopyError::Target)?;
        }
        let migrated = POSTGRES_MIGRATIONS.run(&mut self.connection).await;
        migrated.map_err(|error| connect::migration_fault(&error, &POSTGRES_MIGRATIONS))?;
        mark::set(&mut self.connection).await.map_err(CopyError::Target)?;
        in_order(self.tables().await?, &self.references().await?)
    }

    /// Leaves it to whoever is at home there.
    pub(super) async fn unmark(&mut self) -> Result<(), CopyError> {
        mark::remove(&mut self.connection).await.map_err(CopyError::Target)
    }

    async fn tables(&mut self) -> Result<Vec<Table>, CopyError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT)
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations' AND is_generated = 'NEVER'
             ORDER BY table_name, ordinal_position",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(CopyError::Target)?;
        let mut tables: Vec<Table> = Vec::new();
        for (table, name, data_type) in rows {
            let Some(kind) = Kind::of(&data_type) else {
                return Err(CopyError::SchemasDiffer { at: format!("{table}.{name} ({data_type})") });
            };
            let column = Column { name, kind };
            match tables.last_mut() {
                Some(last) if last.name == table => last.columns.push(column),
                _ => tables.push(Table { name: table, columns: vec![column] }),
            }
        }
        Ok(tables)
    }

    async fn references(&mut self) -> Result<BTreeSet<(String, String)>, CopyError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(f.relname AS TEXT), CAST(t.relname AS TEXT)
             FROM pg_constraint r
             JOIN pg_class f ON f.oid = r.conrelid
             JOIN pg_class t ON t.oid = r.confrelid
             JOIN pg_namespace n ON n.oid = r.connamespace
             WHERE r.contype = 'f' AND n.nspname = current_schema()",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(CopyError::Target)?;
        Ok(rows.into_iter().collect())
    }

    /// What is copied happened elsewhere: what triggers made of it there is among it.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, CopyError> {
        let mut tx = self.connection.begin().await.map_err(CopyError::Target)?;
        sqlx::query("SET LOCAL clearway.copying = 'yes'").execute(&mut *tx).await.map_err(CopyError::Target)?;
        Ok(tx)
    }

    /// Lets the planner know what has come. That is no part of the copy: the database does it by itself, later.
    pub(super) async fn finish(mut self) {
        let _ = sqlx::query("ANALYZE").execute(&mut self.connection).await;
        let _ = self.connection.close().await;
    }
}

/// Takes out what the migrations put in: the source has rows of its own there.
pub(super) async fn clear(tx: &mut PgConnection, table: &Table) -> Result<(), CopyError> {
    let statement = format!("DELETE FROM {}", quoted(&table.name));
    sqlx::query(AssertSqlSafe(statement)).execute(tx).await.map(|_| ()).map_err(CopyError::Target)
}
