//! Migrations under a fleet that runs: those of the version before work on, because what is new is only added.

use std::{fs, path::Path};

use clearway_control::db::{Db, Location};
use clearway_testkit::Cluster;
use sqlx::{PgPool, SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};

use crate::databases::Engine;

/// The last migration from before there were fleets.
const BEFORE_FLEETS: i64 = 9;
const FOLDERS: [&str; 2] = ["../migrations/sqlite", "../migrations/postgres"];

/// What no version has ever changed or deleted: a migration may have the database refuse it.
const ONLY_ADDED_TO: &str = "AUDIT_LOG";

/// What a migration has made so far: nobody else uses it yet.
#[derive(Debug, Default)]
struct Made {
    tables: Vec<String>,
    columns: Vec<String>,
}

/// What is wrong with a statement of a migration under which older processes go on.
fn fault(statement: &str, made: &mut Made) -> Option<String> {
    let words: Vec<String> = statement.split_whitespace().map(str::to_ascii_uppercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_fine = match words.as_slice() {
        ["ALTER", "TABLE", table, "ADD", "COLUMN", column, definition @ ..] => {
            made.columns.push(format!("{table}.{column}"));
            let never_null = definition.windows(2).any(|pair| pair == ["NOT", "NULL"]);
            let may = |word: &str| definition.contains(&word);
            let filled = may("DEFAULT") || may("GENERATED");
            (!never_null || filled) && !may("UNIQUE") && !may("REFERENCES")
        }
        ["CREATE", "TABLE", table, ..] => {
            made.tables.push((*table).to_owned());
            true
        }
        ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => made.tables.contains(&(*table).to_owned()),
        ["UPDATE", table, "SET", column, "=", ..] => made.columns.contains(&format!("{table}.{column}")),
        ["CREATE", "TRIGGER", _, when, what @ ..] => {
            let table = what.iter().skip_while(|word| **word != "ON").nth(1).copied().unwrap_or_default();
            let refuses = *when == "BEFORE" && !what.contains(&"INSERT");
            let follows = *when == "AFTER" && what.first() == Some(&"INSERT");
            let written: Vec<_> =
                what.windows(2).filter(|pair| matches!(pair[0], "INTO" | "FROM")).map(|pair| pair[1].to_owned()).collect();
            let keeps_beside = *when == "AFTER" && !written.is_empty() && written.iter().all(|table| made.tables.contains(table));
            made.tables.contains(&table.to_owned()) || follows || keeps_beside || (refuses && table == ONLY_ADDED_TO)
        }
        ["CREATE", "VIRTUAL", "TABLE", table, ..] => {
            made.tables.push((*table).to_owned());
            true
        }
        ["CREATE", "FUNCTION", ..] => true,
        ["CREATE", "INDEX", ..] | ["INSERT", "INTO", ..] => true,
        _ => false,
    };
    (!is_fine).then(|| words.join(" "))
}

fn statements(text: &str) -> Vec<String> {
    let code: String = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut statements: Vec<String> = Vec::new();
    for part in code.split(';') {
        match statements.last_mut().filter(|begun| goes_on(begun)) {
            Some(begun) => begun.push_str(part.trim_end()),
            None => statements.push(part.trim().to_owned()),
        }
    }
    statements.into_iter().filter(|statement| !statement.is_empty()).collect()
}

/// Whether a semicolon does not end it: within quotes, or within what a trigger does.
fn goes_on(statement: &str) -> bool {
    let quoted = statement.matches('\'').count() % 2 == 1;
    let begun = statement.starts_with("CREATE TRIGGER") && statement.split_whitespace().any(|word| word == "BEGIN");
    quoted || (begun && statement.split_whitespace().next_back() != Some("END"))
}

#[test]
fn a_migration_only_adds_or_says_that_it_takes_away() {
    let mut looked_at = 0;
    for folder in FOLDERS {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (number, words) = name.split_once('_').unwrap();
            if number.parse::<i64>().unwrap() <= BEFORE_FLEETS || words.starts_with("contract") {
                continue;
            }
            looked_at += 1;
            let (text, mut made) = (fs::read_to_string(&path).unwrap(), Made::default());
            let faults: Vec<_> = statements(&text).iter().filter_map(|statement| fault(statement, &mut made)).collect();
            assert!(faults.is_empty(), "{}: older processes could not go on: {faults:#?}", path.display());
        }
    }
    assert!(looked_at >= FOLDERS.len());
}

