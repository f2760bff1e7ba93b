//! Control planes and gateways as child processes, each over a directory that outlives them.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually;

/// A binary of this workspace, built beside the tests.
pub(crate) fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test has a file");
    let file = tests.parent().and_then(Path::parent).expect("target/PROFILE/deps").join(name);
    assert!(file.exists(), "{} is missing: run `make test`, or cargo build --workspace --bins", file.display());
    file
}

/// Variables that a process is given beside those of the tests.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// A child process that cannot outlive its test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a plane and returns its ready line, or everything it said when it did not become ready.
    pub(crate) fn start(name: &str, args: &[String], dir: &Path, env: &[(&str, String)]) -> Result<(Self, Value), String> {
        let log = dir.join(format!("{name}.log"));
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a writable directory");
        let mut child = Command::new(binary(name))
            .args(args)
            .env("RUST_LOG", "info")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let output = child.stdout.take().expect("standard output is a pipe");
        let process = Self { child };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a readable pipe");
        match serde_json::from_str(&line) {
            Ok(ready) => Ok((process, ready)),
            Err(_) => Err(std::fs::read_to_string(&log).unwrap_or_default()),
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -{signal}");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the process to end by itself and gives its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        eventually("a process to end", async || self.child.try_wait().expect("a child of ours")).await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process must go on to be able to die.
        let _ = Command::new("kill").args(["-CONT", &self.child.id().to_string()]).stderr(Stdio::null()).status();
        self.kill();
    }
}

/// What all processes of one test share.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) dir: TempDir,
    settings: String,
    /// Of gateways.
    env: Environment,
}

impl Fleet {
    /// `settings` is the text of `clearway.toml`.
    pub(crate) fn new(settings: &str) -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory"), settings: settings.to_owned(), env: Vec::new() }
    }

    /// Gateways are given these variables.
    pub(crate) fn with(self, env: Environment) -> Self {
        Self { env, ..self }
    }

    /// The same directories, with other settings for what is started from now on.
    pub(crate) fn resettled(self, settings: &str) -> Self {
        Self { settings: settings.to_owned(), ..self }
    }

    pub(crate) fn control(&self) -> Control {
        self.control_of(None)
    }

    /// One that has been started before, over whichever database the settings name now: it makes no admin any more.
    pub(crate) fn control_again(&self, admin_key: &str) -> Control {
        self.control_of(Some(admin_key.to_owned()))
    }

    fn control_of(&self, admin_key: Option<String>) -> Control {
        let dir = self.dir.path().join("control-plane");
        std::fs::create_dir_all(&dir).expect("a writable directory");
        let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans.toml");
        std::fs::copy(plans, dir.join("plans.toml")).expect("a writable directory");
        std::fs::write(dir.join("clearway.toml"), &self.settings).expect("a writable directory");
        let args = args(&dir, &[("--control-addr", "127.0.0.1:0"), ("--sync-addr", "127.0.0.1:0")]);
        Control::start(dir, args, admin_key)
    }

    /// A control process called `name` over the database at `url`, beside `first` if there is one already.
    pub(crate) fn control_over(&self, name: &str, url: &str, first: Option<&Control>) -> Control {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(dir.join("control")).expect("a writable directory");
        let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans.toml");
        std::fs::copy(plans, dir.join("plans.toml")).expect("a writable directory");
        let own = format!("{}\n[control]\nname = \"{name}\"\ndatabase_url = \"{url}\"\n", self.settings);
        std::fs::write(dir.join("clearway.toml"), own).expect("a writable directory");
        for shared in ["sync.token", "control/master.key"] {
            if let Some(first) = first {
                std::fs::copy(first.dir.join(shared), dir.join(shared)).expect("the first has made it");
            }
        }
        let args = args(&dir, &[("--control-addr", "127.0.0.1:0"), ("--sync-addr", "127.0.0.1:0")]);
        Control::start(dir, args, first.map(|first| first.admin_key.clone()))
    }

    /// A gateway named `name` with `routes`, finding control's API at `control` and its sync at `sync`.
    pub(crate) fn proxy(&self, name: &str, routes: &str, control: &Control, sync: &str) -> Proxy {
        self.proxy_with(name, routes, control, sync, &[])
    }

    /// [`Fleet::proxy`], taking encrypted connections too.
    pub(crate) fn encrypted_proxy(&self, name: &str, routes: &str, control: &Control) -> Proxy {
        self.proxy_with(name, routes, control, &control.sync, &[("--gateway-tls-addr", "127.0.0.1:0")])
    }

    /// [`Fleet::proxy`] with more flags.
    pub(crate) fn proxy_with(&self, name: &str, routes: &str, control: &Control, sync: &str, more: &[(&str, &str)]) -> Proxy {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).expect("a writable directory");
        let own = std::fs::read_to_string(dir.join("own.toml")).unwrap_or_default();
        std::fs::write(dir.join("clearway.toml"), format!("{}\n{own}\n[gateway]\nname = \"{name}\"\n", self.settings))
            .expect("a writable directory");
        std::fs::write(dir.join("routes.toml"), routes).expect("a writable directory");
        std::fs::copy(control.dir.join("sync.token"), dir.join("sync.token")).expect("control made the token");
        let routes = dir.join("routes.toml").to_string_lossy().into_owned();
        let mut args = args(
            &dir,
            &[
                ("--gateway-addr", "127.0.0.1:0"),
                ("--egress-addr", "127.0.0.1:0"),
                ("--sync-connect", sync),
                ("--control-url", &control.url),
                ("--routes", &routes),
            ],
        );
        for (flag, value) in more {
            args.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
        Proxy::start(name, dir, args, self.env.clone())
    }
}

