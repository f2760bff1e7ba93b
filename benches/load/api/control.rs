//! One control process over a database of either kind, ended and started again on the same.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use clearway_control::db::Location;
use clearway_testkit::Cluster;
use serde_json::Value;
use tempfile::TempDir;

use crate::{beside, webhooks::Engine};

#[derive(Debug)]
pub(super) struct Control {
    child: Option<Child>,
    pub(super) url: String,
    pub(super) admin_key: String,
    /// PostgreSQL, and the database in it.
    database: Option<(Cluster, String)>,
    dir: TempDir,
}

impl Control {
    pub(super) fn start(engine: Engine) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let plans = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/plans.toml");
        std::fs::copy(plans, dir.path().join("plans.toml")).map_err(|e| e.to_string())?;
        for empty in ["clearway.toml", "gateway.toml"] {
            std::fs::write(dir.path().join(empty), "").map_err(|e| e.to_string())?;
        }
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let cluster = Cluster::durable()?;
                let url = cluster.create("clearway");
                Some((cluster, url))
            }
        };
        let mut control = Self { child: None, url: String::new(), admin_key: String::new(), database, dir };
        let ready = control.spawn()?;
        control.admin_key = ready["admin_key"].as_str().ok_or("no admin's key")?.to_owned();
        Ok(control)
    }

    pub(super) fn start_again(&mut self) -> Result<(), String> {
        self.spawn().map(|_| ())
    }

    fn spawn(&mut self) -> Result<Value, String> {
        let dir = self.dir.path();
        let mut command = Command::new(beside("clearway-control")?);
        command.arg("--json").arg("--config").arg(dir.join("clearway.toml")).arg("--data-dir").arg(dir);
        command.args(["--metrics-addr", "127.0.0.1:0", "--control-addr", "127.0.0.1:0", "--sync-addr", "127.0.0.1:0"]);
        if let Some((_, url)) = &self.database {
            command.env("CLEARWAY_DATABASE_URL", url);
        }
        command.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        let child = self.child.insert(command.spawn().map_err(|e| format!("clearway-control: {e}"))?);
        let output = child.stdout.take().ok_or("a child without standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
        let ready: Value = serde_json::from_str(&line).map_err(|_| "clearway-control did not start".to_owned())?;
        self.url = ready["control"].as_str().ok_or("control did not say where it is")?.to_owned();
        Ok(ready)
    }

    /// Ends the process; what it stored stays.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where its database is.
    pub(super) fn location(&self) -> Result<Location, String> {
        match &self.database {
            None => Ok(Location::Sqlite(self.dir.path().join("control/control.db"))),
            Some((_, url)) => Ok(Location::Postgres(url.clone())),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}
