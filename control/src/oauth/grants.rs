//! Grants: what an account lets a client do, and how much of it holds at a moment.

use clearway_config::{
    AccountId, ClientId, GrantId, Scope, Scopes, UserId,
    scope::{ADMIN, CLEARWAY_SCOPES},
};

use super::{identity::Identity, resource::Resource};
use crate::members::Role;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) id: GrantId,
    pub(super) client_id: ClientId,
    pub(super) account_id: AccountId,
    /// Who agreed; `None` where a client acts in its own account.
    pub(super) user_id: Option<UserId>,
    pub(super) scopes: Scopes,
    /// What the client was let know of the person.
    pub(super) identity: Identity,
    pub(super) created_at: i64,
    pub(super) last_used_at: i64,
    pub(super) expires_at: i64,
    pub(super) revoked_at: Option<i64>,
    pub(super) resource: Resource,
    /// The thumbprint of the key that whoever refreshes its tokens has to prove (RFC 9449, 5): of clients that cannot prove
    /// otherwise that they are themselves.
    pub(super) jkt: Option<String>,
}

impl Grant {
    pub(super) fn is_live(&self, now_ms: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at > now_ms
    }
}

/// What stands behind a grant now.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// The account, or the person.
    pub(super) suspended: bool,
    /// Whether the account is that of whoever runs Clearway.
    pub(super) platform: bool,
    /// The person's; `None` where they are no member.
    pub(super) role: Option<Role>,
    pub(super) app: AppBounds,
}

/// What an app's being installed, or not, makes of what its client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppBounds {
    /// The client is no app's; or the account is the developer's own, who tries the app without installing it.
    None,
    /// No more than it was installed for.
    Installed(Scopes),
    /// The app is not installed in the account, or was suspended or removed.
    Closed,
}

impl AppBounds {
    /// `None`: nothing at all.
    fn hold(&self, wanted: Scopes) -> Option<Scopes> {
        match self {
            Self::None => Some(wanted),
            Self::Installed(granted) => Some(wanted.iter().filter(|scope| granted.contains(scope.as_str())).cloned().collect()),
            Self::Closed => None,
        }
    }
}

impl Standing {
    /// How much of `wanted` holds for a grant of a person: no more than their role allows now. `None`: nothing at all.
    pub(super) fn by_person(&self, wanted: &Scopes) -> Option<Scopes> {
        if self.suspended {
            return None;
        }
        let held = self.role?.scopes(self.platform);
        self.app.hold(wanted.iter().filter(|scope| may_give(&held, scope)).cloned().collect())
    }

    /// The same for a client in its own account: what it may was decided when it was registered.
    pub(super) fn by_client(&self, wanted: &Scopes) -> Option<Scopes> {
        if self.suspended {
            return None;
        }
        self.app.hold(wanted.iter().filter(|scope| scope.as_str() != ADMIN).cloned().collect())
    }

    pub(super) fn allows(&self, grant: &Grant) -> Option<Scopes> {
        if grant.user_id.is_some() { self.by_person(&grant.scopes) } else { self.by_client(&grant.scopes) }
    }
}

/// Whether somebody who holds `held` may give `scope` to an application. Scopes of an operator's own routes are in no role:
/// whoever may issue a key that carries them may give them.
fn may_give(held: &Scopes, scope: &Scope) -> bool {
    let known = CLEARWAY_SCOPES.contains(&scope.as_str());
    let asked = if known { scope.as_str() } else { "write:keys" };
    scope.as_str() != ADMIN && (held.contains(asked) || held.contains(ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Scopes {
        words.iter().map(|word| word.parse::<Scope>().unwrap()).collect()
    }

    fn standing(role: Option<Role>, platform: bool, suspended: bool) -> Standing {
        Standing { suspended, platform, role, app: AppBounds::None }
    }

    #[test]
    fn a_person_gives_no_more_than_their_role_allows_now() {
        let wanted = scopes(&["read:keys", "write:keys", "read:acme.orders", ADMIN]);
        let of = |role, platform| standing(role, platform, false).by_person(&wanted);
        assert_eq!(of(Some(Role::Viewer), false), Some(scopes(&["read:keys"])));
        let developers = scopes(&["read:keys", "write:keys", "read:acme.orders"]);
        assert_eq!(of(Some(Role::Developer), false), Some(developers.clone()));
        assert_eq!(of(Some(Role::Owner), true), Some(developers), "nobody gives the platform away");
        assert_eq!(of(None, false), None);
        assert_eq!(standing(Some(Role::Owner), false, true).by_person(&wanted), None);
    }

    #[test]
    fn an_app_does_no_more_than_it_was_installed_for() {
        let wanted = scopes(&["read:keys", "write:keys"]);
        let under = |app: AppBounds| Standing { app, ..standing(Some(Role::Owner), false, false) };
        let installed = under(AppBounds::Installed(scopes(&["read:keys", "read:apps"])));
        assert_eq!(installed.by_person(&wanted), Some(scopes(&["read:keys"])));
        assert_eq!((under(AppBounds::Closed).by_person(&wanted), under(AppBounds::Closed).by_client(&wanted)), (None, None));
        assert_eq!(under(AppBounds::None).by_person(&wanted), Some(wanted));
    }
}
