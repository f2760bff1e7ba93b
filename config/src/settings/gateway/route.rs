//! Routes: which requests there are, who may make them, and which upstream they lead to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::Method;
use serde::{Deserialize, Serialize};

use super::{
    auth::{AnonymousSpec, Auth, AuthSpec, Method as AuthMethod},
    check_name,
    conditions::Conditions,
    host::{HostPattern, HostsSpec},
    issuer::{OWN_ISSUER, OWN_ISSUER_INDEX},
    mirror::{Mirror, MirrorSpec},
    path::{PathMatch, PathPattern},
    policy::{Policies, Policy},
    redirect::{Redirect, RedirectSpec},
    rewrite::{Rewrite, RewriteSpec},
    split::{Split, SplitSpec},
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
    /// Host names without a port, `*.` and a name for all names below it; every host unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostsSpec>,
    /// Begins with `/`; a segment `{name}` is any one segment.
    pub path: String,
    /// `prefix`: the path and everything below it, by whole segments; `exact`: the path only. `prefix` unless said.
    #[serde(default, skip_serializing_if = "PathMatch::is_default")]
    pub path_match: PathMatch,
    /// In upper case; every method unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Headers that a request must carry, all of them, with these values; `"*"` is any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Parameters that a request's query must carry, all of them, with these values; `"*"` is any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// The name of an upstream; `control` is always there. Left out where the route is answered without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Parts of the requests that go to other upstreams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitSpec>,
    /// Forward without the route's own path.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strip_prefix: bool,
    /// Forward under another path or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<RewriteSpec>,
    /// Answer with another place instead of forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RedirectSpec>,
    /// `open`, or what callers identify themselves with.
    pub auth: AuthSpec,
    /// Besides one of the other methods, ask for a client certificate of the same account.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auth_all: bool,
    /// Names of the issuers whose tokens are taken; all of `[[issuers]]` unless said. `clearway` is Clearway's own authorization
    /// server, whose tokens are taken only where it is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// What each address may do without a credential; needed where `auth` names `anonymous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<AnonymousSpec>,
    /// What the caller's credential must carry, all of it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// What it must carry besides, for a method. GET's are HEAD's too, where HEAD is not named.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Vec<String>>))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes_by_method: BTreeMap<String, Vec<Scope>>,
    /// The upstream sees the caller's credentials.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_credentials: bool,
    /// Copies requests to another upstream, whose answers nobody sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
    /// Names of policies; of each section, the last that has it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// A route, checked.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    /// Never empty.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Empty is every method.
    pub methods: Vec<Method>,
    pub conditions: Conditions,
    /// Index into [`super::Gateway::upstreams`]; `None` where the gateway answers all of its requests itself.
    pub upstream: Option<usize>,
    pub split: Split,
    pub rewrite: Rewrite,
    pub redirect: Option<Redirect>,
    pub auth: Auth,
    /// Indices into [`super::Gateway::issuers`] whose tokens are taken, or [`OWN_ISSUER_INDEX`]; empty is all but that.
    pub issuers: Vec<usize>,
    /// What an address may do without a credential; there where `auth` takes anonymous requests.
    pub anonymous: Option<Limits>,
    pub scopes: Scopes,
    /// With [`Route::scopes`] in each.
    scopes_by_method: Vec<(Method, Scopes)>,
    pub keep_credentials: bool,
    pub mirror: Option<Mirror>,
    /// Shared by all routes of the same policies.
    pub policy: Arc<Policy>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Route {
    /// What a key must carry for a request by `method`.
    pub fn scopes_for(&self, method: &Method) -> &Scopes {
        let named = |method: &Method| self.scopes_by_method.iter().find(|(m, _)| m == method).map(|(_, scopes)| scopes);
        if self.scopes_by_method.is_empty() {
            return &self.scopes;
        }
        // A HEAD tells what a GET tells.
        let like = || (*method == Method::HEAD).then(|| named(&Method::GET)).flatten();
        named(method).or_else(like).unwrap_or(&self.scopes)
    }
}

impl RouteSpec {
    /// Checks the route; `upstreams` and `issuers` are the indices of those there are, by name.
    pub(super) fn resolve(
        &self,
        upstreams: &HashMap<String, usize>,
        issuers: &HashMap<String, usize>,
        policies: &mut Policies,
    ) -> Result<Route, Fault> {
        check_name(&self.name)?;
        let auth = self.auth.resolve(self.auth_all)?;
        if auth.takes(AuthMethod::Session) && !self.keep_credentials {
            return Err(Fault::at("keep_credentials", "must be true where sessions are taken: the upstream verifies them"));
        }
        let path = PathPattern::parse(&self.path, self.path_match).within("path")?;
        let redirect = self.redirect.as_ref().map(|spec| spec.resolve(&path)).transpose().within("redirect")?;
        let policy = policies.merged(&self.policies).within("policies")?;
        Ok(Route {
            name: self.name.clone(),
            hosts: HostsSpec::resolve(self.host.as_ref()).within("host")?,
            methods: self.resolve_methods()?,
            conditions: Conditions::resolve(&self.headers, &self.query)?,
            upstream: self.resolve_upstream(upstreams, redirect.is_some() || policy.is_closed())?,
            split: Split::resolve(&self.split, upstreams).within("split")?,
            rewrite: Rewrite::resolve(self.rewrite.as_ref(), self.strip_prefix, &path).within("rewrite")?,
            redirect,
            auth,
            issuers: self.resolve_issuers(auth, issuers)?,
            anonymous: self.resolve_anonymous(auth).within("anonymous")?,
            scopes: self.resolve_scopes(&self.scopes, auth).within("scopes")?,
            scopes_by_method: self.resolve_scopes_by_method(auth).within("scopes_by_method")?,
            keep_credentials: self.keep_credentials,
            mirror: self.mirror.as_ref().map(|mirror| mirror.resolve(upstreams)).transpose().within("mirror")?,
            policy,
            path,
        })
    }

    /// `answered`: without any upstream.
    fn resolve_upstream(&self, upstreams: &HashMap<String, usize>, answered: bool) -> Result<Option<usize>, Fault> {
        let forwards = self.upstream.is_some() || !self.split.is_empty() || self.rewrite.is_some() || self.mirror.is_some();
        if self.redirect.is_some() && forwards {
            return Err(Fault::at(
                "redirect",
                "nothing is forwarded, so that there can be no upstream, split, rewrite or mirror",
            ));
        }
        match &self.upstream {
            Some(name) => upstream(name, upstreams).map(Some),
            None if answered && self.split.is_empty() => Ok(None),
            None => Err(Fault::at("upstream", "is missing; only a redirect or a maintenance without `allow` does without")),
        }
    }

    fn resolve_issuers(&self, auth: Auth, issuers: &HashMap<String, usize>) -> Result<Vec<usize>, Fault> {
        if !self.issuers.is_empty() && !auth.takes(AuthMethod::Jwt) {
            return Err(Fault::at("issuers", "the route takes no tokens"));
        }
        if issuers.is_empty() && self.issuers.is_empty() && auth.takes(AuthMethod::Jwt) {
            return Err(Fault::at("auth", "`jwt` needs at least one of [[issuers]], or `issuers = [\"clearway\"]`"));
        }
        let index = |(n, name): (usize, &String)| {
            if name == OWN_ISSUER {
                return Ok(OWN_ISSUER_INDEX);
            }
            let found = issuers.get(name).copied();
            found.ok_or_else(|| Fault::new(format!("there is no issuer `{name}`"))).within(n).within("issuers")
        };
        self.issuers.iter().enumerate().map(index).collect()
    }

    fn resolve_anonymous(&self, auth: Auth) -> Result<Option<Limits>, Fault> {
        match (&self.anonymous, auth.takes_strangers()) {
            (Some(spec), true) => spec.resolve().map(Some),
            (None, false) => Ok(None),
            (Some(_), false) => Err(Fault::new("the route takes neither anonymous requests nor sessions")),
            (None, true) => Err(Fault::new("is needed: what an address may do without a credential")),
        }
    }

    fn resolve_methods(&self) -> Result<Vec<Method>, Fault> {
        self.methods.iter().enumerate().map(|(n, text)| method(text).within(n).within("methods")).collect()
    }

    fn resolve_scopes(&self, scopes: &[Scope], auth: Auth) -> Result<Scopes, Fault> {
        if scopes.len() > SCOPES_MAX {
            return Err(Fault::new(format!("more than {SCOPES_MAX}")));
        }
        if auth == Auth::Open && !scopes.is_empty() {
            return Err(Fault::new("a route with auth = \"open\" has nobody to ask for scopes"));
        }
        if auth.takes_strangers() && !scopes.is_empty() {
            return Err(Fault::new("an anonymous request has no scopes, nor has a session here"));
        }
        Ok(scopes.to_vec().into())
    }

    fn resolve_scopes_by_method(&self, auth: Auth) -> Result<Vec<(Method, Scopes)>, Fault> {
        let resolve = |(text, scopes): (&String, &Vec<Scope>)| {
            let all: Vec<Scope> = self.scopes.iter().chain(scopes).cloned().collect();
            let by_method = method(text).and_then(|method| Ok((method, self.resolve_scopes(&all, auth)?)));
            by_method.within(text.as_str())
        };
        self.scopes_by_method.iter().map(resolve).collect()
    }
}

pub(super) fn upstream(name: &str, upstreams: &HashMap<String, usize>) -> Result<usize, Fault> {
    let index = upstreams.get(name).copied();
    index.ok_or_else(|| Fault::at("upstream", format!("there is no upstream `{name}`")))
}

pub(super) fn method(text: &str) -> Result<Method, Fault> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let upper = method.filter(|method| method.as_str().bytes().all(|b| b.is_ascii_uppercase()));
    upper.ok_or_else(|| Fault::new(format!("`{text}` is not a method in upper case")))
}
