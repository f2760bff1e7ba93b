//! What is stored, as text, to be compared.

use std::collections::BTreeSet;

use clearway_control::db::Db;
use sqlx::{AssertSqlSafe, Row as _};

use super::world::World;

/// What changes whoever asks, and says nothing of anybody's objects: how far jobs have come, and counts of attempts.
const MOVING: &[&str] = &["_sqlx_migrations", "audit_unchained", "counted_attempts", "dispatch", "event_sequence"];

impl World {
    /// The rows that concern Ann, her account or these objects of it, each with its table.
    pub(super) async fn rows_of_ann(&self, objects: &[String]) -> BTreeSet<String> {
        let ann = [&self.ann.id, &self.ann.account, &self.ann.email];
        let concerns = |row: &String| ann.into_iter().chain(objects).any(|text| row.contains(text.as_str()));
        rows(&self.app.database.db).await.into_iter().filter(concerns).collect()
    }
}

async fn rows(db: &Db) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables(db).await {
        let texts: Vec<String> = match db {
            Db::Sqlite { read, .. } => {
                let columns: Vec<(String,)> =
                    sqlx::query_as("SELECT name FROM pragma_table_info($1)").bind(&table).fetch_all(read).await.unwrap();
                let columns: Vec<_> = columns.into_iter().map(|(name,)| format!("quote(\"{name}\")")).collect();
                let sql = format!("SELECT {} FROM \"{table}\"", columns.join(" || ',' || "));
                sqlx::query(AssertSqlSafe(sql)).fetch_all(read).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
            Db::Postgres { pool, .. } => {
                let sql = format!("SELECT CAST(t AS TEXT) FROM \"{table}\" t");
                sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        };
        found.extend(texts.into_iter().map(|text| format!("{table}: {text}")));
    }
    found
}

async fn tables(db: &Db) -> Vec<String> {
    let names: Vec<(String,)> = match db {
        Db::Sqlite { read, .. } => {
            // Tables that the full text search keeps for itself hold what others do.
            let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql LIKE '%STRICT%'";
            sqlx::query_as(sql).fetch_all(read).await.unwrap()
        }
        Db::Postgres { pool, .. } => {
            let sql = "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'";
            sqlx::query_as(sql).fetch_all(pool).await.unwrap()
        }
    };
    assert!(names.len() > 40, "the tables are not found any more");
    names.into_iter().map(|(name,)| name).filter(|name| !MOVING.contains(&name.as_str())).collect()
}
