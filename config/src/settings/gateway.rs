//! `gateway.toml`: the operator's routes and upstreams.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use http::Method;
use serde::Deserialize;
use toml::Spanned;

use super::{SettingsError, Source, duration};
use crate::scope::{SCOPES_MAX, Scope, Scopes};

/// Routes of all files together at most.
pub const ROUTES_MAX: usize = 100_000;
/// The upstream that is always there: the control API.
pub const CONTROL_UPSTREAM: &str = "control";

/// Everything the request path needs to know about routes, checked.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    pub routes: Vec<Route>,
    pub upstreams: Vec<Upstream>,
}

#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    /// In lower case, without a port; `None` matches every host.
    pub host: Option<String>,
    /// Begins with `/`; matches itself and everything below it, by whole segments. No `/` at its end, except as the root.
    pub path: String,
    /// Empty is every method.
    pub methods: Vec<Method>,
    /// Index into [`Gateway::upstreams`].
    pub upstream: usize,
    pub strip_prefix: bool,
    pub auth: Auth,
    pub scopes: Scopes,
    pub keep_credentials: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// An API key is needed, and the request is counted.
    Key,
    /// Anyone may; nothing is counted.
    Open,
}

#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: String,
    /// Used in turn; never empty.
    pub addresses: Vec<UpstreamAddress>,
    pub connect_timeout: Duration,
    /// Between two reads of the answer, and to its first byte.
    pub read_timeout: Duration,
    pub write_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    pub tls: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    upstreams: Vec<RawUpstream>,
    #[serde(default)]
    routes: Vec<RawRoute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpstream {
    name: Spanned<String>,
    addresses: Spanned<Vec<Spanned<String>>>,
    #[serde(default = "five_seconds", deserialize_with = "duration::deserialize")]
    connect_timeout: Duration,
    #[serde(default = "one_minute", deserialize_with = "duration::deserialize")]
    read_timeout: Duration,
    #[serde(default = "one_minute", deserialize_with = "duration::deserialize")]
    write_timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    name: Spanned<String>,
    host: Option<Spanned<String>>,
    path: Spanned<String>,
    #[serde(default)]
    methods: Vec<Spanned<String>>,
    upstream: Spanned<String>,
    #[serde(default)]
    strip_prefix: bool,
    auth: Auth,
    scopes: Option<Spanned<Vec<Scope>>>,
    #[serde(default)]
    keep_credentials: bool,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

impl Gateway {
    /// Reads and checks `files` together: a route may name an upstream of another file, names are unique over all.
    /// `control` is where the upstream [`CONTROL_UPSTREAM`] is.
    pub fn load(files: &[PathBuf], control: &UpstreamAddress) -> Result<Self, SettingsError> {
        let sources = files.iter().map(|file| Source::read(file)).collect::<Result<Vec<_>, _>>()?;
        Self::resolve(&sources, control)
    }

    /// [`Gateway::load`] over texts that have been read already.
    pub fn resolve(sources: &[Source], control: &UpstreamAddress) -> Result<Self, SettingsError> {
        let files = sources.iter().map(|s| Ok((s, s.parse::<RawFile>()?))).collect::<Result<Vec<_>, SettingsError>>()?;
        let mut gateway = Gateway { routes: Vec::new(), upstreams: vec![control_upstream(control)] };
        let mut upstreams = HashMap::from([(CONTROL_UPSTREAM.to_owned(), 0)]);
        for (source, file) in &files {
            for raw in &file.upstreams {
                let name = raw.name.get_ref();
                if upstreams.insert(name.clone(), gateway.upstreams.len()).is_some() {
                    return Err(source.fault(&raw.name.span(), "upstreams.name", format!("`{name}` is taken")));
                }
                gateway.upstreams.push(resolve_upstream(source, raw)?);
            }
        }
        let mut names = HashMap::new();
        let mut matches = HashMap::new();
        for (source, file) in &files {
            for raw in &file.routes {
                let route = resolve_route(source, raw, &upstreams)?;
                if names.insert(route.name.clone(), ()).is_some() {
                    return Err(source.fault(&raw.name.span(), "routes.name", format!("`{}` is taken", route.name)));
                }
                for method in methods_or_any(&route) {
                    if let Some(other) = matches.insert((route.host.clone(), route.path.clone(), method), route.name.clone()) {
                        let message = format!("host, path and method are those of route `{other}`");
                        return Err(source.fault(&raw.path.span(), "routes.path", message));
                    }
                }
                gateway.routes.push(route);
                if gateway.routes.len() > ROUTES_MAX {
                    return Err(source.fault(&raw.name.span(), "routes", format!("more than {ROUTES_MAX} routes")));
                }
            }
        }
        Ok(gateway)
    }
}

impl UpstreamAddress {
    /// `http://host:port` or `https://host:port`; the port may be left out, a path may not be there.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("must begin with http:// or https://"),
        };
        let authority: http::uri::Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| "must be a host and a port, without a path")?;
        if authority.as_str().contains('@') {
            return Err("must not carry a user name");
        }
        let port = match authority.port() {
            Some(_) => authority.port_u16().filter(|&p| p != 0).ok_or("the port must be from 1 to 65535")?,
            None if authority.as_str().ends_with(':') => return Err("the port is missing after the colon"),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the host is missing");
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port })
    }
}

