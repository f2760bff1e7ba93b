//! `[control]`: the control plane.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

use crate::settings::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// Where the control API listens. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// What operators see it called, of several over one database; empty is the host's name and the port of `sync.addr`.
    pub name: String,
    /// `sqlite:FILE` or `postgres://…`; empty is `control.db` in the data directory. The environment's
    /// `CLEARWAY_DATABASE_URL` comes first, so that a password need not stand in a file.
    pub database_url: String,
    /// A file that holds the URL, in place of `database_url`: for secrets that are mounted as files.
    pub database_url_file: PathBuf,
    /// Connections to PostgreSQL at most.
    pub database_connections: u32,
    /// What the secrets in the database are sealed by: 32 bytes in base64. Empty is `control/master.key` in the
    /// data directory, which the first start makes. The environment's `CLEARWAY_MASTER_KEY` comes first.
    pub master_key_file: PathBuf,
    /// The plans on offer; relative to this settings file.
    pub plans_file: PathBuf,
    /// The first admin's address.
    pub admin_email: String,
    /// Who may become a user: anyone, whom a member of an account invites, or nobody.
    pub registration: Registration,
    /// Where people find the gateway, for the links in mails.
    pub public_url: String,
    /// How long a request may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub request_timeout: Duration,
    /// A proxy that was not heard of for so long is no longer listed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub forget_proxies_after: Duration,
}

/// Who may become a user. A user has an account of their own, and with its keys may call whatever route asks for no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anyone who proves an address.
    Open,
    /// Whom a member of an account invites.
    Invited,
    /// Nobody new.
    Closed,
}

impl FromStr for Registration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "open" => Ok(Self::Open),
            "invited" => Ok(Self::Invited),
            "closed" => Ok(Self::Closed),
            _ => Err("must be open, invited or closed"),
        }
    }
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 9000).into(),
            name: String::new(),
            database_url: String::new(),
            database_url_file: PathBuf::new(),
            database_connections: 16,
            master_key_file: PathBuf::new(),
            plans_file: "plans.toml".into(),
            admin_email: "admin@localhost".into(),
            registration: Registration::Invited,
            public_url: "http://127.0.0.1:8080".into(),
            request_timeout: Duration::from_secs(30),
            forget_proxies_after: Duration::from_secs(24 * 3600),
        }
    }
}
