//! Routes: which requests there are, who may make them, and which upstream they lead to.

use std::collections::HashMap;

use http::Method;
use serde::{Deserialize, Serialize};

use super::{
    auth::{AnonymousSpec, Auth, AuthSpec, Method as AuthMethod},
    check_name,
    mirror::{Mirror, MirrorSpec},
};
use crate::{
    limits::Limits,
    scope::{SCOPES_MAX, Scope, Scopes},
    settings::fault::{Fault, Within as _},
};

/// A route as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// A host name without a port; every host unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Begins with `/`; matches itself and everything below it, by whole segments.
    pub path: String,
    /// In upper case; every method unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// The name of an upstream; `control` is always there.
    pub upstream: String,
    /// Forward without the route's own path.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strip_prefix: bool,
    /// `open`, or what callers identify themselves with.
    pub auth: AuthSpec,
    /// Besides one of the other methods, ask for a client certificate of the same account.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auth_all: bool,
    /// Names of the issuers whose tokens are taken; all of them unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// What each address may do without a credential; needed where `auth` names `anonymous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<AnonymousSpec>,
    /// What the caller's credential must carry, all of it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// The upstream sees the caller's credentials.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_credentials: bool,
    /// Copies requests to another upstream, whose answers nobody sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
}

/// A route, checked.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    /// In lower case, without a port; `None` matches every host.
    pub host: Option<String>,
    /// Begins with `/`; matches itself and everything below it, by whole segments. No `/` at its end, except as the root.
    pub path: String,
    /// Empty is every method.
    pub methods: Vec<Method>,
    /// Index into [`super::Gateway::upstreams`].
    pub upstream: usize,
    pub strip_prefix: bool,
    pub auth: Auth,
    /// Indices into [`super::Gateway::issuers`] whose tokens are taken; empty is all.
    pub issuers: Vec<usize>,
    /// What an address may do without a credential; there where `auth` takes anonymous requests.
    pub anonymous: Option<Limits>,
    pub scopes: Scopes,
    pub keep_credentials: bool,
    pub mirror: Option<Mirror>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl RouteSpec {
    /// Checks the route; `upstreams` and `issuers` are the indices of those there are, by name.
    pub fn resolve(&self, upstreams: &HashMap<String, usize>, issuers: &HashMap<String, usize>) -> Result<Route, Fault> {
        check_name(&self.name)?;
        let upstream = *upstreams
            .get(&self.upstream)
            .ok_or_else(|| Fault::at("upstream", format!("there is no upstream `{}`", self.upstream)))?;
        let auth = self.auth.resolve(self.auth_all)?;
        Ok(Route {
            name: self.name.clone(),
            host: self.host.as_deref().map(resolve_host).transpose().within("host")?,
            path: resolve_path(&self.path).map_err(Fault::new).within("path")?,
            methods: self.resolve_methods()?,
            upstream,
            strip_prefix: self.strip_prefix,
            auth,
            issuers: self.resolve_issuers(auth, issuers)?,
            anonymous: self.resolve_anonymous(auth).within("anonymous")?,
            scopes: self.resolve_scopes(auth).within("scopes")?,
            keep_credentials: self.keep_credentials,
            mirror: self.mirror.as_ref().map(|mirror| mirror.resolve(upstreams)).transpose().within("mirror")?,
        })
    }

    fn resolve_methods(&self) -> Result<Vec<Method>, Fault> {
        let method = |(n, text): (usize, &String)| {
            let method = Method::from_bytes(text.as_bytes()).ok();
            let upper = method.filter(|method| method.as_str().bytes().all(|b| b.is_ascii_uppercase()));
            let wrong = || Fault::new(format!("`{text}` is not a method in upper case"));
            upper.ok_or_else(wrong).within(n).within("methods")
        };
        self.methods.iter().enumerate().map(method).collect()
    }

    fn resolve_issuers(&self, auth: Auth, issuers: &HashMap<String, usize>) -> Result<Vec<usize>, Fault> {
        if !self.issuers.is_empty() && !auth.takes(AuthMethod::Jwt) {
            return Err(Fault::at("issuers", "the route takes no tokens"));
        }
        if issuers.is_empty() && auth.takes(AuthMethod::Jwt) {
            return Err(Fault::at("auth", "`jwt` needs at least one of [[issuers]]"));
        }
        let index = |(n, name): (usize, &String)| {
            let found = issuers.get(name).copied();
            found.ok_or_else(|| Fault::new(format!("there is no issuer `{name}`"))).within(n).within("issuers")
        };
        self.issuers.iter().enumerate().map(index).collect()
    }

    fn resolve_anonymous(&self, auth: Auth) -> Result<Option<Limits>, Fault> {
        match (&self.anonymous, auth.takes(AuthMethod::Anonymous)) {
            (Some(spec), true) => spec.resolve().map(Some),
            (None, false) => Ok(None),
            (Some(_), false) => Err(Fault::new("the route takes no anonymous requests")),
            (None, true) => Err(Fault::new("is needed: what an address may do without a credential")),
        }
    }

    fn resolve_scopes(&self, auth: Auth) -> Result<Scopes, Fault> {
        if self.scopes.len() > SCOPES_MAX {
            return Err(Fault::new(format!("more than {SCOPES_MAX}")));
        }
        if auth == Auth::Open && !self.scopes.is_empty() {
            return Err(Fault::new("a route with auth = \"open\" has nobody to ask for scopes"));
        }
        if auth.takes(AuthMethod::Anonymous) && !self.scopes.is_empty() {
            return Err(Fault::new("an anonymous request has no scopes"));
        }
        Ok(self.scopes.clone().into())
    }
}

fn resolve_host(text: &str) -> Result<String, Fault> {
    let text = text.to_ascii_lowercase();
    let fits = (1..=253).contains(&text.len())
        && text.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    if fits { Ok(text) } else { Err(Fault::new("must be a host name without a port")) }
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
