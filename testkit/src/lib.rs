//! A throw-away PostgreSQL for tests: a cluster of its own in a temporary directory, started once a test
//! binary and gone with it.
//!
//! It speaks over a Unix socket in that directory, so that no port is taken and no two runs can meet; one that is to be
//! reached as over a network takes a free one. The server is the child of a small shell that waits for its standard input to end. The other end is held
//! by this process and closed by the kernel however this process ends (a panic and `kill -9` included);
//! the shell then stops the server and removes the directory.

pub mod acme;
pub mod clock;
pub mod h2;
pub mod redis;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
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

/// Who may log in: anybody over the socket, and with a password whoever comes encrypted.
const ENCRYPTED_ONLY: &str = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";

/// A running PostgreSQL server.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    owner: Option<Owner>,
    guard: u32,
    port: Option<u16>,
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

    /// [`Cluster::start`], reached at [`Cluster::port`] of 127.0.0.1 too: there with a password only, and encrypted by
    /// this certificate and its key, in PEM.
    pub fn encrypted(certificate: &str, key: &str) -> Result<Cluster, String> {
        Self::start_by(&HASTY, Some((certificate, key)))
    }

    fn start_with(settings: &[&str]) -> Result<Cluster, String> {
        Self::start_by(settings, None)
    }

    fn start_by(settings: &[&str], encrypted: Option<(&str, &str)>) -> Result<Cluster, String> {
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
        let mut settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let port = encrypted.map(|_| redis::free_port());
        if let Some((port, (certificate, key))) = port.zip(encrypted) {
            put(&dir.join("data/server.crt"), certificate, owner)?;
            put(&dir.join("data/server.key"), key, owner)?;
            put(&dir.join("data/pg_hba.conf"), ENCRYPTED_ONLY, owner)?;
            settings.extend(["listen_addresses=127.0.0.1".to_owned(), format!("port={port}"), "ssl=on".to_owned()]);
        }

        let mut guard = as_owner(Path::new("/bin/sh"), owner, &dir);
        guard.args(["-c", GUARD, "clearway-testkit"]).arg(&bin).arg(&dir);
        guard.args(settings.iter().flat_map(|setting| ["-c", setting]));
        // A group of its own: an interrupt from the keyboard must not end the guard before the server.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn().map_err(|e| format!("cannot start the guard: {e}"))?;
        let lifeline = guard.stdin.take().expect("standard input is piped above");
        let cluster = Cluster { bin, dir, owner, guard: guard.id(), port, _lifeline: lifeline };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Of 127.0.0.1, where it is reached by one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Carries a shell's line out as the user who may be any role of this server, in [`Cluster::dir`] and with PostgreSQL's
    /// own programs at hand. Panics where it fails.
    pub fn shell(&self, line: &str, env: &[(&str, &str)]) {
        let mut shell = as_owner(Path::new("/bin/sh"), self.owner, &self.dir);
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap_or_default());
        shell.args(["-c", line]).env("PATH", path).env("PGHOST", &self.dir).env("PGUSER", "postgres");
        shell.envs(env.iter().copied());
        succeed(shell.output(), line).unwrap_or_else(|why| panic!("{why}"));
    }

    /// The server's own directory, in which its user may write.
    pub fn dir(&self) -> &Path {
        &self.dir
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
        let port = self.port.map_or(String::new(), |port| format!("&port={port}"));
        format!("postgres://postgres@localhost/{name}?host={}{port}", self.dir.display())
    }

    /// Carries a statement out in the database `postgres`. Panics where it fails.
    pub fn sql(&self, statement: &str) {
        let psql = self.psql(statement).output();
        succeed(psql, "psql").unwrap_or_else(|why| panic!("{statement}: {why}"));
    }

    fn psql(&self, statement: &str) -> Command {
        let mut psql = as_owner(&self.bin.join("psql"), self.owner, &self.dir);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", statement]);
        psql.arg("-h").arg(&self.dir);
        if let Some(port) = self.port {
            psql.args(["-p", &port.to_string()]);
        }
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

/// A file of the server's user, for nobody else: PostgreSQL demands it of a key.
fn put(file: &Path, text: &str, owner: Option<Owner>) -> Result<(), String> {
    let written = fs::write(file, text).and_then(|()| fs::set_permissions(file, Permissions::from_mode(0o600)));
    let owned = written.and_then(|()| owner.map_or(Ok(()), |owner| chown(file, Some(owner.uid), Some(owner.gid))));
    owned.map_err(|e| format!("{}: {e}", file.display()))
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