impl Fleet {
    /// The gateway called `name` will have these settings, too.
    pub(crate) fn set_for(&self, name: &str, more: &str) {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).expect("a writable directory");
        std::fs::write(dir.join("own.toml"), more).expect("a writable directory");
    }
}

fn args(dir: &Path, more: &[(&str, &str)]) -> Vec<String> {
    let mut args = vec!["--json".to_owned()];
    let config = dir.join("clearway.toml").to_string_lossy().into_owned();
    let data = dir.to_string_lossy().into_owned();
    for (flag, value) in
        [("--config", config.as_str()), ("--data-dir", &data), ("--metrics-addr", "127.0.0.1:0")].iter().chain(more)
    {
        args.extend([(*flag).to_owned(), (*value).to_owned()]);
    }
    args
}

/// The same arguments with every picked port asked for again.
fn pin(args: &mut [String], flag: &str, url: &str) {
    let at = args.iter().position(|a| a == flag).expect("the flag is given") + 1;
    args[at] = url.split_once("://").map_or(url, |(_, authority)| authority).to_owned();
}

#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) process: Process,
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    pub(crate) sync: String,
    pub(crate) metrics: String,
    pub(crate) admin_key: String,
    args: Vec<String>,
    client: Client,
}

impl Control {
    fn start(dir: PathBuf, mut args: Vec<String>, admin_key: Option<String>) -> Self {
        let (process, ready) =
            Process::start("clearway-control", &args, &dir, &[]).unwrap_or_else(|log| panic!("control did not start: {log}"));
        let (url, sync, metrics) = (word(&ready, "control"), word(&ready, "sync"), word(&ready, "metrics"));
        for (flag, bound) in [("--control-addr", &url), ("--sync-addr", &sync), ("--metrics-addr", &metrics)] {
            pin(&mut args, flag, bound);
        }
        let admin_key = admin_key.unwrap_or_else(|| word(&ready, "admin_key"));
        let client = crate::client_for(Duration::from_secs(60));
        Self { process, dir, url, sync, metrics, admin_key, args, client }
    }

