//! `[sync]`: how the planes find and trust each other.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::settings::duration;

/// What a proxy does while it has not heard from control for the auth lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It refuses: no key that was revoked anywhere is accepted here.
    Strict,
    /// It keeps serving by what it last heard.
    Available,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncSettings {
    /// Where control accepts proxies. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Where a proxy finds control, `http://…` or `https://…`: one, or a list of processes over one database, of which a
    /// proxy is attached to one at a time. Empty is `addr`.
    #[serde(deserialize_with = "one_or_many")]
    pub connect: Vec<String>,
    pub mode: Mode,
    /// How long a proxy may decide by what it holds after it last heard from control.
    #[serde(deserialize_with = "duration::deserialize")]
    pub auth_lease: Duration,
    /// Shared by control and its proxies: 64 hexadecimal digits. Control makes it on first start.
    /// Empty is `sync.token` in the data directory.
    pub token_file: PathBuf,
    /// What a proxy seals the signing secrets by that stand in its copy of the keys: 32 bytes in base64. Empty is
    /// `snapshot.key` in the proxy's data directory, which the first start makes.
    pub snapshot_key_file: PathBuf,
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

/// Control processes that may be named at most.
const CONNECT_MAX: usize = 16;

impl SyncSettings {
    /// What is wrong: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.connect.len() > CONNECT_MAX {
            return Some(("sync.connect", "must be at most 16 addresses"));
        }
        let is_address = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if !self.connect.iter().all(is_address) {
            return Some(("sync.connect", "must begin with http:// or https://"));
        }
        let is_again = |(at, url): (usize, &String)| self.connect[..at].contains(url);
        self.connect.iter().enumerate().any(is_again).then_some(("sync.connect", "must name each address once"))
    }
}

/// An address, or a list of them; one that is empty is none.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be an address or a list of them")]
    enum Raw {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Raw::deserialize(deserializer)? {
        Raw::One(url) if url.is_empty() => Vec::new(),
        Raw::One(url) => vec![url],
        Raw::Many(urls) => urls,
    })
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 9001).into(),
            connect: Vec::new(),
            mode: Mode::Available,
            auth_lease: Duration::from_secs(10),
            token_file: PathBuf::new(),
            snapshot_key_file: PathBuf::new(),
            tls: None,
        }
    }
}
