//! Policies: what a route does to requests and answers besides forwarding them. Written once under a name, and used
//! by any number of routes.
//!
//! Each section has its file: what is written (`…Spec`), what it becomes, and the checks between. All sections
//! are optional. Where several policies meet, of each section the last that has it counts, as a whole: sections are
//! never mixed from two.

pub mod addresses;
pub mod cache;
pub mod compression;
pub mod cors;
pub mod deprecated;
pub mod edits;
pub mod json;
pub mod maintenance;

use std::{collections::HashMap, sync::Arc};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::check_name;
use crate::settings::{
    fault::{Fault, Within as _},
    size,
};
pub use addresses::{Addresses, AddressesSpec};
pub use cache::{Cache, CacheSpec};
pub use compression::{Compression, CompressionSpec};
pub use cors::{Cors, CorsSpec, Origins};
pub use deprecated::{Deprecated, DeprecatedSpec};
pub use edits::{Edits, EditsSpec};
pub use json::{Json, JsonSpec};
pub use maintenance::{Maintenance, MaintenanceSpec};

/// Policies of all documents together at most.
pub const POLICIES_MAX: usize = 10_000;
/// Policies of one route, or of one account, at most.
pub const POLICIES_PER_ROUTE_MAX: usize = 16;

/// A policy as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// From where requests may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressesSpec>,
    /// Which pages of other origins a browser lets read the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSpec>,
    /// The longest body that a request may have.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1MiB"))]
    #[serde(default, with = "size", skip_serializing_if = "Option::is_none")]
    pub body_max: Option<ByteSize>,
    /// Changes to a request's headers on the way to the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<EditsSpec>,
    /// Changes to an answer's headers on the way to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<EditsSpec>,
    /// Changes to fields of a request's JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_json: Option<JsonSpec>,
    /// Changes to fields of an answer's JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_json: Option<JsonSpec>,
    /// Keeping answers, to give them out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSpec>,
    /// Compressing answers for clients that take them so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionSpec>,
    /// Answers everything with 503 for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceSpec>,
    /// Says in every answer that this is going to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<DeprecatedSpec>,
}

/// A policy, checked; or what several come to. Cheap to copy: sections are shared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub addresses: Option<Arc<Addresses>>,
    pub cors: Option<Arc<Cors>>,
    /// Bytes.
    pub body_max: Option<u64>,
    pub request_headers: Option<Arc<Edits>>,
    pub response_headers: Option<Arc<Edits>>,
    pub request_json: Option<Arc<Json>>,
    pub response_json: Option<Arc<Json>>,
    pub cache: Option<Arc<Cache>>,
    pub compression: Option<Arc<Compression>>,
    pub maintenance: Option<Arc<Maintenance>>,
    pub deprecated: Option<Arc<Deprecated>>,
}

impl PolicySpec {
    pub fn resolve(&self) -> Result<Policy, Fault> {
        check_name(&self.name)?;
        Ok(Policy {
            addresses: section(self.addresses.as_ref(), "addresses", AddressesSpec::resolve)?,
            cors: section(self.cors.as_ref(), "cors", CorsSpec::resolve)?,
            body_max: self.body_max.map(|size| size.as_u64()),
            request_headers: section(self.request_headers.as_ref(), "request_headers", EditsSpec::resolve)?,
            response_headers: section(self.response_headers.as_ref(), "response_headers", EditsSpec::resolve)?,
            request_json: section(self.request_json.as_ref(), "request_json", JsonSpec::resolve_request)?,
            response_json: section(self.response_json.as_ref(), "response_json", JsonSpec::resolve_answer)?,
            cache: section(self.cache.as_ref(), "cache", CacheSpec::resolve)?,
            compression: section(self.compression.as_ref(), "compression", CompressionSpec::resolve)?,
            maintenance: section(self.maintenance.as_ref(), "maintenance", MaintenanceSpec::resolve)?,
            deprecated: section(self.deprecated.as_ref(), "deprecated", DeprecatedSpec::resolve)?,
        })
    }
}

fn section<S, T>(spec: Option<&S>, key: &str, resolve: impl Fn(&S) -> Result<T, Fault>) -> Result<Option<Arc<T>>, Fault> {
    spec.map(|spec| resolve(spec).map(Arc::new).within(key)).transpose()
}

