//! A document taken apart into its objects, and put together again: what the admin API, sync and
//! `clearway apply` handle one by one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CONTROL_UPSTREAM, Document, host::HostsSpec, route::RouteSpec};

/// What kinds of objects a document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Upstream,
    Issuer,
    ClientCertificate,
    Policy,
    Route,
}

/// One object as it is written, its name apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub kind: ObjectKind,
    pub name: String,
    pub spec: Map<String, Value>,
}

impl ObjectKind {
    /// Those that others name come first.
    pub const ALL: [ObjectKind; 5] = [Self::Upstream, Self::Issuer, Self::ClientCertificate, Self::Policy, Self::Route];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Issuer => "issuer",
            Self::ClientCertificate => "client_certificate",
            Self::Policy => "policy",
            Self::Route => "route",
        }
    }

    /// The document's member, and the collection's name in the admin API but for `_`.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Upstream => "upstreams",
            Self::Issuer => "issuers",
            Self::ClientCertificate => "client_certificates",
            Self::Policy => "policies",
            Self::Route => "routes",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Document {
    /// Its objects, those that others name first, otherwise in the document's order.
    pub fn into_objects(self) -> Vec<Object> {
        let Ok(Value::Object(mut members)) = serde_json::to_value(self) else { return Vec::new() };
        let mut objects = Vec::new();
        for kind in ObjectKind::ALL {
            let Some(Value::Array(list)) = members.remove(kind.plural()) else { continue };
            objects.extend(list.into_iter().filter_map(|value| Object::of(kind, value)));
        }
        objects
    }

    /// The document that holds these. An error says in whose words it is wrong.
    pub fn of_objects(objects: impl IntoIterator<Item = Object>) -> Result<Self, (ObjectKind, String, serde_json::Error)> {
        let mut document = Self::default();
        for object in objects {
            let Object { kind, name, spec } = object;
            let spec = Object { kind, name: name.clone(), spec }.into_value();
            let pushed = match kind {
                ObjectKind::Upstream => serde_json::from_value(spec).map(|spec| document.upstreams.push(spec)),
                ObjectKind::Issuer => serde_json::from_value(spec).map(|spec| document.issuers.push(spec)),
                ObjectKind::ClientCertificate => serde_json::from_value(spec).map(|spec| document.client_certificates.push(spec)),
                ObjectKind::Policy => serde_json::from_value(spec).map(|spec| document.policies.push(spec)),
                ObjectKind::Route => serde_json::from_value(spec).map(|spec| document.routes.push(spec)),
            };
            pushed.map_err(|error| (kind, name, error))?;
        }
        Ok(document)
    }
}

impl Object {
    fn of(kind: ObjectKind, value: Value) -> Option<Self> {
        let Value::Object(mut spec) = value else { return None };
        let Some(Value::String(name)) = spec.remove("name") else { return None };
        Some(Self { kind, name, spec })
    }

    /// With its name inside again, as a document holds it.
    pub fn into_value(self) -> Value {
        let mut spec = self.spec;
        spec.insert("name".into(), Value::String(self.name));
        Value::Object(spec)
    }
}

impl RouteSpec {
    /// The objects that it names. The upstream that is always there is none.
    pub fn references(&self) -> Vec<(ObjectKind, &str)> {
        let mirror = self.mirror.as_ref().map(|mirror| mirror.upstream.as_str());
        let split = self.split.iter().map(|split| split.upstream.as_str());
        let upstreams = self.upstream.as_deref().into_iter().chain(mirror).chain(split);
        let upstreams = upstreams.filter(|name| *name != CONTROL_UPSTREAM).map(|name| (ObjectKind::Upstream, name));
        let issuers = self.issuers.iter().map(|name| (ObjectKind::Issuer, name.as_str()));
        let policies = self.policies.iter().map(|name| (ObjectKind::Policy, name.as_str()));
        upstreams.chain(issuers).chain(policies).collect()
    }

    /// Hosts and path in one spelling. Routes that could take the same requests have one in common.
    pub fn places(&self) -> Vec<String> {
        let path: Vec<_> =
            self.path.trim_end_matches('/').split('/').map(|s| if s.starts_with('{') { "{}" } else { s }).collect();
        let path = path.join("/");
        let hosts = match &self.host {
            None => &["*".to_owned()][..],
            Some(HostsSpec::One(host)) => std::slice::from_ref(host),
            Some(HostsSpec::Many(hosts)) => hosts,
        };
        hosts.iter().map(|host| format!("{}{path}", host.to_ascii_lowercase())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_taken_apart_and_put_together_is_the_same() {
        let text = "[[upstreams]]\nname = \"orders\"\naddresses = [\"http://127.0.0.1:7000\"]\nread_timeout = \"10s\"\n\
                    [[routes]]\nname = \"orders\"\npath = \"/orders\"\nupstream = \"orders\"\nauth = \"key\"\nscopes = [\"read:orders\"]\n";
        let document: Document = toml::from_str(text).unwrap();
        let objects = document.clone().into_objects();
        assert_eq!(
            objects.iter().map(|o| (o.kind.plural(), &*o.name)).collect::<Vec<_>>(),
            [("upstreams", "orders"), ("routes", "orders")]
        );
        assert!(!objects[0].spec.contains_key("name"));
        assert_eq!(Document::of_objects(objects).unwrap(), document);
    }

    #[test]
    fn a_route_names_every_upstream_and_policy_and_stands_at_each_of_its_hosts() {
        let text = "name = \"a\"\npath = \"/o/{id}/\"\nauth = \"open\"\nupstream = \"u\"\nhost = [\"A.example\", \"*.b\"]\n\
                    policies = [\"p\"]\nsplit = [{ upstream = \"v\", percent = 1 }]\nmirror = { upstream = \"control\" }\n";
        let route: RouteSpec = toml::from_str(text).unwrap();
        let upstream = |name| (ObjectKind::Upstream, name);
        assert_eq!(route.references(), [upstream("u"), upstream("v"), (ObjectKind::Policy, "p")]);
        assert_eq!(route.places(), ["a.example/o/{}", "*.b/o/{}"]);
    }

    #[test]
    fn an_unknown_word_is_an_error_of_its_object() {
        let spec = serde_json::json!({ "path": "/", "upstream": "control", "auth": "open", "pathh": 1 });
        let Value::Object(spec) = spec else { unreachable!() };
        let (kind, name, error) = Document::of_objects([Object { kind: ObjectKind::Route, name: "a".into(), spec }]).unwrap_err();
        assert_eq!((kind, &*name), (ObjectKind::Route, "a"));
        assert!(error.to_string().contains("unknown field `pathh`"), "{error}");
    }
}
