//! A database of each engine for a test: SQLite in a temporary directory, PostgreSQL as a copy of a
//! migrated template in the throw-away cluster. Shared by the tests in this crate and by `tests/it`.

use std::sync::atomic::{AtomicU32, Ordering};

use clearway_testkit::Cluster;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::db::{Db, Location};

const TEMPLATE: &str = "clearway_template";

/// A database of its own; gone when dropped.
#[derive(Debug)]
pub(crate) struct TestDb {
    pub(crate) db: Db,
    pub(crate) location: Location,
    /// Its name in the cluster; empty on SQLite.
    pub(crate) name: String,
    _dir: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) const BOTH: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
}

impl TestDb {
    pub(crate) async fn new(engine: Engine) -> TestDb {
        let dir = tempfile::tempdir().unwrap();
        let (location, name) = match engine {
            Engine::Sqlite => (Location::Sqlite(dir.path().join("control.db")), String::new()),
            Engine::Postgres => {
                let name = copy_of_template().await;
                (Location::Postgres(Cluster::shared().url(&name)), name)
            }
        };
        let db = Db::open(&location, 6).await.unwrap();
        TestDb { db, location, name, _dir: dir }
    }
}

/// Runs a test on a fresh database of each engine; the one that fails is named in the test's output.
pub(crate) async fn on_both(test: impl AsyncFn(TestDb)) {
    for engine in Engine::BOTH {
        eprintln!("engine: {engine:?}");
        test(TestDb::new(engine).await).await;
    }
}

async fn copy_of_template() -> String {
    static READY: OnceCell<()> = OnceCell::const_new();
    static COPIES: AtomicU32 = AtomicU32::new(0);
    READY
        .get_or_init(async || {
            let url = Cluster::shared().create(TEMPLATE);
            Db::open(&Location::Postgres(url), 1).await.unwrap().close().await;
        })
        .await;
    let name = format!("test_{}", COPIES.fetch_add(1, Ordering::Relaxed));
    Cluster::shared().copy(TEMPLATE, &name);
    name
}
