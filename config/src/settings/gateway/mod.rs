//! `gateway.toml`: the operator's routes, policies and upstreams.
//!
//! A [`Document`] is what is written: in a file, in the admin API's JSON, or synced from control. It is
//! resolved once, whole, into a [`Gateway`], which cannot be wrong. Each noun has its file: what is
//! written (`…Spec`), what it becomes, and the checks between.

pub mod auth;
pub mod claims;
pub mod client_certificate;
pub mod conditions;
pub mod host;
pub mod issuer;
pub mod mirror;
pub mod object;
pub mod path;
pub mod policy;
pub mod redirect;
#[cfg(test)]
mod reference;
pub mod rewrite;
pub mod route;
pub mod split;
pub mod upstream;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    SettingsError, Source,
    fault::{Fault, Within as _},
};
use claims::Claims;
use client_certificate::CLIENT_CERTIFICATES_MAX;
use issuer::ISSUERS_MAX;
use policy::Policies;

pub use auth::{Auth, AuthSpec, Method as AuthMethod, Methods as AuthMethods};
pub use claims::ARRANGEMENTS_MAX;
pub use client_certificate::{CertificateMark, ClientCertificate, ClientCertificateSpec, SubjectName};
pub use issuer::{Algorithm, Issuer, IssuerSpec};
pub use mirror::{Mirror, MirrorSpec};
pub use object::{Collection, Object, ObjectKind, arrangement};
pub use policy::{Policy, PolicySpec};
pub use route::{Route, RouteSpec};
pub use upstream::{Upstream, UpstreamAddress, UpstreamSpec};

/// Routes of all documents together at most.
pub const ROUTES_MAX: usize = 100_000;
/// Upstreams of all documents together at most, besides [`CONTROL_UPSTREAM`].
pub const UPSTREAMS_MAX: usize = 10_000;
/// The upstream that is always there: the control API.
pub const CONTROL_UPSTREAM: &str = "control";

/// Everything the request path needs to know about routes, checked.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    pub routes: Vec<Route>,
    pub upstreams: Vec<Upstream>,
    pub issuers: Vec<Issuer>,
    pub client_certificates: Vec<ClientCertificate>,
    /// By name; routes have theirs already.
    pub policies: Vec<(String, Arc<Policy>)>,
}

/// Routes, policies and upstreams as they are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_certificates: Vec<ClientCertificateSpec>,
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
        let documents = sources.iter().map(Source::parse::<Document>).collect::<Result<Vec<_>, SettingsError>>()?;
        Self::of(&documents, control).map_err(|(document, fault)| sources[document].located(&fault))
    }

    /// Checks `documents` together. A fault comes with the index of the document that it is in.
    pub fn of(documents: &[Document], control: &UpstreamAddress) -> Result<Self, (usize, Fault)> {
        let mut resolver = Resolver::new(control);
        for (number, document) in documents.iter().enumerate() {
            resolver.upstreams(document).within("upstreams").map_err(|fault| (number, fault))?;
            resolver.issuers(document).within("issuers").map_err(|fault| (number, fault))?;
            resolver.certificates(document).within("client_certificates").map_err(|fault| (number, fault))?;
            resolver.policies(document).within("policies").map_err(|fault| (number, fault))?;
        }
        for (number, document) in documents.iter().enumerate() {
            resolver.routes(document).within("routes").map_err(|fault| (number, fault))?;
        }
        Ok(resolver.done())
    }
}

/// A gateway being put together: what is there already, by name.
struct Resolver {
    gateway: Gateway,
    upstreams: HashMap<String, usize>,
    policies: Policies,
    routes: HashMap<String, usize>,
    issuers: HashMap<String, usize>,
    certificates: HashMap<String, usize>,
    marks: HashMap<CertificateMark, String>,
    claims: Claims,
}

impl Resolver {
    fn new(control: &UpstreamAddress) -> Self {
        Self {
            gateway: Gateway { upstreams: vec![Upstream::control(control)], ..Gateway::default() },
            upstreams: HashMap::from([(CONTROL_UPSTREAM.to_owned(), 0)]),
            policies: Policies::default(),
            routes: HashMap::new(),
            issuers: HashMap::new(),
            certificates: HashMap::new(),
            marks: HashMap::new(),
            claims: Claims::default(),
        }
    }

    fn upstreams(&mut self, document: &Document) -> Result<(), Fault> {
        for (n, spec) in document.upstreams.iter().enumerate() {
            if self.gateway.upstreams.len() > UPSTREAMS_MAX {
                return Err(Fault::new(format!("more than {UPSTREAMS_MAX} upstreams")).within(n));
            }
            take_name(&mut self.upstreams, &spec.name, self.gateway.upstreams.len()).within(n)?;
            self.gateway.upstreams.push(spec.resolve().within(n)?);
        }
        Ok(())
    }

