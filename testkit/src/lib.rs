//! A throw-away PostgreSQL for tests: a cluster of its own in a temporary directory, started once a test
//! binary and gone with it.
//!
//! It speaks over a Unix socket in that directory, so that no port is taken and no two runs can meet. The
//! server is the child of a small shell that waits for its standard input to end. The other end is held
//! by this process and closed by the kernel however this process ends (a panic and `kill -9` included);
//! the shell then stops the server and removes the directory.

pub mod acme;
pub mod h2;
pub mod redis;

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// How long the server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const GUARD: &str = r#"
bin=$1 dir=$2
shift 2
"$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=300 "$@" >"$dir/log" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$dir"
"#;

/// Loses what was committed last when the machine goes down, and takes less long.
const HASTY: [&str; 4] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB"];
/// As one that is in service.
const DURABLE: [&str; 2] = ["shared_buffers=512MB", "max_wal_size=2GB"];

/// A running PostgreSQL server.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    owner: Option<Owner>,
    guard: u32,
    /// Closing it ends the server.
    _lifeline: ChildStdin,
}

/// Whom the server runs as, where the tests run as root: PostgreSQL refuses to.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// This process's one cluster, started by the first caller. Panics with one line when it cannot be had.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Cluster::start().unwrap_or_else(|why| panic!("no PostgreSQL for the tests: {why}")))
    }

    /// Starts a cluster that lives as long as the value, or the process.
    pub fn start() -> Result<Cluster, String> {
        Self::start_with(&HASTY)
    }

    /// [`Cluster::start`] with a server that commits to the disk: for what is timed.
    pub fn durable() -> Result<Cluster, String> {
        Self::start_with(&DURABLE)
    }

    fn start_with(settings: &[&str]) -> Result<Cluster, String> {
        let bin = find_or_install()?;
        let owner = owner()?;
        let dir = tempfile::Builder::new().prefix("clearway-pg-").tempdir().map_err(|e| e.to_string())?.keep();
        if let Some(owner) = owner {
            chown(&dir, Some(owner.uid), Some(owner.gid)).map_err(|e| format!("cannot give {} away: {e}", dir.display()))?;
        }
        let mut initdb = as_owner(&bin.join("initdb"), owner, &dir);
        initdb
            .arg("-D")
            .arg(dir.join("data"))
            .args("--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync".split(' '));
        succeed(initdb.output(), "initdb")?;

        let mut guard = as_owner(Path::new("/bin/sh"), owner, &dir);
        guard.args(["-c", GUARD, "clearway-testkit"]).arg(&bin).arg(&dir);
        guard.args(settings.iter().flat_map(|setting| ["-c", setting]));
        // A group of its own: an interrupt from the keyboard must not end the guard before the server.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn().map_err(|e| format!("cannot start the guard: {e}"))?;
        let lifeline = guard.stdin.take().expect("standard input is piped above");
        let cluster = Cluster { bin, dir, owner, guard: guard.id(), _lifeline: lifeline };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The process that the server and all of its processes descend from.
    pub fn pid(&self) -> u32 {
        self.guard
    }

    /// Makes an empty database; its URL.
    pub fn create(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Makes a copy of `template`, to which nobody may be connected; its URL.
    pub fn copy(&self, template: &str, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        self.url(name)
    }

    /// Ends every connection to `name` and lets none in, or lets them in again: a database that is away.
    pub fn cut_off(&self, name: &str, away: bool) {
        self.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !away));
        if away {
            self.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
        }
    }

    pub fn url(&self, name: &str) -> String {
        format!("postgres://postgres@localhost/{name}?host={}", self.dir.display())
    }

    fn sql(&self, statement: &str) {
        let psql = self.psql(statement).output();
        succeed(psql, "psql").unwrap_or_else(|why| panic!("{statement}: {why}"));
    }

    fn psql(&self, statement: &str) -> Command {
        let mut psql = as_owner(&self.bin.join("psql"), self.owner, &self.dir);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", statement]);
        psql.arg("-h").arg(&self.dir);
        psql
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let began = Instant::now();
        while !self.psql("SELECT 1").output().is_ok_and(|output| output.status.success()) {
            if began.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                return Err(format!("the server did not start: {}", log.replace('\n', " ")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Where `initdb` is: in `PATH`, or where Debian puts it, newest first. Installs Debian's package when it is nowhere.
fn find_or_install() -> Result<PathBuf, String> {
    if let Some(bin) = find() {
        return Ok(bin);
    }
    let how = "install PostgreSQL (Debian: apt-get install postgresql) and put initdb in PATH";
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(how.into());
    }
    eprintln!("testkit: no PostgreSQL found: running apt-get install -y postgresql");
    let mut apt = Command::new("/usr/bin/apt-get");
    apt.args(["install", "-y", "--no-install-recommends", "postgresql"]).env("DEBIAN_FRONTEND", "noninteractive");
    succeed(apt.output(), "apt-get install -y postgresql").map_err(|why| format!("{why}; {how}"))?;
    find().ok_or_else(|| how.into())
}

fn find() -> Option<PathBuf> {
    let complete = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(bin) = std::env::split_paths(&path).find(complete) {
        return Some(bin);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    versions.map(|entry| entry.path().join("bin")).filter(complete).max_by_key(version)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The user that Debian's package makes; `None` when there is no need to become another.
fn owner() -> Result<Option<Owner>, String> {
    if !is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let user = users.lines().find(|line| line.starts_with("postgres:"));
    let ids = user.and_then(|line| {
        let mut fields = line.split(':').skip(2);
        Some(Owner { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    });
    ids.map(Some).ok_or_else(|| "PostgreSQL does not run as root, and there is no user postgres to run it as".into())
}

fn as_owner(program: &Path, owner: Option<Owner>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_remove("PGOPTIONS").env_remove("PGDATA").env_remove("PGHOST").env_remove("PGPORT");
    if let Some(Owner { uid, gid }) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

fn succeed(output: io::Result<Output>, what: &str) -> Result<(), String> {
    let output = output.map_err(|e| format!("{what}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")))
}
