//! What of a request is spelled differently for the upstream: its path and its host.

use serde::{Deserialize, Serialize};

use super::{
    host::host_name,
    path::{PathPattern, PathTemplate},
};
use crate::settings::fault::{Fault, Within as _};

/// A rewriting as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RewriteSpec {
    /// Takes the place of the route's own path; what a request says below that stays behind it. `{name}` is a parameter of
    /// the route's path, as a whole segment.
    #[cfg_attr(feature = "openapi", schema(example = "/v2/items/{id}"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The Host to send: a name, with a port or without; or `upstream` for that of the upstream's address. The client's
    /// own unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A rewriting, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Takes the place of the route's own path.
    pub path: Option<PathTemplate>,
    pub host: HostRewrite,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostRewrite {
    /// As the client said.
    #[default]
    Kept,
    /// As the upstream's address is written.
    Upstream,
    Named(http::HeaderValue),
}

impl Rewrite {
    pub(super) fn resolve(spec: Option<&RewriteSpec>, strip_prefix: bool, pattern: &PathPattern) -> Result<Self, Fault> {
        let mut rewrite = Self::default();
        if strip_prefix {
            rewrite.path = Some(PathTemplate::root());
        }
        let Some(spec) = spec else { return Ok(rewrite) };
        if let Some(path) = &spec.path {
            if strip_prefix {
                return Err(Fault::at("path", "`strip_prefix` says already what becomes of the path"));
            }
            rewrite.path = Some(PathTemplate::parse(path, pattern).within("path")?);
        }
        if let Some(host) = &spec.host {
            rewrite.host = HostRewrite::parse(host).within("host")?;
        }
        Ok(rewrite)
    }
}

impl HostRewrite {
    fn parse(text: &str) -> Result<Self, Fault> {
        if text == "upstream" {
            return Ok(Self::Upstream);
        }
        let wrong = || Fault::new("must be a host name, with a port or without, or `upstream`");
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let name = host_name(name).ok_or_else(wrong)?;
        let named = match port {
            None => name,
            Some(port) => {
                let port = port.parse::<u16>().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
                format!("{name}:{port}")
            }
        };
        http::HeaderValue::try_from(named).map(Self::Named).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::gateway::path::PathMatch;

    #[test]
    fn a_rewriting_is_a_path_and_a_host() {
        let pattern = PathPattern::parse("/a/{id}", PathMatch::Prefix).unwrap();
        let resolve = |path: Option<&str>, host: Option<&str>, strip| {
            let spec = RewriteSpec { path: path.map(str::to_owned), host: host.map(str::to_owned) };
            Rewrite::resolve(Some(&spec), strip, &pattern).map_err(|fault| fault.to_string())
        };
        assert_eq!(resolve(None, None, true).unwrap().path, Some(PathTemplate::root()));
        assert_eq!(
            resolve(None, Some("Internal.example:81"), false).unwrap().host,
            HostRewrite::Named("internal.example:81".parse().unwrap())
        );
        assert_eq!(resolve(None, Some("upstream"), false).unwrap().host, HostRewrite::Upstream);
        assert_eq!(resolve(Some("/x"), None, true).unwrap_err(), "path: `strip_prefix` says already what becomes of the path");
        for host in ["a b", "a:0", "a:", ":80", "a\r\nb", "http://a"] {
            assert!(resolve(None, Some(host), false).is_err(), "{host}");
        }
    }
}
