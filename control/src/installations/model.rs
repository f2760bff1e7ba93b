//! Installations as values. No IO.

use clearway_config::{AccountId, AppId, InstallationId, KeyId, Scope, Scopes, WebhookId};

use crate::apps::Permission;

#[derive(Debug, Clone, PartialEq)]
pub struct Installation {
    pub id: InstallationId,
    pub app_id: AppId,
    /// What the app is called now.
    pub app_slug: String,
    pub app_name: String,
    /// Where it is installed.
    pub account_id: AccountId,
    /// What the app may do there.
    pub scopes: Scopes,
    /// The version whose permissions were looked at.
    pub app_version: String,
    /// `user_…` or `key_…`
    pub installed_by: String,
    /// Counts its changes, from 1.
    pub version: i64,
    pub installed_at: i64,
    pub updated_at: i64,
    pub uninstalled_at: Option<i64>,
}

/// What belongs to an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tied {
    Key(KeyId),
    Webhook(WebhookId),
}

impl Tied {
    /// As in `installation_objects.kind`.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Webhook(_) => "webhook",
        }
    }

    pub(super) fn id(self) -> String {
        match self {
            Self::Key(id) => id.to_string(),
            Self::Webhook(id) => id.to_string(),
        }
    }
}

/// Why scopes cannot be granted to an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    #[error("the app does not ask for {0}")]
    NotAsked(Scope),
    #[error("the app cannot be installed without {0}")]
    Required(Scope),
}

/// What is granted: `chosen`, or else only what the app cannot do without.
pub(super) fn granted(permissions: &[Permission], chosen: Option<Scopes>) -> Result<Scopes, GrantFault> {
    let asked: Scopes = permissions.iter().map(|permission| permission.scope.clone()).collect();
    let required: Scopes = permissions.iter().filter(|one| !one.optional).map(|one| one.scope.clone()).collect();
    let Some(chosen) = chosen else { return Ok(required) };
    // Neither may hold `admin:platform`, which would hold every other.
    if let Some(scope) = chosen.iter().find(|scope| !asked.contains(scope.as_str())) {
        return Err(GrantFault::NotAsked(scope.clone()));
    }
    match required.iter().find(|scope| !chosen.contains(scope.as_str())) {
        Some(scope) => Err(GrantFault::Required(scope.clone())),
        None => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 5] = ["read:a", "read:b", "write:a", "write:b", "admin:platform"];

    fn of(words: &[usize]) -> Scopes {
        words.iter().map(|n| WORDS[*n].parse::<Scope>().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_is_granted_is_asked_for_and_enough(
            asked in prop::collection::btree_map(0..4_usize, any::<bool>(), 0..4),
            chosen in prop::option::of(prop::collection::vec(0..5_usize, 0..5)),
        ) {
            let permission = |(n, optional): (&usize, &bool)| Permission {
                scope: WORDS[*n].parse().unwrap(), reason: String::new(), optional: *optional,
            };
            let permissions: Vec<_> = asked.iter().map(permission).collect();
            let chosen = chosen.map(|words| of(&words));
            match granted(&permissions, chosen.clone()) {
                Ok(scopes) => {
                    prop_assert!(scopes.iter().all(|scope| permissions.iter().any(|one| one.scope == *scope)));
                    prop_assert!(permissions.iter().all(|one| one.optional || scopes.contains(one.scope.as_str())));
                    prop_assert!(chosen.is_none_or(|chosen| chosen == scopes));
                }
                Err(GrantFault::NotAsked(scope)) => prop_assert!(!permissions.iter().any(|one| one.scope == scope)),
                Err(GrantFault::Required(scope)) => {
                    prop_assert!(permissions.iter().any(|one| one.scope == scope && !one.optional));
                    prop_assert!(!chosen.unwrap().contains(scope.as_str()));
                }
            }
        }
    }
}