    /// Starts again on the same addresses and directory.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        *self = Self::start(self.dir.clone(), self.args.clone(), Some(self.admin_key.clone()));
    }

    /// One call of the API with `key`, straight to control.
    pub(crate) async fn call_as(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("control answers");
        let status = answer.status();
        (status, answer.json().await.expect("control answers JSON"))
    }

    /// A call by the admin that has to succeed; its `data`.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, mut answer) = self.call_as(&self.admin_key, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer["data"].take()
    }

    /// An account on `plan`; its id.
    pub(crate) async fn account(&self, name: &str, plan: &str) -> String {
        word(&self.admin(Method::POST, "/api/v1/admin/accounts", Some(json!({"name": name, "plan": plan}))).await, "id")
    }

    /// A key of `account`: id and secret.
    pub(crate) async fn key(&self, account: &str, more: Value) -> (String, String) {
        let made = self.made_key(account, more).await;
        (word(&made, "id"), word(&made, "secret"))
    }

    /// All that is said of a new key, this once.
    pub(crate) async fn made_key(&self, account: &str, more: Value) -> Value {
        let mut body = json!({"name": "e2e", "scopes": [], "account_id": account});
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        self.admin(Method::POST, "/api/v1/keys", Some(body)).await
    }

    /// Waits until `count` gateways are attached and have everything.
    pub(crate) async fn attached(&self, count: usize) {
        eventually("gateways to attach", async || {
            let (id, _) = self.key_of_platform().await;
            let gone = self.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
            (gone["propagation"]["acknowledged"].as_u64() == Some(count as u64)).then_some(())
        })
        .await;
    }

    async fn key_of_platform(&self) -> (String, String) {
        let made = self.admin(Method::POST, "/api/v1/keys", Some(json!({"name": "probe", "scopes": []}))).await;
        (word(&made, "id"), word(&made, "secret"))
    }
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    /// Where it takes encrypted connections, if it does.
    pub(crate) encrypted: Option<String>,
    /// Where webhooks are posted to be signed and passed on.
    pub(crate) egress: String,
    pub(crate) metrics: String,
    args: Vec<String>,
    env: Environment,
}

impl Proxy {
    fn start(name: &str, dir: PathBuf, mut args: Vec<String>, env: Environment) -> Self {
        let (process, ready) =
            Process::start("clearway-proxy", &args, &dir, &env).unwrap_or_else(|log| panic!("{name} did not start: {log}"));
        let (url, egress, metrics) = (word(&ready, "gateway"), word(&ready, "egress"), word(&ready, "metrics"));
        pin(&mut args, "--gateway-addr", &url);
        pin(&mut args, "--egress-addr", &egress);
        pin(&mut args, "--metrics-addr", &metrics);
        let encrypted = ready["gateway_tls"].as_str().map(str::to_owned);
        if let Some(url) = &encrypted {
            pin(&mut args, "--gateway-tls-addr", url);
        }
        Self { process, name: name.to_owned(), dir, url, encrypted, egress, metrics, args, env }
    }

    /// Lets a new process take over; the one before, or what the new one said when it could not.
    pub(crate) fn upgrade(&mut self, more: &[&str]) -> Result<Process, String> {
        let mut args = self.args.clone();
        args.push("--upgrade".to_owned());
        args.extend(more.iter().map(|&flag| flag.to_owned()));
        let (process, _) = Process::start("clearway-proxy", &args, &self.dir, &self.env)?;
        Ok(std::mem::replace(&mut self.process, process))
    }

    /// Kills what is left of the process and starts again on the same address and directory.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        *self = Self::start(&self.name, self.dir.clone(), self.args.clone(), self.env.clone());
    }

    /// Kills the process and starts again on the same address, as a gateway that nobody has seen before: without the
    /// files it counted in.
    pub(crate) fn restart_as_new(&mut self) {
        self.process.kill();
        std::fs::remove_dir_all(self.dir.join("proxy")).expect("the gateway's own directory");
        *self = Self::start(&self.name, self.dir.clone(), self.args.clone(), self.env.clone());
    }

    /// Request ids of the access log's lines about admitted requests, in order.
    pub(crate) fn admitted_in_access_log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("access.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("a broken access log line: {e}: {line}")))
            .filter(|line| line["admitted"] == true)
            .map(|line| word(&line, "request_id"))
            .collect()
    }
}

pub(crate) fn word(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_else(|| panic!("`{name}` is missing in {object}")).to_owned()
}