    fn issuers(&mut self, document: &Document) -> Result<(), Fault> {
        for (n, spec) in document.issuers.iter().enumerate() {
            let index = self.gateway.issuers.len();
            if index == ISSUERS_MAX {
                return Err(Fault::new(format!("more than {ISSUERS_MAX} issuers")).within(n));
            }
            take_name(&mut self.issuers, &spec.name, index).within(n)?;
            let issuer = spec.resolve().within(n)?;
            if let Some(other) = self.gateway.issuers.iter().find(|other| other.issuer == issuer.issuer) {
                return Err(Fault::at("issuer", format!("is that of `{}`", other.name)).within(n));
            }
            self.gateway.issuers.push(issuer);
        }
        Ok(())
    }

    fn certificates(&mut self, document: &Document) -> Result<(), Fault> {
        for (n, spec) in document.client_certificates.iter().enumerate() {
            let index = self.gateway.client_certificates.len();
            if index == CLIENT_CERTIFICATES_MAX {
                return Err(Fault::new(format!("more than {CLIENT_CERTIFICATES_MAX} client certificates")).within(n));
            }
            take_name(&mut self.certificates, &spec.name, index).within(n)?;
            let certificate = spec.resolve().within(n)?;
            if let Some(other) = self.marks.insert(certificate.by.clone(), certificate.name.clone()) {
                let key = if spec.san.is_some() { "san" } else { "fingerprint" };
                return Err(Fault::at(key, format!("is that of `{other}`")).within(n));
            }
            self.gateway.client_certificates.push(certificate);
        }
        Ok(())
    }

    fn policies(&mut self, document: &Document) -> Result<(), Fault> {
        document.policies.iter().enumerate().try_for_each(|(n, spec)| self.policies.add(spec).within(n))
    }

    fn routes(&mut self, document: &Document) -> Result<(), Fault> {
        for (n, spec) in document.routes.iter().enumerate() {
            self.route(spec).within(n)?;
        }
        Ok(())
    }

    fn route(&mut self, spec: &RouteSpec) -> Result<(), Fault> {
        let index = self.gateway.routes.len();
        if index == ROUTES_MAX {
            return Err(Fault::new(format!("more than {ROUTES_MAX} routes")));
        }
        let route = spec.resolve(&self.upstreams, &self.issuers, &mut self.policies)?;
        take_name(&mut self.routes, &route.name, index)?;
        self.claims.take(&route, &self.gateway.routes)?;
        self.gateway.routes.push(route);
        Ok(())
    }

    fn done(self) -> Gateway {
        Gateway { policies: self.policies.into_named(), ..self.gateway }
    }
}

fn take_name(taken: &mut HashMap<String, usize>, name: &str, index: usize) -> Result<(), Fault> {
    match taken.insert(name.to_owned(), index) {
        None => Ok(()),
        Some(_) => Err(Fault::at("name", format!("`{name}` is taken"))),
    }
}

/// Names become metric labels and log fields.
fn check_name(name: &str) -> Result<(), Fault> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || b == b'.');
    if fits { Ok(()) } else { Err(Fault::at("name", "must be 1 to 64 of a-z, 0-9, `-`, `_` and `.`")) }
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
        assert_eq!(gateway.routes[0].hosts, [host::HostPattern::Exact("api.example.com".into())]);
        assert_eq!(gateway.routes[0].path.as_str(), "/orders");
        let upstream = |route: usize| &gateway.upstreams[gateway.routes[route].upstream.unwrap()];
        assert_eq!((upstream(0).targets[1].address.port, upstream(1).name.as_str()), (443, "control"));
    }

    #[test]
    fn every_mistake_is_named_by_line_and_key() {
        for (from, to, wanted) in [
            ("path = \"/orders/\"", "path = \"orders\"", "gateway.toml:9: routes.path: must start with /"),
            (
                "path = \"/orders/\"",
                "path = \"/a/../b\"",
                "gateway.toml:9: routes.path: must be whole segments of letters, digits and -._~!$&'()*+,=:@, without an empty one, `.` or `..`; or `{name}`",
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
            (
                "keep_credentials = true",
                "mirror = { upstream = \"shadow\" }",
                "gateway.toml:21: routes.mirror.upstream: there is no upstream `shadow`",
            ),
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
    fn sessions_are_taken_where_the_upstream_sees_them_and_addresses_are_limited() {
        let with = |lines: &str| resolve(&GOOD.replace("auth = \"key\"\nkeep_credentials = true", lines));
        let whole = "auth = [\"key\", \"session\"]\nanonymous = { per_second = 5 }\nkeep_credentials = true";
        assert!(with(whole).is_ok());
        let hidden = with(&whole.replace("keep_credentials = true", "keep_credentials = false")).unwrap_err();
        assert!(hidden.contains("routes.keep_credentials: must be true where sessions are taken"), "{hidden}");
        let unlimited = with(&whole.replace("anonymous = { per_second = 5 }\n", "")).unwrap_err();
        assert!(unlimited.contains("routes.anonymous: is needed"), "{unlimited}");
    }

    #[test]
    fn two_routes_for_the_same_requests_are_refused() {
        let twice = format!("{GOOD}\n[[routes]]\nname = \"api2\"\npath = \"/api/\"\nupstream = \"orders\"\nauth = \"open\"\n");
        assert_eq!(
            resolve(&twice).unwrap_err(),
            "gateway.toml:25: routes.path: takes requests that route `api` takes too, and neither is more specific"
        );
    }
}
