//! What a person may do in an account.

use std::str::FromStr;

use clearway_config::{
    Scope, Scopes,
    scope::{ADMIN, CLEARWAY_SCOPES},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// From the most to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, and the only one who may give the account away.
    Owner,
    /// Everything but the account itself: also who its members are.
    Admin,
    /// Builds: keys, webhooks, apps, stores. Sees what is paid, and changes nothing of it.
    Developer,
    /// Reads.
    Viewer,
}

/// What nobody does who acts as somebody else: it would outlast the session in which they do.
const NOT_FOR_IMPERSONATORS: &[&str] =
    &["delete:apps", "write:apps", "write:billing", "write:keys", "write:marketplace", "write:webhooks"];
/// What developers only read.
const NOT_FOR_DEVELOPERS: &[&str] = &["write:billing"];

impl Role {
    pub const ALL: [Role; 4] = [Self::Owner, Self::Admin, Self::Developer, Self::Viewer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    /// Whether it may say who the account's members are.
    pub const fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// What it allows an admin who acts as somebody that has it. Never to act on other accounts.
    pub fn scopes_of_impersonator(self) -> Scopes {
        let own = self.scopes(false);
        let allowed: Vec<&str> = own.iter().map(Scope::as_str).filter(|scope| !NOT_FOR_IMPERSONATORS.contains(scope)).collect();
        scopes(&allowed)
    }

    /// What it allows; `platform` where the account is that of whoever runs Clearway, whose owners and admins may act
    /// on every account.
    pub fn scopes(self, platform: bool) -> Scopes {
        if platform && self.manages() {
            return scopes(&[ADMIN]);
        }
        let allowed = |scope: &&&str| match self {
            Self::Owner | Self::Admin => true,
            Self::Developer => !NOT_FOR_DEVELOPERS.contains(scope),
            Self::Viewer => scope.starts_with("read:"),
        };
        let all: Vec<&str> = CLEARWAY_SCOPES.iter().filter(|scope| **scope != ADMIN).filter(allowed).copied().collect();
        scopes(&all)
    }
}

fn scopes(words: &[&str]) -> Scopes {
    let parsed: Vec<Scope> = words.iter().map(|word| word.parse().expect("Clearway's scopes are well formed")).collect();
    Scopes::from(parsed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, admin, developer or viewer")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(role: Role, platform: bool, scope: &str) -> bool {
        role.scopes(platform).contains(scope)
    }

    #[test]
    fn a_role_allows_no_more_than_the_one_above_it() {
        for pair in Role::ALL.windows(2) {
            let (above, below) = (pair[0].scopes(false), pair[1].scopes(false));
            assert_eq!(above.missing(&below), None, "{pair:?}");
        }
    }

    #[test]
    fn only_the_platforms_owners_and_admins_act_on_every_account() {
        for role in Role::ALL {
            assert!(!may(role, false, ADMIN));
            assert_eq!(may(role, true, ADMIN), role.manages(), "{role:?}");
        }
    }

    #[test]
    fn viewers_change_nothing_and_developers_nothing_that_is_paid() {
        assert!(CLEARWAY_SCOPES.iter().filter(|scope| may(Role::Viewer, false, scope)).all(|scope| scope.starts_with("read:")));
        assert!(may(Role::Developer, false, "write:keys") && !may(Role::Developer, false, "write:billing"));
    }
}
