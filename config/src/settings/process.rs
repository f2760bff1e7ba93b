//! `clearway.toml`: where the processes listen, keep their data and find each other.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{SettingsError, Source, duration};

/// What a proxy does while it has not heard from control for the auth lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It refuses: no key that was revoked anywhere is accepted here.
    Strict,
    /// It keeps serving by what it last heard.
    Available,
}

/// Both planes read the same file and take what concerns them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Holds the database, the ledger, the disk snapshot and the sync token. Relative to the working directory.
    pub data_dir: PathBuf,
    pub gateway: GatewaySettings,
    pub control: ControlSettings,
    pub sync: SyncSettings,
    pub metrics: MetricsSettings,
    pub access_log: AccessLogSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Where clients connect. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Routes and upstreams; relative to this settings file.
    pub routes_file: PathBuf,
    /// Threads that serve requests; 0 is one a core.
    pub threads: usize,
    /// How long requests in flight may take to finish after SIGTERM.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain_timeout: Duration,
    /// Peers whose `X-Forwarded-For` is believed: load balancers in front of the gateway.
    pub trusted_proxies: Vec<IpNet>,
    /// Idle connections kept to upstreams. Fewer than the requests in flight costs a connect each.
    pub upstream_idle_max: usize,
    /// What this proxy is called in the list of proxies; empty is the host's name.
    pub name: String,
    /// Where the control API is, for routes whose upstream is `control`.
    pub control_url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// Where the control API listens. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// `sqlite:FILE` or `postgres://…`; empty is `control.db` in the data directory. The environment's
    /// `CLEARWAY_DATABASE_URL` comes first, so that a password need not stand in a file.
    pub database_url: String,
    /// Connections to PostgreSQL at most.
    pub database_connections: u32,
    /// The plans on offer; relative to this settings file.
    pub plans_file: PathBuf,
    /// The first admin's address.
    pub admin_email: String,
    /// How long a request may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub request_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncSettings {
    /// Where control accepts proxies. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Where a proxy finds control, `http://…` or `https://…`; empty is `addr`.
    pub connect: String,
    pub mode: Mode,
    /// How long a proxy may decide by what it holds after it last heard from control.
    #[serde(deserialize_with = "duration::deserialize")]
    pub auth_lease: Duration,
    /// Shared by control and its proxies: 64 hexadecimal digits. Control makes it on first start.
    /// Empty is `sync.token` in the data directory.
    pub token_file: PathBuf,
    pub tls: Option<SyncTls>,
}

/// Mutual TLS between the planes, beside the token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncTls {
    /// PEM of the authority that signed the other side's certificate.
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// The name in control's certificate, where it is not the host that proxies connect to.
    #[serde(default)]
    pub server_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Prometheus and health of the proxy.
    pub proxy_addr: SocketAddr,
    /// Prometheus and health of the control plane.
    pub control_addr: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogSettings {
    pub enabled: bool,
    /// Relative to the data directory; `-` is standard output.
    pub file: PathBuf,
    /// The part of requests that is logged, from 0 to 1. Billing never depends on it.
    pub sample: f64,
}

/// What a revoke may wait for beyond the auth lease of a proxy that cannot be heard.
const FENCE_WAIT_MORE: Duration = Duration::from_secs(5);

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            gateway: GatewaySettings::default(),
            control: ControlSettings::default(),
            sync: SyncSettings::default(),
            metrics: MetricsSettings::default(),
            access_log: AccessLogSettings::default(),
        }
    }
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            addr: ([0, 0, 0, 0], 8080).into(),
            routes_file: "gateway.toml".into(),
            threads: 0,
            drain_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            upstream_idle_max: 1024,
            name: String::new(),
            control_url: "http://127.0.0.1:9000".into(),
        }
    }
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 9000).into(),
            database_url: String::new(),
            database_connections: 16,
            plans_file: "plans.toml".into(),
            admin_email: "admin@localhost".into(),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 9001).into(),
            connect: String::new(),
            mode: Mode::Available,
            auth_lease: Duration::from_secs(10),
            token_file: PathBuf::new(),
            tls: None,
        }
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { proxy_addr: ([127, 0, 0, 1], 9090).into(), control_addr: ([127, 0, 0, 1], 9091).into() }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self { enabled: true, file: "access.log".into(), sample: 1.0 }
    }
}

