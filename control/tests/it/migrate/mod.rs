//! Moving up: a SQLite database with something in every table, and what of it is in PostgreSQL afterwards.

mod contents;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clearway_control::{
    data_dir::DataDir,
    db::{
        Db, Location, OpenError,
        copy::{self, Copied, CopyError},
    },
    migrate,
};

use self::contents::{contents, tables};
use crate::databases::{Engine, TestDb};

const WORLD: &str = include_str!("world.sql");

/// A source with the world in it, which nobody has open.
async fn source() -> TestDb {
    let source = TestDb::new(Engine::Sqlite).await;
    let Db::Sqlite { write, .. } = &source.db else { unreachable!("it was asked for") };
    sqlx::raw_sql(WORLD).execute(write).await.unwrap();
    source.db.close().await;
    source
}

async fn copied(from: &Location, to: &Location) -> Result<Copied, CopyError> {
    copy::copy(from, to, |_| {}).await
}

async fn on(location: &Location, statement: &'static str) {
    let Db::Postgres { pool, .. } = Db::open(location, 1).await.unwrap() else { unreachable!("only there") };
    sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

fn file(location: &Location) -> &Path {
    let Location::Sqlite(file) = location else { unreachable!("of a source only") };
    file
}

fn url(location: &Location) -> String {
    match location {
        Location::Sqlite(file) => format!("sqlite://{}", file.display()),
        Location::Postgres(url) => url.clone(),
    }
}

#[tokio::test]
async fn every_row_of_every_table_arrives_as_it_was() {
    let (source, target) = (source().await, TestDb::new(Engine::Postgres).await);
    let mut told = Vec::new();
    let copied = copy::copy(&source.location, &target.location, |progress| {
        told.push((progress.table.to_owned(), progress.rows, progress.of));
    })
    .await
    .unwrap();

    let before = Db::open(&source.location, 1).await.unwrap();
    let kinds = tables(&target.db).await;
    for (table, columns) in &kinds {
        let sent = contents(&before, table, columns).await;
        assert!(!sent.is_empty(), "the migrations know a table {table}: put something into it in world.sql");
        assert_eq!(contents(&target.db, table, columns).await, sent, "{table}");
        let counted = copied.tables.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows);
        assert_eq!(counted, Some(sent.len() as u64), "{table}");
    }
    assert_eq!(copied.tables.len(), kinds.len());
    let of = |table: &str| told.iter().filter(|(name, ..)| name == table).map(|&(_, rows, of)| (rows, of)).collect::<Vec<_>>();
    let audit = of("audit_log");
    assert!(
        audit.len() > 4 && audit.is_sorted() && audit.first() == Some(&(0, 6000)) && audit.last() == Some(&(6000, 6000)),
        "{audit:?}"
    );

    let sequences: i64 = target.db.query("SELECT count(*) FROM pg_sequences").scalar().await.unwrap();
    assert_eq!(sequences, 0, "a sequence would have to be set to where the source's numbers end");
    Db::open(&target.location, 1).await.unwrap();
}

#[tokio::test]
async fn a_target_with_anything_in_it_is_refused_and_left_alone() {
    let source = source().await;
    for (statement, table) in [
        ("INSERT INTO accounts (id, name, created_at) VALUES ('acct_theirs', '', 1)", "accounts"),
        ("INSERT INTO dispatch (fanned_out, seen_at) VALUES (1, 1)", "dispatch"),
        ("CREATE TABLE somebody_elses (x INT); INSERT INTO somebody_elses VALUES (1)", "somebody_elses"),
    ] {
        let target = TestDb::new(Engine::Postgres).await;
        on(&target.location, statement).await;
        let refused = copied(&source.location, &target.location).await.unwrap_err();
        assert!(matches!(&refused, CopyError::NotEmpty { table: found } if found == table), "{refused}");
        Db::open(&target.location, 1).await.unwrap();
    }
    let target = TestDb::new(Engine::Postgres).await;
    copied(&source.location, &target.location).await.unwrap();
    let again = copied(&source.location, &target.location).await.unwrap_err();
    assert!(matches!(again, CopyError::NotEmpty { .. }), "{again}");
}

