//! A gateway in this process, over keys of the test's own and an upstream that remembers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clearway_config::{AccountId, Environment, KeyId, Limits, PlainKey, settings::Settings, sync::v1};
use clearway_proxy::{
    ledger::Total,
    snapshot::{Mode, Snapshot},
    start::{Keys, Options, Proxy},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::{Answer, Client},
    upstream::{DEADLINE, Upstream},
};

pub(crate) const ACCOUNT: AccountId = AccountId::from_bytes([1; 16]);

pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) upstream: Upstream,
    pub(crate) snapshot: Arc<Snapshot>,
    proxy: Option<Proxy>,
    revision: u64,
}

/// A key and what it may do; unlimited unless the test says otherwise.
pub(crate) fn credential(n: u8) -> v1::Credential {
    v1::Credential {
        hash: plain(n).hash().as_bytes().to_vec(),
        key_id: key_id(n).to_vec(),
        account_id: ACCOUNT.to_vec(),
        ..v1::Credential::default()
    }
}

pub(crate) fn plain(n: u8) -> PlainKey {
    PlainKey::mint(Environment::Test, [n; 32])
}

pub(crate) fn key(n: u8) -> String {
    plain(n).reveal().to_owned()
}

pub(crate) fn key_id(n: u8) -> KeyId {
    KeyId::from_bytes([n; 16])
}

/// Every kind of route, all to one upstream.
pub(crate) fn routes(upstream: &str) -> String {
    format!(
        r#"
[[upstreams]]
name = "up"
addresses = [{upstream}]
connect_timeout = "2s"
read_timeout = "1s"

[[routes]]
name = "svc"
path = "/svc"
upstream = "up"
auth = "key"

[[routes]]
name = "open"
path = "/open"
upstream = "up"
auth = "open"

[[routes]]
name = "kept"
path = "/kept"
upstream = "up"
auth = "key"
keep_credentials = true

[[routes]]
name = "stripped"
path = "/stripped"
upstream = "up"
auth = "key"
strip_prefix = true

[[routes]]
name = "scoped"
path = "/scoped"
upstream = "up"
auth = "key"
scopes = ["read:orders"]

[[routes]]
name = "posts"
path = "/posts"
methods = ["POST"]
upstream = "up"
auth = "key"

[[routes]]
name = "api"
path = "/api"
upstream = "control"
auth = "key"
keep_credentials = true
"#
    )
}

impl Rig {
    /// One account on an unlimited plan, with key 1.
    pub(crate) fn start() -> Self {
        let upstream = Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        Self::start_with(upstream, &routes(&address), |_| {})
    }

    /// [`Rig::start`], where what one worker keeps is the only one there is.
    pub(crate) fn start_with_one_worker() -> Self {
        let upstream = Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        Self::start_with(upstream, &routes(&address), |settings| settings.gateway.threads = 1)
    }