impl Settings {
    /// The file's settings with paths made whole, or the defaults with `config/`'s file names where there is no file.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let source = Source::read(file)?;
        let mut settings: Self = source.parse()?;
        settings.check(&source)?;
        let beside = file.parent().unwrap_or(Path::new("."));
        settings.gateway.routes_file = beside.join(&settings.gateway.routes_file);
        settings.control.plans_file = beside.join(&settings.control.plans_file);
        Ok(settings)
    }

    /// `sync.token` unless a setting names another file.
    pub fn token_file(&self) -> PathBuf {
        let named = &self.sync.token_file;
        if named.as_os_str().is_empty() { self.data_dir.join("sync.token") } else { named.clone() }
    }

    /// Where the access log goes; `None` is standard output.
    pub fn access_log_file(&self) -> Option<PathBuf> {
        (self.access_log.file != Path::new("-")).then(|| self.data_dir.join(&self.access_log.file))
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let fault = |key: &str, message: &str| {
            Err(SettingsError {
                file: source.file.clone(),
                line: source.line_of_key(key),
                key: Some(key.into()),
                message: message.into(),
            })
        };
        if !(0.0..=1.0).contains(&self.access_log.sample) {
            return fault("access_log.sample", "must be from 0 to 1");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.sync.auth_lease) {
            return fault("sync.auth_lease", "must be from 1s to 1h");
        }
        if self.control.request_timeout < self.sync.auth_lease + FENCE_WAIT_MORE {
            return fault("control.request_timeout", "must be at least 5s longer than sync.auth_lease: a revoke waits that long");
        }
        if self.gateway.threads > 1024 {
            return fault("gateway.threads", "must be at most 1024");
        }
        if !(1..=1000).contains(&self.control.database_connections) {
            return fault("control.database_connections", "must be from 1 to 1000");
        }
        let url = &self.control.database_url;
        if !(url.is_empty() || url.starts_with("sqlite:") || url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return fault("control.database_url", "must begin with sqlite: or postgres://");
        }
        Ok(())
    }
}

impl Source {
    /// The line on which the last word of `key` is set; the section is not looked at, so this is a hint.
    fn line_of_key(&self, key: &str) -> Option<usize> {
        let word = key.rsplit('.').next()?;
        self.text().lines().position(|line| line.split('=').next().is_some_and(|k| k.trim() == word)).map(|n| n + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clearway.toml");
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(&file)).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn the_file_that_ships_says_the_defaults() {
        let shipped = Settings::load(Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("clearway.toml"))).unwrap();
        let defaults = Settings::default();
        assert_eq!(format!("{:?}", shipped.sync), format!("{:?}", defaults.sync));
        assert_eq!(format!("{:?}", shipped.metrics), format!("{:?}", defaults.metrics));
        assert_eq!(format!("{:?}", shipped.access_log), format!("{:?}", defaults.access_log));
        assert_eq!(shipped.gateway.addr, defaults.gateway.addr);
        assert_eq!(shipped.control.addr, defaults.control.addr);
    }

    #[test]
    fn an_unknown_word_is_an_error_with_its_line() {
        assert_eq!(
            load("data_dir = \"x\"\n\n[sync]\nlease = \"1s\"\n").unwrap_err(),
            "clearway.toml:4: lease: unknown field `lease`, expected one of `addr`, `connect`, `mode`, `auth_lease`, `token_file`, `tls`"
        );
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_line() {
        assert_eq!(
            load("[sync]\nauth_lease = \"10ms\"\n").unwrap_err(),
            "clearway.toml:2: sync.auth_lease: must be from 1s to 1h"
        );
        assert_eq!(load("[access_log]\nsample = 2.0\n").unwrap_err(), "clearway.toml:2: access_log.sample: must be from 0 to 1");
        assert_eq!(
            load("[sync]\nauth_lease = \"28s\"\n").unwrap_err(),
            "clearway.toml: control.request_timeout: must be at least 5s longer than sync.auth_lease: a revoke waits that long"
        );
        assert!(load("[sync]\nmode = \"best-effort\"\n").unwrap_err().starts_with("clearway.toml:2: mode: unknown variant"));
    }
}
