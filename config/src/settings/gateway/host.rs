//! Which hosts a route is for.

use serde::{Deserialize, Serialize};

use crate::settings::fault::{Fault, Within as _};

/// Hosts of one route at most.
pub const HOSTS_MAX: usize = 32;

/// One host or several, as they are written: `"api.example.com"` or `["example.com", "*.example.com"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged, expecting = "must be a host name or a list of them")]
pub enum HostsSpec {
    One(String),
    Many(Vec<String>),
}

/// Hosts, checked: in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Any,
    /// Every name below this one, at any depth, and not the name itself: of `*.example.com`, `example.com`.
    Wildcard(String),
    Exact(String),
}

impl HostsSpec {
    /// Never empty.
    pub(super) fn resolve(spec: Option<&Self>) -> Result<Vec<HostPattern>, Fault> {
        match spec {
            None => Ok(vec![HostPattern::Any]),
            Some(Self::One(host)) => Ok(vec![HostPattern::parse(host)?]),
            Some(Self::Many(hosts)) if hosts.is_empty() => Err(Fault::new("at least one is needed; leave it out for every host")),
            Some(Self::Many(hosts)) if hosts.len() > HOSTS_MAX => Err(Fault::new(format!("more than {HOSTS_MAX}"))),
            Some(Self::Many(hosts)) => {
                let mut patterns = Vec::with_capacity(hosts.len());
                for (n, host) in hosts.iter().enumerate() {
                    let pattern = HostPattern::parse(host).within(n)?;
                    if patterns.contains(&pattern) {
                        return Err(Fault::new("is listed twice")).within(n);
                    }
                    patterns.push(pattern);
                }
                Ok(patterns)
            }
        }
    }
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(below) => host_name(below).map(Self::Wildcard),
            None => host_name(text).map(Self::Exact),
        }
        .ok_or_else(|| Fault::new("must be a host name without a port, or `*.` and one"))
    }
}

/// A host name in lower case.
pub(super) fn host_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    ((1..=253).contains(&text.len()) && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_a_name_and_all_below_it_or_everything() {
        for (text, pattern) in [
            ("API.example.com", Some(HostPattern::Exact("api.example.com".into()))),
            ("*.Example.com", Some(HostPattern::Wildcard("example.com".into()))),
            ("*", Some(HostPattern::Any)),
            ("", None),
            ("*.", None),
            ("a.*.com", None),
            ("*a.com", None),
            ("a..b", None),
            ("a:80", None),
            ("a.com.", None),
        ] {
            assert_eq!(HostPattern::parse(text).ok(), pattern, "{text}");
        }
    }
}
