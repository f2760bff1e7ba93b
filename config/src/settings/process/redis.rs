//! `[redis]`: the store by which many proxies share quotas.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::settings::duration;

/// Servers that may be named at most.
const SERVERS_MAX: usize = 100;

/// One server, or sentinels, or a cluster; with none of them each proxy counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// One server: `redis://host:port/db`, with TLS `rediss://…`, or `redis+unix:///path`. Never with a password.
    pub url: String,
    /// Sentinels, as `redis://host:port`; `rediss://…` is TLS to them and to the servers they name.
    pub sentinels: Vec<String>,
    /// What sentinels call the master.
    pub master: String,
    /// Some servers of a cluster: they know the others.
    pub cluster: Vec<String>,
    /// Whom to log in as; empty is the default user.
    pub user: String,
    /// One line. Relative to this settings file.
    pub password_file: Option<PathBuf>,
    /// The same for the sentinels themselves.
    pub sentinel_user: String,
    pub sentinel_password_file: Option<PathBuf>,
    /// PEM of the authorities of the servers' certificates, instead of the system's. Relative to this settings file.
    pub ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// For one call.
    #[serde(deserialize_with = "duration::deserialize")]
    pub call_timeout: Duration,
    /// How long a request may wait for its part of a quota; then its plan says what happens.
    #[serde(deserialize_with = "duration::deserialize")]
    pub wait_timeout: Duration,
    /// After a loss of Redis' data, a proxy that has been silent for so long is no longer waited for; and a proxy that has
    /// not reached Redis for so long gives up what it holds. The same on all proxies.
    #[serde(deserialize_with = "duration::deserialize")]
    pub forget_after: Duration,
    /// What all keys begin with. The same on all proxies.
    pub name_prefix: String,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            sentinels: Vec::new(),
            master: String::new(),
            cluster: Vec::new(),
            user: String::new(),
            password_file: None,
            sentinel_user: String::new(),
            sentinel_password_file: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_millis(500),
            wait_timeout: Duration::from_millis(250),
            forget_after: Duration::from_secs(60),
            name_prefix: "ratelimit".into(),
        }
    }
}

impl RedisSettings {
    /// Whether there is a Redis.
    pub fn is_set(&self) -> bool {
        !(self.url.is_empty() && self.sentinels.is_empty() && self.cluster.is_empty())
    }

    /// What is wrong: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let ways = [!self.url.is_empty(), !self.sentinels.is_empty(), !self.cluster.is_empty()];
        if ways.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Some(("redis.url", "only one of url, sentinels and cluster can be"));
        }
        if !self.url.is_empty() && !is_server(&self.url, &["redis://", "rediss://", "redis+unix://"]) {
            return Some(("redis.url", SERVER));
        }
        for (key, servers) in [("redis.sentinels", &self.sentinels), ("redis.cluster", &self.cluster)] {
            if servers.len() > SERVERS_MAX {
                return Some((key, "must be at most 100 servers"));
            }
            let has_scheme = |scheme: &str| servers.iter().all(|server| is_server(server, &[scheme]));
            if !(servers.is_empty() || has_scheme("redis://") || has_scheme("rediss://")) {
                return Some((key, "must all be redis://host:port, or all rediss://host:port, without user and password"));
            }
        }
        if self.sentinels.is_empty() != self.master.is_empty() {
            return Some(("redis.master", "belongs to redis.sentinels: the name by which they know the master"));
        }
        if !(1..=64).contains(&self.name_prefix.len()) || !self.name_prefix.bytes().all(is_of_name) {
            return Some(("redis.name_prefix", "must be 1 to 64 of letters, digits and -_.:"));
        }
        let timeouts = [
            ("redis.connect_timeout", self.connect_timeout),
            ("redis.call_timeout", self.call_timeout),
            ("redis.wait_timeout", self.wait_timeout),
        ];
        let between = Duration::from_millis(10)..=Duration::from_secs(30);
        if let Some((key, _)) = timeouts.into_iter().find(|(_, timeout)| !between.contains(timeout)) {
            return Some((key, "must be from 10ms to 30s"));
        }
        let is_fit = (Duration::from_secs(15)..=Duration::from_secs(3600)).contains(&self.forget_after);
        (!is_fit).then_some(("redis.forget_after", "must be from 15s to 1h"))
    }
}

const SERVER: &str = "must be redis://host:port, rediss://host:port or redis+unix:///path, without user and password";

fn is_server(url: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    // What stands behind `#` could turn the checks of a certificate off.
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.len() < 1_024 && !rest.contains(['@', '#', '?']) && !rest.contains(char::is_control)
    })
}

/// Braces would be another hash tag.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}
