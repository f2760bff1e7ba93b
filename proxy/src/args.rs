//! The command line of `clearway-proxy`. A flag comes before the same setting in the file.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use clearway_config::settings::{Settings, SettingsError};

/// Clearway's gateway: checks, counts and forwards requests.
///
/// SIGTERM drains: requests in flight finish, then it exits. SIGHUP reads the routes and reopens the
/// access log.
#[derive(Debug, Clone, Parser)]
#[command(name = "clearway-proxy", version)]
pub struct Args {
    /// Settings file; without one the defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the ledger, the snapshot of keys and the access log are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where clients connect; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub gateway_addr: Option<SocketAddr>,
    /// Where clients connect encrypted; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub gateway_tls_addr: Option<SocketAddr>,
    /// Make a certificate for localhost in the data directory, shown where there is no other.
    #[arg(long)]
    pub self_signed: bool,
    /// Where the control API is, for routes whose upstream is `control`.
    #[arg(long, value_name = "URL")]
    pub control_url: Option<String>,
    /// Where control accepts proxies; several with commas between, or given more than once.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub sync_connect: Vec<String>,
    /// Where one's own senders post webhooks to be signed and passed on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub egress_addr: Option<SocketAddr>,
    /// Prometheus and health; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,
    /// A routes file in place of the settings'; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub routes: Vec<PathBuf>,
    /// Print the addresses as one line of JSON once requests are taken.
    #[arg(long)]
    pub json: bool,
    /// Check settings and routes, and exit.
    #[arg(long)]
    pub check: bool,
    /// Tell the settings' Redis what the ledger in the data directory has counted, and exit: for a gateway that counted
    /// alone and is not to be part of the fleet. It must have stopped.
    #[arg(long, conflicts_with_all = ["check", "upgrade"])]
    pub tell_redis: bool,
    /// Take the place of the process that runs over the data directory, without a request failing. Where that does
    /// not work, it goes on. `--upgrade=if-running`: where none runs, start.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub upgrade: Option<Upgrade>,
    /// Drain when standard input ends, as it does when the parent process is gone.
    #[arg(long)]
    pub exit_with_stdin: bool,
}

/// What is done where no process runs whose place could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Upgrade {
    /// It is an error.
    Always,
    /// The process starts: for service managers, whose command is the same each time.
    IfRunning,
}

impl Args {
    /// The settings file with the flags over it, and the routes files.
    pub fn settings(&self) -> Result<(Settings, Vec<PathBuf>), SettingsError> {
        let mut settings = Settings::load(self.config.as_deref())?;
        if let Some(dir) = &self.data_dir {
            settings.data_dir.clone_from(dir);
        }
        if let Some(addr) = self.gateway_addr {
            settings.gateway.addr = addr;
        }
        if let Some(addr) = self.gateway_tls_addr {
            settings.gateway.tls_addr = Some(addr);
        }
        settings.gateway.tls.self_signed |= self.self_signed;
        if let Some(url) = &self.control_url {
            settings.gateway.control_url.clone_from(url);
        }
        if !self.sync_connect.is_empty() {
            settings.sync.connect.clone_from(&self.sync_connect);
        }
        if let Some(addr) = self.egress_addr {
            settings.egress.addr = addr;
        }
        if let Some(addr) = self.metrics_addr {
            settings.metrics.proxy_addr = addr;
        }
        let routes = if self.routes.is_empty() { vec![settings.gateway.routes_file.clone()] } else { self.routes.clone() };
        Ok((settings, routes))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_upgrade_is_asked_for_or_taken_where_it_can_be() {
        let parse = |flags: &[&str]| Args::try_parse_from([&["clearway-proxy"], flags].concat()).map(|args| args.upgrade).ok();
        assert_eq!(parse(&[]), Some(None));
        assert_eq!(parse(&["--upgrade", "--json"]), Some(Some(Upgrade::Always)));
        assert_eq!(parse(&["--upgrade=if-running"]), Some(Some(Upgrade::IfRunning)));
        assert_eq!(parse(&["--upgrade=perhaps"]), None);
    }

    #[test]
    fn a_flag_comes_before_the_setting() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clearway.toml");
        std::fs::write(&file, "[gateway]\naddr = \"127.0.0.1:1\"\nroutes_file = \"r.toml\"\n").unwrap();
        let file = file.to_str().unwrap();
        let parse = |more: &[&str]| Args::parse_from([&["clearway-proxy", "--config", file], more].concat()).settings().unwrap();
        let (settings, routes) = parse(&[]);
        assert_eq!((settings.gateway.addr.port(), routes), (1, vec![dir.path().join("r.toml")]));
        let (settings, routes) = parse(&["--gateway-addr", "127.0.0.1:2", "--routes", "a", "--routes", "b"]);
        assert_eq!((settings.gateway.addr.port(), routes), (2, vec!["a".into(), "b".into()]));
        let (settings, _) = parse(&["--sync-connect", "http://a:1,http://b:1", "--sync-connect", "http://c:1"]);
        assert_eq!(settings.sync.connect, ["http://a:1", "http://b:1", "http://c:1"]);
    }
}