    pub(crate) fn start_with(upstream: Upstream, routes: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("routes.toml"), routes).unwrap();
        let snapshot = Arc::new(Snapshot::new());
        snapshot.lease().set_mode(Mode::Available);
        snapshot.begin_full(&v1::SnapshotBegin { revision: 1, ..Default::default() });
        snapshot.apply_chunk(&v1::Changes {
            plans: vec![plan(Limits::UNLIMITED)],
            accounts: vec![account(false)],
            credentials: vec![credential(1)],
            ..v1::Changes::default()
        });
        snapshot.end_full(&v1::SnapshotEnd { revision: 1 });
        let mut rig = Self { dir, upstream, snapshot, proxy: None, revision: 1 };
        rig.launch(change);
        rig
    }

    fn launch(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings { data_dir: self.dir.path().join("data"), ..Settings::default() };
        settings.gateway.addr = ([127, 0, 0, 1], 0).into();
        settings.metrics.proxy_addr = ([127, 0, 0, 1], 0).into();
        settings.egress.addr = ([127, 0, 0, 1], 0).into();
        settings.gateway.threads = 2;
        settings.gateway.drain_timeout = DEADLINE;
        settings.gateway.control_url = format!("http://{}", self.upstream.address);
        change(&mut settings);
        let routes = vec![self.routes_file()];
        self.proxy =
            Some(Proxy::start(Options { settings, routes, keys: Keys::Held(self.snapshot.clone()) }).expect("the proxy starts"));
    }

    /// Stops the proxy and starts it again over the same data.
    pub(crate) fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    pub(crate) fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        self.stop();
        self.launch(change);
    }

    /// Starts again over what a process killed at this moment would leave. `between` runs after all but the
    /// access log was copied, with its path.
    pub(crate) fn crash_and_restart(&mut self, copy: impl Fn(&Path, &Path), between: impl FnOnce(&Path)) {
        let after = tempfile::tempdir().unwrap();
        let (data, log) = (self.dir.path().join("data"), self.dir.path().join("data/access.log"));
        copy(&data, &after.path().join("data"));
        between(&log);
        std::fs::copy(&log, after.path().join("data/access.log")).unwrap();
        std::fs::copy(self.routes_file(), after.path().join("routes.toml")).unwrap();
        self.upstream.release();
        self.stop();
        self.dir = after;
        self.launch(|_| {});
    }

    pub(crate) fn stop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop();
        }
    }

    pub(crate) fn take(&mut self) -> Proxy {
        self.proxy.take().expect("it runs")
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it runs")
    }

    pub(crate) fn routes_file(&self) -> PathBuf {
        self.dir.path().join("routes.toml")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.proxy().gateway())
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client();
        client.send(bytes);
        client.read()
    }

    /// A GET with key 1.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(get(path, &[&bearer(1)]))
    }

    pub(crate) fn set(&mut self, changes: v1::Changes) {
        self.revision += 1;
        self.snapshot.apply(&v1::Delta { revision: self.revision, changes: Some(changes) });
    }

    pub(crate) fn set_credential(&mut self, credential: v1::Credential) {
        self.set(v1::Changes { credentials: vec![credential], ..Default::default() });
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.set(v1::Changes { plans: vec![plan(limits)], ..Default::default() });
    }

    /// What the metrics address says at `path`.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        let mut client = Client::connect(self.proxy().metrics());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.read()
    }

    pub(crate) fn metric(&self, line_start: &str) -> f64 {
        let text = String::from_utf8(self.admin("/metrics").body).unwrap();
        let line = text.lines().find(|line| line.starts_with(line_start));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// All lines of the access log, once `until` is true of them.
    pub(crate) fn log_until(&self, until: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually("the access log", || Some(self.log()).filter(|lines| until(lines)))
    }

    pub(crate) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("data/access.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    }

    /// What the ledger has counted for the account, over all days.
    pub(crate) fn counted(&self) -> u64 {
        let ledger = self.proxy().ledger();
        let totals = ledger.totals(1_000);
        ledger.restore(&totals);
        totals.iter().filter(|t| is_account(t)).map(|t| t.admitted).sum()
    }
}

fn is_account(total: &Total) -> bool {
    matches!(total.subject, clearway_proxy::ledger::Subject::Account(_))
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Whatever waits at the upstream would hold up the drain.
        self.upstream.release();
        self.stop();
    }
}

pub(crate) fn account(suspended: bool) -> v1::Account {
    v1::Account { id: ACCOUNT.to_vec(), plan: "test".into(), suspended, policies: Vec::new() }
}

pub(crate) fn plan(limits: Limits) -> v1::Plan {
    v1::Plan { name: "test".into(), limits: Some(limits.into()), ..Default::default() }
}

pub(crate) fn bearer(n: u8) -> String {
    format!("Authorization: Bearer {}", key(n))
}

pub(crate) fn get(path: &str, headers: &[&str]) -> String {
    request("GET", path, headers, "")
}

pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: api.example.com\r\n{headers}\r\n{body}")
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
