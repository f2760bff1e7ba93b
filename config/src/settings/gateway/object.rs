//! A document taken apart into its objects, and put together again: what the admin API, sync and
//! `clearway apply` handle one by one.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CONTROL_UPSTREAM, Document, ROUTES_MAX, UPSTREAMS_MAX,
    client_certificate::CLIENT_CERTIFICATES_MAX,
    host::HostsSpec,
    issuer::{ISSUERS_MAX, OWN_ISSUER},
    policy::POLICIES_MAX,
    route::RouteSpec,
};

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

    /// How many of them a gateway takes.
    pub const fn max(self) -> usize {
        match self {
            Self::Upstream => UPSTREAMS_MAX,
            Self::Issuer => ISSUERS_MAX,
            Self::ClientCertificate => CLIENT_CERTIFICATES_MAX,
            Self::Policy => POLICIES_MAX,
            Self::Route => ROUTES_MAX,
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

/// A document that is changed object by object, in a time that does not grow with it.
#[derive(Debug, Default)]
pub struct Collection {
    document: Arc<Document>,
    /// Where each object stands in its list.
    places: HashMap<(ObjectKind, String), usize>,
}

impl Collection {
    /// As it is now. Holding on to it makes the next change copy it.
    pub fn document(&self) -> Arc<Document> {
        self.document.clone()
    }

    /// Puts an object in the place of the one of its name. One in words that are not understood changes nothing.
    pub fn put(&mut self, object: Object) -> Result<(), serde_json::Error> {
        let (kind, name) = (object.kind, object.name.clone());
        let at = self.places.get(&(kind, name.clone())).copied();
        let spec = object.into_value();
        let document = Arc::make_mut(&mut self.document);
        let at = match kind {
            ObjectKind::Upstream => set(&mut document.upstreams, at, serde_json::from_value(spec)?),
            ObjectKind::Issuer => set(&mut document.issuers, at, serde_json::from_value(spec)?),
            ObjectKind::ClientCertificate => set(&mut document.client_certificates, at, serde_json::from_value(spec)?),
            ObjectKind::Policy => set(&mut document.policies, at, serde_json::from_value(spec)?),
            ObjectKind::Route => set(&mut document.routes, at, serde_json::from_value(spec)?),
        };
        self.places.insert((kind, name), at);
        Ok(())
    }

    /// Whether it was there.
    pub fn remove(&mut self, kind: ObjectKind, name: &str) -> bool {
        let Some(at) = self.places.remove(&(kind, name.to_owned())) else { return false };
        let document = Arc::make_mut(&mut self.document);
        let moved = match kind {
            ObjectKind::Upstream => take(&mut document.upstreams, at).map(|spec| spec.name.clone()),
            ObjectKind::Issuer => take(&mut document.issuers, at).map(|spec| spec.name.clone()),
            ObjectKind::ClientCertificate => take(&mut document.client_certificates, at).map(|spec| spec.name.clone()),
            ObjectKind::Policy => take(&mut document.policies, at).map(|spec| spec.name.clone()),
            ObjectKind::Route => take(&mut document.routes, at).map(|spec| spec.name.clone()),
        };
        if let Some(moved) = moved {
            self.places.insert((kind, moved), at);
        }
        true
    }

    /// The names of all objects.
    pub fn names(&self) -> impl Iterator<Item = (ObjectKind, &str)> {
        self.places.keys().map(|(kind, name)| (*kind, name.as_str()))
    }
}

fn set<T>(list: &mut Vec<T>, at: Option<usize>, value: T) -> usize {
    match at {
        Some(at) => {
            list[at] = value;
            at
        }
        None => {
            list.push(value);
            list.len() - 1
        }
    }
}

/// Takes one out, and says which one stands in its place now.
fn take<T>(list: &mut Vec<T>, at: usize) -> Option<&T> {
    list.swap_remove(at);
    list.get(at)
}

impl RouteSpec {
    /// The objects that it names. The upstream that is always there is none.
    pub fn references(&self) -> Vec<(ObjectKind, &str)> {
        let mirror = self.mirror.as_ref().map(|mirror| mirror.upstream.as_str());
        let split = self.split.iter().map(|split| split.upstream.as_str());
        let upstreams = self.upstream.as_deref().into_iter().chain(mirror).chain(split);
        let upstreams = upstreams.filter(|name| *name != CONTROL_UPSTREAM).map(|name| (ObjectKind::Upstream, name));
        let issuers = self.issuers.iter().filter(|name| *name != OWN_ISSUER).map(|name| (ObjectKind::Issuer, name.as_str()));
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

/// Of one of a route's places, its host and where its path has parameters: `*` for one and `-` for another segment
/// before the last of them. `None` where it has none.
pub fn arrangement(place: &str) -> Option<(&str, String)> {
    let (host, path) = place.split_once('/')?;
    let arranged: String = path.split('/').map(|segment| if segment == "{}" { '*' } else { '-' }).collect();
    let arranged = arranged.trim_end_matches('-');
    (!arranged.is_empty()).then(|| (host, arranged.to_owned()))
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
        assert_eq!(arrangement("a.example/o/{}"), Some(("a.example", "-*".to_owned())));
        assert_eq!(arrangement("*/{}/b/{}/c/d"), Some(("*", "*-*".to_owned())));
        assert_eq!((arrangement("a.example/o"), arrangement("a.example")), (None, None));
    }

    #[test]
    fn an_unknown_word_is_an_error_of_its_object() {
        let spec = serde_json::json!({ "path": "/", "upstream": "control", "auth": "open", "pathh": 1 });
        let Value::Object(spec) = spec else { unreachable!() };
        let (kind, name, error) = Document::of_objects([Object { kind: ObjectKind::Route, name: "a".into(), spec }]).unwrap_err();
        assert_eq!((kind, &*name), (ObjectKind::Route, "a"));
        assert!(error.to_string().contains("unknown field `pathh`"), "{error}");
    }

    #[test]
    fn a_collection_holds_what_was_put_last_and_not_what_was_removed() {
        let object = |name: &str, path: &str| {
            let Value::Object(spec) = serde_json::json!({ "path": path, "upstream": "control", "auth": "open" }) else {
                unreachable!("an object")
            };
            Object { kind: ObjectKind::Route, name: name.into(), spec }
        };
        let mut collection = Collection::default();
        for (name, path) in [("a", "/a"), ("b", "/b"), ("c", "/c"), ("a", "/aa")] {
            collection.put(object(name, path)).unwrap();
        }
        let before = collection.document();
        assert!(collection.remove(ObjectKind::Route, "b") && !collection.remove(ObjectKind::Route, "b"));
        collection.put(object("c", "/cc")).unwrap();
        let document = collection.document();
        let paths = |document: &Document| document.routes.iter().map(|route| route.path.clone()).collect::<Vec<_>>();
        assert_eq!(
            (paths(&before), paths(&document)),
            (vec!["/aa".into(), "/b".into(), "/c".into()], vec!["/aa".into(), "/cc".into()])
        );
        assert!(collection.put(Object { kind: ObjectKind::Route, name: "d".into(), spec: Map::new() }).is_err());
        assert_eq!(collection.names().count(), 2);
    }
}