fn control_upstream(address: &UpstreamAddress) -> Upstream {
    Upstream {
        name: CONTROL_UPSTREAM.to_owned(),
        addresses: vec![address.clone()],
        connect_timeout: five_seconds(),
        read_timeout: one_minute(),
        write_timeout: one_minute(),
    }
}

fn resolve_upstream(source: &Source, raw: &RawUpstream) -> Result<Upstream, SettingsError> {
    check_name(source, &raw.name, "upstreams.name")?;
    if raw.addresses.get_ref().is_empty() {
        return Err(source.fault(&raw.addresses.span(), "upstreams.addresses", "at least one is needed"));
    }
    let addresses = raw
        .addresses
        .get_ref()
        .iter()
        .map(|a| UpstreamAddress::parse(a.get_ref()).map_err(|why| source.fault(&a.span(), "upstreams.addresses", why)))
        .collect::<Result<_, _>>()?;
    Ok(Upstream {
        name: raw.name.get_ref().clone(),
        addresses,
        connect_timeout: raw.connect_timeout,
        read_timeout: raw.read_timeout,
        write_timeout: raw.write_timeout,
    })
}

fn resolve_route(source: &Source, raw: &RawRoute, upstreams: &HashMap<String, usize>) -> Result<Route, SettingsError> {
    check_name(source, &raw.name, "routes.name")?;
    let host = raw.host.as_ref().map(|h| resolve_host(source, h)).transpose()?;
    let path = resolve_path(raw.path.get_ref()).map_err(|why| source.fault(&raw.path.span(), "routes.path", why))?;
    let methods = raw
        .methods
        .iter()
        .map(|m| {
            Method::from_bytes(m.get_ref().as_bytes())
                .ok()
                .filter(|method| method.as_str().bytes().all(|b| b.is_ascii_uppercase()))
                .ok_or_else(|| {
                    source.fault(&m.span(), "routes.methods", format!("`{}` is not a method in upper case", m.get_ref()))
                })
        })
        .collect::<Result<_, _>>()?;
    let upstream = *upstreams.get(raw.upstream.get_ref()).ok_or_else(|| {
        source.fault(&raw.upstream.span(), "routes.upstream", format!("there is no upstream `{}`", raw.upstream.get_ref()))
    })?;
    let scopes = raw.scopes.as_ref().map(|scopes| resolve_scopes(source, scopes, raw.auth)).transpose()?;
    Ok(Route {
        name: raw.name.get_ref().clone(),
        host,
        path,
        methods,
        upstream,
        strip_prefix: raw.strip_prefix,
        auth: raw.auth,
        scopes: scopes.unwrap_or_default(),
        keep_credentials: raw.keep_credentials,
    })
}

fn resolve_scopes(source: &Source, scopes: &Spanned<Vec<Scope>>, auth: Auth) -> Result<Scopes, SettingsError> {
    let wanted = scopes.get_ref();
    if wanted.len() > SCOPES_MAX {
        return Err(source.fault(&scopes.span(), "routes.scopes", format!("more than {SCOPES_MAX}")));
    }
    if auth == Auth::Open && !wanted.is_empty() {
        return Err(source.fault(&scopes.span(), "routes.scopes", "a route with auth = \"open\" has nobody to ask for scopes"));
    }
    Ok(wanted.clone().into())
}

fn methods_or_any(route: &Route) -> Vec<Option<Method>> {
    if route.methods.is_empty() { vec![None] } else { route.methods.iter().cloned().map(Some).collect() }
}