#[tokio::test]
async fn a_source_that_is_not_of_this_schema_is_refused_and_not_changed() {
    let target = TestDb::new(Engine::Postgres).await;
    let changed = async |statement: &'static str| {
        let source = TestDb::new(Engine::Sqlite).await;
        source.db.query(statement).execute().await.unwrap();
        source.db.close().await;
        let before = std::fs::read(file(&source.location)).unwrap();
        let refused = copied(&source.location, &target.location).await.unwrap_err();
        assert_eq!(std::fs::read(file(&source.location)).unwrap(), before, "the source is only read");
        refused
    };
    let older = changed("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    assert!(matches!(older, CopyError::Older { found, known } if found < known), "{older}");
    let newer = changed("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, TRUE, x'', 0)").await;
    assert!(matches!(newer, CopyError::Open(OpenError::SchemaNewer { found: 9999, .. })), "{newer}");
    let other = changed("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").await;
    assert!(matches!(other, CopyError::Open(OpenError::SchemaChanged { version: 1 })), "{other}");

    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing.db");
    let missing = copied(&Location::Sqlite(nothing.clone()), &target.location).await.unwrap_err();
    assert!(matches!(missing, CopyError::Open(OpenError::Unreachable { .. })) && !nothing.exists(), "{missing}");
    std::fs::write(&nothing, "").unwrap();
    let foreign = copied(&Location::Sqlite(nothing), &target.location).await.unwrap_err();
    assert!(matches!(foreign, CopyError::Foreign { .. }), "{foreign}");
    let backwards = copied(&target.location, &Location::Sqlite("x.db".into())).await.unwrap_err();
    assert!(matches!(backwards, CopyError::Direction), "{backwards}");
    Db::open(&target.location, 1).await.unwrap();
}

#[tokio::test]
async fn what_does_not_arrive_as_it_was_sent_is_found_and_nothing_is_kept() {
    let source = source().await;
    for (act, what) in [("RETURN NULL", "the count"), ("NEW.body := 'z' || NEW.body; RETURN NEW", "the sum")] {
        let target = TestDb::new(Engine::Postgres).await;
        let Db::Postgres { pool, .. } = &target.db else { unreachable!("it was asked for") };
        let spoil = format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {act}; END $$;
             CREATE TRIGGER spoil BEFORE INSERT ON mails FOR EACH ROW EXECUTE FUNCTION spoil();"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(spoil)).execute(pool).await.unwrap();
        let found = copied(&source.location, &target.location).await.unwrap_err();
        assert!(matches!(&found, CopyError::Differs { table, what: said, .. } if table == "mails" && *said == what), "{found}");
        let left: i64 = target.db.query("SELECT count(*) FROM accounts").scalar().await.unwrap();
        assert_eq!(left, 0);
        let refused = Db::open(&target.location, 1).await.unwrap_err();
        assert!(matches!(refused, OpenError::CopyUnfinished), "{refused}");
    }
}

#[tokio::test]
async fn a_database_that_is_in_use_is_not_copied() {
    let (source, target) = (source().await, TestDb::new(Engine::Postgres).await);
    let dir = file(&source.location).parent().unwrap();
    let held = DataDir::open(dir).unwrap();
    let refused = migrate::run(&url(&source.location), &url(&target.location), |_| {}).await.unwrap_err().to_string();
    assert_eq!(refused, format!("data directory in use by another process: {}", dir.display()));
    drop(held);
    let mut lines = Vec::new();
    let said = migrate::run(&url(&source.location), &url(&target.location), |line| lines.push(line)).await.unwrap();
    assert!(said.contains("rows of") && said.contains("counts and sums are the same"), "{said}");
    assert!(lines.contains(&"copying events: 0 of 3000".to_owned()), "{lines:?}");
}

/// Waits until the statement answers true.
async fn until(db: &Db, statement: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !db.query(statement).scalar::<bool>().await.unwrap() {
        assert!(Instant::now() < deadline, "waited half a minute for: {statement}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_copy_that_is_killed_leaves_a_database_that_nobody_starts_on_and_that_can_be_copied_to_again() {
    let (source, target) = (source().await, TestDb::new(Engine::Postgres).await);
    // Whoever wants to write products waits here, when much else has been written.
    let mut barrier = target.db.begin().await.unwrap();
    barrier.query("LOCK TABLE products IN SHARE MODE").execute().await.unwrap();
    let mut copying = Command::new(env!("CARGO_BIN_EXE_clearway-control"))
        .args(["migrate", "--from", &url(&source.location)])
        .env("CLEARWAY_DATABASE_URL", url(&target.location))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(&target.db, "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = to_regclass('products'))").await;
    let busy = copied(&source.location, &target.location).await.unwrap_err();
    assert!(matches!(busy, CopyError::UnderWay), "{busy}");
    copying.kill().unwrap();
    copying.wait().unwrap();
    barrier.commit().await.unwrap();
    until(
        &target.db,
        "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity
                            WHERE datname = current_database() AND application_name = 'clearway-migrate')",
    )
    .await;

    let refused = Db::open(&target.location, 1).await.unwrap_err();
    assert!(matches!(refused, OpenError::CopyUnfinished), "{refused}");
    copied(&source.location, &target.location).await.unwrap();
    let there = Db::open(&target.location, 1).await.unwrap();
    let rows: i64 = there.query("SELECT count(*) FROM audit_log").scalar().await.unwrap();
    assert_eq!(rows, 6000);
}