#[test]
fn what_older_processes_would_stumble_over_is_found() {
    for bad in [
        "DROP TABLE keys",
        "ALTER TABLE keys DROP COLUMN name",
        "ALTER TABLE keys RENAME COLUMN name TO title",
        "ALTER TABLE keys ADD COLUMN title TEXT NOT NULL",
        "ALTER TABLE keys ADD COLUMN title TEXT UNIQUE",
        "CREATE UNIQUE INDEX keys_name ON keys (name)",
        "UPDATE keys SET name = ''",
        "DELETE FROM keys",
        "CREATE TRIGGER keys_kept BEFORE DELETE ON keys BEGIN SELECT 1; END",
        "CREATE TRIGGER keys_kept AFTER DELETE ON keys BEGIN DELETE FROM names; END",
    ] {
        assert!(fault(bad, &mut Made::default()).is_some(), "{bad}");
    }
    assert_eq!(statements("-- one; two\nCREATE TABLE a (b TEXT);\n\n-- three\nCREATE INDEX c ON a (b);").len(), 2);
    let bodies = "CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1; END;\nCREATE FUNCTION c() AS 'BEGIN RETURN NULL; END';";
    assert_eq!(statements(bodies).len(), 2);
}

/// Of one set, those through `last`.
fn through(folder: &str, all: &Migrator, last: i64) -> Migrator {
    assert!(all.iter().any(|migration| migration.version == last), "{folder}");
    Migrator::with_migrations(all.iter().filter(|migration| migration.version <= last).cloned().collect())
}

/// What the first version wrote, and each one after it could.
const WRITTEN: [&str; 3] = [
    "INSERT INTO accounts (id, name, created_at) VALUES ('acct_1', 'one', 1)",
    "INSERT INTO proxies (id, name, version, revision, lease_ms, created_at, last_seen_at)
     VALUES ('prx_1', 'edge', '0', 3, 10000, 1, 2)",
    "INSERT INTO changes (revision, kind, subject_id, created_at) VALUES (1, 'account', 'acct_1', 1)",
];

/// Rows as each version wrote them, with the columns that it knew, are read by this one.
#[tokio::test]
async fn a_database_of_every_earlier_version_is_brought_up_to_date_with_what_is_in_it() {
    for (engine, folder) in Engine::BOTH.into_iter().zip(FOLDERS) {
        let all = Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).await.unwrap();
        for last in all.iter().map(|migration| migration.version) {
            let migrations = through(folder, &all, last);
            let dir = tempfile::tempdir().unwrap();
            let location = match engine {
                Engine::Sqlite => {
                    let file = dir.path().join("control.db");
                    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
                    let pool = SqlitePool::connect_with(options).await.unwrap();
                    migrations.run(&pool).await.unwrap();
                    for sql in WRITTEN {
                        sqlx::query(sql).execute(&pool).await.unwrap();
                    }
                    pool.close().await;
                    Location::Sqlite(file)
                }
                Engine::Postgres => {
                    let url = Cluster::shared().create(&format!("expanding_{last}"));
                    let pool = PgPool::connect(&url).await.unwrap();
                    migrations.run(&pool).await.unwrap();
                    for sql in WRITTEN {
                        sqlx::query(sql).execute(&pool).await.unwrap();
                    }
                    pool.close().await;
                    Location::Postgres(url)
                }
            };
            let db = Db::open(&location, 2).await.unwrap();
            // What the version before goes on writing, beside this one.
            let sql = "UPDATE proxies SET revision = 4, lease_ms = NULL, last_seen_at = 5 WHERE id = 'prx_1'";
            assert_eq!(db.query(sql).execute().await.unwrap(), 1);
            let (id, revision, epoch, report): (String, i64, i64, String) =
                db.query("SELECT id, revision, epoch, report FROM proxies").one().await.unwrap();
            assert_eq!((id.as_str(), revision, epoch, report.as_str()), ("prx_1", 4, 0, ""), "from {last}");
            assert_eq!(db.query("SELECT COUNT(*) FROM accounts").scalar::<i64>().await.unwrap(), 1);
        }
    }
}
