//! `[gateway.acme]`: certificates that the gateway gets by itself (RFC 8555).

use std::path::PathBuf;

use serde::Deserialize;

/// Names in one certificate at most: the greatest number that public authorities take.
pub const DOMAINS_MAX: usize = 100;

/// One account, and one certificate for all of `domains`, kept in the data directory and renewed
/// when two thirds of its life are over. Names are proved by HTTP-01: `gateway.addr` must be reachable
/// for the authority at port 80 of each of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeSettings {
    /// `https://…`, the authority's directory.
    pub directory_url: String,
    /// `mailto:` addresses that the authority may write to.
    #[serde(default)]
    pub contact: Vec<String>,
    /// DNS names; wildcards cannot be proved by HTTP-01.
    pub domains: Vec<String>,
    /// PEM of the authority's own TLS issuer, where it is a private one; relative to this settings file.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The authority's terms are the operator's to agree to.
    #[serde(default)]
    pub terms_of_service_agreed: bool,
}

impl AcmeSettings {
    /// What is wrong: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if !self.directory_url.starts_with("https://") {
            return Some(("gateway.acme.directory_url", "must begin with https://"));
        }
        if !(1..=DOMAINS_MAX).contains(&self.domains.len()) {
            return Some(("gateway.acme.domains", "must be from 1 to 100 names"));
        }
        if !self.domains.iter().all(|name| is_dns_name(name)) {
            return Some(("gateway.acme.domains", "must be DNS names in lower case, without wildcards"));
        }
        if !self.contact.iter().all(|address| address.starts_with("mailto:")) {
            return Some(("gateway.acme.contact", "must begin with mailto:"));
        }
        if !self.terms_of_service_agreed {
            return Some(("gateway.acme.terms_of_service_agreed", "must be true: read the authority's terms first"));
        }
        None
    }
}

/// RFC 1123, 2.1, in lower case, and not an address.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<std::net::IpAddr>().is_err()
}
