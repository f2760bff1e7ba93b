//! The audit log: what was done to what, by whom and from where. An entry is written in the transaction
//! of the act, so that neither exists without the other, and is never changed or removed: the database itself refuses
//! that, and [`chain`] makes it evident where the database was got round.
//!
//! It never holds a secret: of a key's secrets only the shown beginning. People stand in it by their ids, without names and
//! mail addresses, because it is kept when they are erased.

mod chain;
mod http;
mod store;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use clearway_config::{AccountId, AuditId, RequestId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use chain::{link_once, link_until};
pub use http::{AuditView, of_person, routes};

use crate::{
    db::{self, Tx},
    http::{Caller, Principal},
    world::World,
};

/// Who did it.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A key, or a person who has signed in.
    Caller(Caller),
    /// A person who is only just signing in, or does what takes no session.
    User { id: UserId, address: Option<IpAddr>, request_id: Option<RequestId> },
    /// Clearway itself: the first start, or a sweep.
    System,
}

impl Actor {
    /// The person that it is, if it is one.
    pub fn person(&self) -> Option<UserId> {
        match self {
            Actor::Caller(Caller { principal: Principal::User { id, .. }, .. }) | Actor::User { id, .. } => Some(*id),
            // An application is not the person who let it act.
            Actor::Caller(_) | Actor::System => None,
        }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Actor::Caller(caller.clone())
    }
}

/// One field before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    pub before: Value,
    pub after: Value,
}

/// The fields that an act changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes(BTreeMap<String, Change>);

impl Changes {
    /// Notes a field; nothing if it stayed as it was.
    pub fn field(mut self, name: &str, before: impl Serialize, after: impl Serialize) -> Self {
        let value = |field| serde_json::to_value(field).unwrap_or(Value::Null);
        let change = Change { before: value(serde_json::json!(before)), after: value(serde_json::json!(after)) };
        if change.before != change.after {
            self.0.insert(name.to_owned(), change);
        }
        self
    }

    /// Notes that something of a person is another now, and not what: the log outlives the person.
    pub fn of_person(mut self, name: &str) -> Self {
        self.0.insert(name.to_owned(), Change { before: Value::Null, after: Value::from("changed") });
        self
    }

    pub fn holds(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of the fields that changed.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was done, such as `key.created`, to which object of which account.
#[derive(Debug)]
pub struct Event<'a> {
    pub action: &'static str,
    pub account_id: AccountId,
    pub object_kind: &'static str,
    pub object_id: &'a str,
    pub changes: Changes,
}

/// Every action there is, for the filter and the document.
pub const ACTIONS: &[&str] = &[
    "account.brand_changed",
    "account.created",
    "account.plan_changed",
    "account.policies_changed",
    "account.resumed",
    "account.suspended",
    "account.transferred",
    "app.approved",
    "app.created",
    "app.deprecated",
    "app.linked",
    "app.featured",
    "app.installed",
    "app.published",
    "app.rejected",
    "app.removed",
    "app.restored",
    "app.resumed",
    "app.submitted",
    "app.suspended",
    "app.uninstalled",
    "app.updated",
    "app.withdrawn",
    "certificate.created",
    "certificate.deleted",
    "certificate.updated",
    "collection.created",
    "collection.deleted",
    "collection.updated",
    "event_type.created",
    "event_type.deleted",
    "event_type.updated",
    "gateway.created",
    "gateway.deleted",
    "gateway.updated",
    "identity.linked",
    "identity.unlinked",
    "installation.updated",
    "invitation.created",
    "invitation.revoked",
    "key.created",
    "key.revoked",
    "key.rotated",
    "key.updated",
    "member.joined",
    "member.left",
    "member.removed",
    "member.role_changed",
    "oauth_client.created",
    "oauth_client.deleted",
    "oauth_client.rotated",
    "oauth_client.updated",
    "oauth_grant.created",
    "oauth_grant.revoked",
    "oauth_registration_token.created",
    "oauth_registration_token.deleted",
    "passkey.created",
    "passkey.deleted",
    "passkey.refused",
    "passkey.updated",
    "product.created",
    "product.deleted",
    "product.updated",
    "project.created",
    "project.deleted",
    "project.published",
    "project.updated",
    "proxy.forgotten",
    "review.created",
    "review.deleted",
    "review.hidden",
    "review.replied",
    "review.reported",
    "review.shown",
    "review.updated",
    "session.begun",
    "session.ended",
    "session.impersonated",
    "store.created",
    "store.deleted",
    "store.updated",
    "ticket.closed",
    "ticket.opened",
    "ticket.written",
    "user.created",
    "user.erased",
    "user.password_changed",
    "user.resumed",
    "user.second_factor_changed",
    "user.suspended",
    "user.updated",
    "webhook.created",
    "webhook.deleted",
    "webhook.disabled",
    "webhook.enabled",
    "webhook.failing",
    "webhook.recovered",
    "webhook.rotated",
    "webhook.updated",
];

/// Writes an entry.
pub async fn record(tx: &mut Tx, world: &World, actor: &Actor, event: Event<'_>) -> db::Result<()> {
    debug_assert!(ACTIONS.contains(&event.action), "{} is missing in ACTIONS", event.action);
    let id = world.id(AuditId::new);
    chain::soon(tx);
    store::insert(tx, id, world.now_ms(), actor, event).await
}