impl Policy {
    /// This policy with every section that `later` has in the place of its own.
    #[must_use]
    pub fn merge(&self, later: &Self) -> Self {
        fn pick<T: Clone>(ours: &Option<T>, later: &Option<T>) -> Option<T> {
            later.as_ref().or(ours.as_ref()).cloned()
        }
        Self {
            addresses: pick(&self.addresses, &later.addresses),
            cors: pick(&self.cors, &later.cors),
            body_max: pick(&self.body_max, &later.body_max),
            request_headers: pick(&self.request_headers, &later.request_headers),
            response_headers: pick(&self.response_headers, &later.response_headers),
            request_json: pick(&self.request_json, &later.request_json),
            response_json: pick(&self.response_json, &later.response_json),
            cache: pick(&self.cache, &later.cache),
            compression: pick(&self.compression, &later.compression),
            maintenance: pick(&self.maintenance, &later.maintenance),
            deprecated: pick(&self.deprecated, &later.deprecated),
        }
    }

    /// Whether bodies are looked at or changed, beyond being counted.
    pub fn touches_bodies(&self) -> bool {
        self.request_json.is_some() || self.response_json.is_some() || self.cache.is_some() || self.compression.is_some()
    }

    /// Whether nobody gets through to an upstream.
    pub fn is_closed(&self) -> bool {
        self.maintenance.as_ref().is_some_and(|maintenance| maintenance.allow.is_empty())
    }
}

/// The policies there are, and every combination of them that routes have asked for: one value each, however many
/// routes share it.
#[derive(Debug, Default)]
pub(super) struct Policies {
    names: HashMap<String, usize>,
    all: Vec<Arc<Policy>>,
    combinations: HashMap<Vec<usize>, Arc<Policy>>,
}

impl Policies {
    pub(super) fn add(&mut self, spec: &PolicySpec) -> Result<(), Fault> {
        if self.all.len() == POLICIES_MAX {
            return Err(Fault::new(format!("more than {POLICIES_MAX} policies")));
        }
        super::take_name(&mut self.names, &spec.name, self.all.len())?;
        self.all.push(Arc::new(spec.resolve()?));
        Ok(())
    }

    /// What the policies of these names come to, in this order.
    pub(super) fn merged(&mut self, names: &[String]) -> Result<Arc<Policy>, Fault> {
        if names.len() > POLICIES_PER_ROUTE_MAX {
            return Err(Fault::new(format!("more than {POLICIES_PER_ROUTE_MAX}")));
        }
        let index = |(n, name): (usize, &String)| {
            let index = self.names.get(name).copied();
            index.ok_or_else(|| Fault::new(format!("there is no policy `{name}`"))).within(n)
        };
        let indices: Vec<usize> = names.iter().enumerate().map(index).collect::<Result<_, _>>()?;
        if let Some(merged) = self.combinations.get(&indices) {
            return Ok(merged.clone());
        }
        let merged = match indices.as_slice() {
            [one] => self.all[*one].clone(),
            several => Arc::new(several.iter().fold(Policy::default(), |merged, &next| merged.merge(&self.all[next]))),
        };
        self.combinations.insert(indices, merged.clone());
        Ok(merged)
    }

    /// By name, in the order of the documents.
    pub(super) fn into_named(self) -> Vec<(String, Arc<Policy>)> {
        let mut named: Vec<_> = self.names.into_iter().collect();
        named.sort_unstable_by_key(|(_, index)| *index);
        named.into_iter().map(|(name, index)| (name, self.all[index].clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        toml::from_str::<PolicySpec>(&format!("name = \"p\"\n{text}")).unwrap().resolve().unwrap()
    }

    #[test]
    fn of_each_section_the_last_counts_as_a_whole() {
        let first = policy("body_max = \"1KiB\"\ncors = { origins = [\"https://a.example\"], credentials = true }");
        let later = policy("body_max = \"2KiB\"\nmaintenance = {}");
        let merged = first.merge(&later);
        assert_eq!((merged.body_max, &merged.cors, &merged.maintenance), (Some(2048), &first.cors, &later.maintenance));
        let other = policy("cors = { origins = [\"https://b.example\"] }");
        let cors = merged.merge(&other).cors.unwrap();
        assert!(!cors.credentials && cors == other.cors.unwrap(), "nothing of the earlier one is left");
        assert_eq!(first.merge(&Policy::default()), first);
    }

    #[test]
    fn every_combination_is_there_once() {
        let mut policies = Policies::default();
        for name in ["a", "b"] {
            policies.add(&PolicySpec { name: name.into(), ..PolicySpec::default() }).unwrap();
        }
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut merged = |of: &[&str]| policies.merged(&names(of)).unwrap();
        assert!(Arc::ptr_eq(&merged(&["a", "b"]), &merged(&["a", "b"])));
        assert!(Arc::ptr_eq(&merged(&[]), &merged(&[])));
        assert_eq!(policies.merged(&names(&["a", "c"])).unwrap_err().to_string(), "[1]: there is no policy `c`");
        assert!(policies.merged(&vec!["a".into(); POLICIES_PER_ROUTE_MAX + 1]).is_err());
    }
}
