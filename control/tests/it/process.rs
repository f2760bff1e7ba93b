//! The process around the API: what a start needs, says and refuses.

use std::path::Path;

use clearway_config::settings::Settings;
use clearway_control::{
    app::{App, Start, StartError, rewrap},
    db::Location,
    world::World,
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::databases::{Engine, TestDb};

fn settings(dir: &Path) -> Settings {
    let mut settings = Settings { data_dir: dir.to_owned(), ..Settings::default() };
    settings.control.plans_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/plans.toml");
    for addr in [&mut settings.control.addr, &mut settings.sync.addr, &mut settings.metrics.control_addr] {
        addr.set_port(0);
    }
    settings
}

async fn open(settings: Settings, database_url: Option<String>) -> Result<App, StartError> {
    App::open(Start { settings, database_url, master_key: None, world: World::system() }).await
}

#[tokio::test]
async fn the_first_start_alone_shows_an_admin_and_the_stop_is_clean() {
    for engine in Engine::BOTH {
        let database = TestDb::new(engine).await;
        let url = match &database.location {
            Location::Sqlite(file) => format!("sqlite:{}", file.display()),
            Location::Postgres(url) => url.clone(),
        };
        let dir = tempfile::tempdir().unwrap();
        for first in [true, false] {
            let mut app = open(settings(dir.path()), Some(url.clone())).await.unwrap();
            assert_eq!(app.take_first_admin().is_some(), first);
            let addresses = app.addresses().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let serving = tokio::spawn(app.serve(async { drop(stopped.await) }));
            let metrics = get(addresses.metrics, "/metrics").await;
            assert!(metrics.contains("clearway_control_store_up 1") && metrics.contains("clearway_control_sync_revision"));
            let ready = get(addresses.metrics, "/health/ready").await;
            assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
            assert!(get(addresses.api, "/api/v1/keys").await.starts_with("HTTP/1.1 401"));
            stop.send(()).unwrap();
            serving.await.unwrap().unwrap();
        }
    }
}

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_start_that_cannot_be_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut busy = settings(dir.path());
    busy.control.addr = taken.local_addr().unwrap();
    let line = open(busy, None).await.unwrap_err().to_string();
    assert!(line.starts_with(&format!("cannot listen on {}: ", taken.local_addr().unwrap())), "{line}");

    let held = open(settings(dir.path()), None).await.unwrap();
    let line = open(settings(dir.path()), None).await.unwrap_err().to_string();
    assert_eq!(line, format!("data directory in use by another process: {}/control", dir.path().display()));
    drop(held);

    // Each elsewhere: a process that another test is just starting may still hold a lock with its copy of the file.
    let dir = tempfile::tempdir().unwrap();
    let line = open(settings(dir.path()), Some("postgres://127.0.0.1:1/x".into())).await.unwrap_err().to_string();
    assert!(line.starts_with("database unreachable: postgres://127.0.0.1:1: "), "{line}");

    let url_in_a_file = async |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut named = settings(dir.path());
        named.control.database_url_file = dir.path().join("database-url");
        std::fs::write(&named.control.database_url_file, text).unwrap();
        open(named, None).await.unwrap_err().to_string()
    };
    let line = url_in_a_file("\n").await;
    assert!(line.starts_with("control.database_url_file cannot be read: ") && line.ends_with(": it is empty"), "{line}");
    let line = url_in_a_file("postgres://127.0.0.1:1/x\n").await;
    assert!(line.starts_with("database unreachable: postgres://127.0.0.1:1: "), "{line}");

    let dir = tempfile::tempdir().unwrap();
    let mut lost = settings(dir.path());
    lost.control.plans_file = "nowhere.toml".into();
    let line = open(lost, None).await.unwrap_err().to_string();
    assert!(line.starts_with("nowhere.toml: cannot be read: "), "{line}");
}

#[tokio::test]
async fn the_master_key_is_made_and_changed_and_a_start_with_the_old_one_says_so() {
    for engine in Engine::BOTH {
        let database = TestDb::new(engine).await;
        let url = match &database.location {
            Location::Sqlite(file) => format!("sqlite:{}", file.display()),
            Location::Postgres(url) => url.clone(),
        };
        let dir = tempfile::tempdir().unwrap();
        drop(open(settings(dir.path()), Some(url.clone())).await.unwrap());
        let (old, new) = (dir.path().join("control/master.key"), dir.path().join("new.key"));
        assert!(old.exists());
        let start =
            Start { settings: settings(dir.path()), database_url: Some(url.clone()), master_key: None, world: World::system() };
        let said = rewrap(start, &new).await.unwrap();
        assert!(said.contains("1 data key(s)") && said.contains("control.master_key_file"), "{said}");
        let line = open(settings(dir.path()), Some(url.clone())).await.unwrap_err().to_string();
        assert!(line.starts_with("master key is not the one that this database's secrets are sealed by: "), "{line}");
        std::fs::rename(&new, &old).unwrap();
        open(settings(dir.path()), Some(url)).await.unwrap();
    }
}