/// Names become metric labels and log fields.
fn check_name(source: &Source, name: &Spanned<String>, key: &str) -> Result<(), SettingsError> {
    let text = name.get_ref();
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || b == b'.');
    if fits { Ok(()) } else { Err(source.fault(&name.span(), key, "must be 1 to 64 of a-z, 0-9, `-`, `_` and `.`")) }
}

fn resolve_host(source: &Source, host: &Spanned<String>) -> Result<String, SettingsError> {
    let text = host.get_ref().to_ascii_lowercase();
    let fits = (1..=253).contains(&text.len())
        && text.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    if fits { Ok(text) } else { Err(source.fault(&host.span(), "routes.host", "must be a host name without a port")) }
}

/// A route's path is written the way requests are matched: normalised, so that no request can spell it differently;
/// and without parameters (`;v=1`), which matching ignores.
fn resolve_path(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("must start with /");
    }
    if path == "/" {
        return Ok(path.to_owned());
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let fits = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&b))
    };
    if trimmed.len() > 1024 || !trimmed[1..].split('/').all(fits) {
        return Err("must be whole segments of letters, digits and -._~!$&'()*+,=:@, without an empty one, `.` or `..`");
    }
    Ok(trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[upstreams]]
name = "orders"
addresses = ["http://127.0.0.1:7000", "https://orders.internal"]

[[routes]]
name = "orders"
host = "API.example.com"
path = "/orders/"
methods = ["GET", "POST"]
upstream = "orders"
strip_prefix = true
auth = "key"
scopes = ["read:orders"]

[[routes]]
name = "api"
path = "/api"
upstream = "control"
auth = "key"
keep_credentials = true
"#;

    fn resolve(text: &str) -> Result<Gateway, String> {
        let control = UpstreamAddress::parse("http://127.0.0.1:9000").unwrap();
        Gateway::resolve(&[Source::new("gateway.toml", text)], &control).map_err(|e| e.to_string())
    }

    #[test]
    fn a_good_file_resolves_to_normalised_routes() {
        let gateway = resolve(GOOD).unwrap();
        assert_eq!(gateway.routes[0].host.as_deref(), Some("api.example.com"));
        assert_eq!(gateway.routes[0].path, "/orders");
        assert_eq!(gateway.upstreams[gateway.routes[0].upstream].addresses[1].port, 443);
        assert_eq!(gateway.upstreams[gateway.routes[1].upstream].name, "control");
    }

    #[test]
    fn every_mistake_is_named_by_line_and_key() {
        for (from, to, wanted) in [
            ("path = \"/orders/\"", "path = \"orders\"", "gateway.toml:9: routes.path: must start with /"),
            (
                "path = \"/orders/\"",
                "path = \"/a/../b\"",
                "gateway.toml:9: routes.path: must be whole segments of letters, digits and -._~!$&'()*+,=:@, without an empty one, `.` or `..`",
            ),
            ("upstream = \"orders\"", "upstream = \"order\"", "gateway.toml:11: routes.upstream: there is no upstream `order`"),
            (
                "\"http://127.0.0.1:7000\"",
                "\"127.0.0.1:7000\"",
                "gateway.toml:4: upstreams.addresses: must begin with http:// or https://",
            ),
            (
                "\"http://127.0.0.1:7000\"",
                "\"http://127.0.0.1:7000/v1\"",
                "gateway.toml:4: upstreams.addresses: must be a host and a port, without a path",
            ),
            ("\"GET\"", "\"get\"", "gateway.toml:10: routes.methods: `get` is not a method in upper case"),
            ("name = \"api\"", "name = \"orders\"", "gateway.toml:17: routes.name: `orders` is taken"),
            (
                "auth = \"key\"\nscopes",
                "auth = \"open\"\nscopes",
                "gateway.toml:14: routes.scopes: a route with auth = \"open\" has nobody to ask for scopes",
            ),
        ] {
            assert_eq!(resolve(&GOOD.replace(from, to)).unwrap_err(), wanted);
        }
        let wrong = resolve(&GOOD.replace("strip_prefix", "strip-prefix")).unwrap_err();
        assert!(wrong.starts_with("gateway.toml:12: strip-prefix: unknown field `strip-prefix`"), "{wrong}");
    }

    #[test]
    fn two_routes_for_the_same_requests_are_refused() {
        let twice = format!("{GOOD}\n[[routes]]\nname = \"api2\"\npath = \"/api/\"\nupstream = \"orders\"\nauth = \"open\"\n");
        assert_eq!(resolve(&twice).unwrap_err(), "gateway.toml:25: routes.path: host, path and method are those of route `api`");
    }
}
