//! Scopes: what a credential may do, as `action:resource` (seed 003, 8.3).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Scopes a key may carry at most.
pub const SCOPES_MAX: usize = 64;
/// Characters in a scope at most.
pub const SCOPE_CHARS_MAX: usize = 64;

/// A scope that Clearway's own API asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownScope {
    pub name: &'static str,
    /// What whoever holds it may do, for whoever is asked to give it.
    pub says: &'static str,
}

/// Every one of them, by name. Routes to an operator's upstreams may ask for others.
pub const REGISTRY: &[KnownScope] = &[
    KnownScope { name: ADMIN, says: "Everything, on every account" },
    KnownScope { name: "delete:apps", says: "Delete apps" },
    KnownScope { name: "read:analytics", says: "See how much the API is used" },
    KnownScope { name: "read:apps", says: "See apps, and which have access" },
    KnownScope { name: "read:audit", says: "Read the audit log" },
    KnownScope { name: "read:billing", says: "See what is paid" },
    KnownScope { name: "read:events", says: "See what happened" },
    KnownScope { name: "read:keys", says: "See API keys, without their secrets" },
    KnownScope { name: "read:marketplace", says: "Browse the marketplace" },
    KnownScope { name: "read:stores", says: "See stores and products" },
    KnownScope { name: "read:user", says: "See your name and address" },
    KnownScope { name: "read:webhooks", says: "See webhooks and their deliveries" },
    KnownScope { name: "write:apps", says: "Create and change apps, and take access away from them" },
    KnownScope { name: "write:billing", says: "Change what is paid" },
    KnownScope { name: "write:events", says: "Emit events" },
    KnownScope { name: "write:keys", says: "Create, change and revoke API keys" },
    KnownScope { name: "write:marketplace", says: "Publish apps in the marketplace" },
    KnownScope { name: "write:stores", says: "Change stores and products" },
    KnownScope { name: "write:user", says: "Change your profile" },
    KnownScope { name: WRITE_WEBHOOKS, says: "Create, change and delete webhooks, and post by them" },
];

/// Their names.
pub const CLEARWAY_SCOPES: &[&str] = &NAMES;

const NAMES: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut at = 0;
    while at < REGISTRY.len() {
        names[at] = REGISTRY[at].name;
        at += 1;
    }
    names
};

/// Webhooks, and posting by them at the egress listener.
pub const WRITE_WEBHOOKS: &str = "write:webhooks";

/// Everything on every account; what the first admin's key carries.
pub const ADMIN: &str = "admin:platform";

/// A word in lower case, a colon, a word: letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: write action:resource in lower case, at most {SCOPE_CHARS_MAX} characters")]
pub struct MalformedScope;

impl FromStr for Scope {
    type Err = MalformedScope;

    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        let word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_lowercase())
                && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
        };
        let (action, resource) = text.split_once(':').ok_or(MalformedScope)?;
        if text.len() > SCOPE_CHARS_MAX || !word(action) || !word(resource) {
            return Err(MalformedScope);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Scope {
    type Error = MalformedScope;

    fn try_from(text: String) -> Result<Self, MalformedScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.as_ref().to_owned()
    }
}

impl Scope {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes, sorted and without repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(Arc<[Scope]>);

impl From<Vec<Scope>> for Scopes {
    fn from(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes.into())
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0.to_vec()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().collect::<Vec<_>>().into()
    }
}

impl Scopes {
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|held| held.as_str().cmp(scope)).is_ok()
    }

    /// The first of `wanted` that is not held. [`ADMIN`] holds them all.
    pub fn missing<'a>(&self, wanted: &'a Scopes) -> Option<&'a Scope> {
        if wanted.is_empty() || self.contains(ADMIN) {
            return None;
        }
        wanted.iter().find(|scope| !self.contains(scope.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Scopes {
        words.iter().map(|w| w.parse::<Scope>().unwrap()).collect()
    }

    #[test]
    fn a_scope_is_action_colon_resource() {
        for good in CLEARWAY_SCOPES.iter().chain(&["read:acme.orders", "x:y", "messages-v2:send_all"]) {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        for bad in ["", "read", "read:", ":apps", "Read:apps", "read:apps:all", "read: apps", "1a:b", "read:ä", &"a:".repeat(40)]
        {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_missing_scope_is_named_and_admin_misses_none() {
        let wanted = scopes(&["read:apps", "write:apps"]);
        assert_eq!(scopes(&["read:apps"]).missing(&wanted).map(Scope::as_str), Some("write:apps"));
        assert_eq!(scopes(&[ADMIN]).missing(&wanted), None);
        assert_eq!(Scopes::default().missing(&Scopes::default()), None);
    }
}
