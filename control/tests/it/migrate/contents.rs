//! What is in a table, as text that both engines agree on: read apart from how it was copied.

use std::collections::BTreeMap;

use clearway_control::db::Db;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};

/// Column and PostgreSQL's type, in the table's order.
pub(super) type Columns = Vec<(String, String)>;

/// Of a PostgreSQL database: every table but that of the migrations, without columns that are made from others.
pub(super) async fn tables(db: &Db) -> BTreeMap<String, Columns> {
    let rows: Vec<(String, String, String)> = db
        .query(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' AND is_generated = 'NEVER'
             ORDER BY ordinal_position",
        )
        .all()
        .await
        .unwrap();
    let mut tables = BTreeMap::<_, Columns>::new();
    for (table, column, of) in rows {
        tables.entry(table).or_default().push((column, of));
    }
    tables
}

/// Every row, sorted.
pub(super) async fn contents(db: &Db, table: &str, columns: &Columns) -> Vec<Vec<Option<String>>> {
    let of_sqlite = |(name, of): &(String, String)| match of.as_str() {
        "bytea" => format!("CASE WHEN \"{name}\" IS NULL THEN NULL ELSE lower(hex(\"{name}\")) END"),
        _ => format!("CAST(\"{name}\" AS TEXT)"),
    };
    let of_postgres = |(name, of): &(String, String)| match of.as_str() {
        "bytea" => format!("encode(\"{name}\", 'hex')"),
        "boolean" => format!("CAST(CAST(\"{name}\" AS INT) AS TEXT)"),
        _ => format!("CAST(\"{name}\" AS TEXT)"),
    };
    let select = |texts: Vec<String>| AssertSqlSafe(format!("SELECT {} FROM \"{table}\"", texts.join(", ")));
    let mut rows: Vec<Vec<Option<String>>> = match db {
        Db::Sqlite { read, .. } => {
            let rows = sqlx::query(select(columns.iter().map(of_sqlite).collect())).fetch_all(read).await.unwrap();
            rows.iter().map(|row| (0..columns.len()).map(|at| row.get(at)).collect()).collect()
        }
        Db::Postgres { pool, .. } => {
            let rows = sqlx::query(select(columns.iter().map(of_postgres).collect())).fetch_all(pool).await.unwrap();
            rows.iter().map(|row| (0..columns.len()).map(|at| row.get(at)).collect()).collect()
        }
    };
    for row in &mut rows {
        for (value, (_, of)) in row.iter_mut().zip(columns) {
            if let (Some(text), "jsonb") = (value, of.as_str()) {
                *text = serde_json::from_str::<Value>(text).unwrap().to_string();
            }
        }
    }
    rows.sort();
    rows
}
