//! The two sets of migrations make the same tables.

use std::collections::BTreeSet;

use crate::databases::{Engine, TestDb};

/// Full text is what each engine does in its own way: virtual tables here, generated columns and GIN indexes there.
///
/// Table, column, kind of value, whether it may be NULL.
type Column = (String, String, String, bool);

fn kind(of: &str) -> &'static str {
    match of.to_ascii_lowercase().as_str() {
        "integer" | "bigint" | "boolean" => "number",
        "text" | "jsonb" => "text",
        "blob" | "bytea" => "bytes",
        other => panic!("a type that is not in use: {other}"),
    }
}

async fn columns(engine: Engine) -> BTreeSet<(String, String, &'static str, bool)> {
    let database = TestDb::new(engine).await;
    let rows: Vec<Column> = match engine {
        Engine::Sqlite => database.db.query(
            "SELECT t.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0
             FROM pragma_table_list t, pragma_table_info(t.name) c
             WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> '_sqlx_migrations'",
        ),
        Engine::Postgres => database.db.query(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT), is_nullable = 'YES'
             FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' AND is_generated = 'NEVER'",
        ),
    }
    .all()
    .await
    .unwrap();
    rows.into_iter().map(|(table, column, of, nullable)| (table, column, kind(&of), nullable)).collect()
}

/// The names of the indexes; a unique one's is its rule.
async fn indexes(engine: Engine) -> BTreeSet<String> {
    let database = TestDb::new(engine).await;
    let rows: Vec<(String,)> = match engine {
        Engine::Sqlite => database.db.query("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"),
        Engine::Postgres => database.db.query(
            "SELECT CAST(indexname AS TEXT) FROM pg_indexes
             WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' AND tablename <> '_sqlx_migrations'
               AND indexdef NOT LIKE '%USING gin%'",
        ),
    }
    .all()
    .await
    .unwrap();
    rows.into_iter().map(|(name,)| name).collect()
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_and_indexes() {
    let (sqlite, postgres) = (columns(Engine::Sqlite).await, columns(Engine::Postgres).await);
    assert!(sqlite.len() > 70, "{}", sqlite.len());
    assert_eq!(sqlite, postgres);
    assert_eq!(indexes(Engine::Sqlite).await, indexes(Engine::Postgres).await);
}
