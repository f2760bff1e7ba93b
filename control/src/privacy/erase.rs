//! Erasing a person. What refers to them goes on referring to a row that says nothing of who it was.

use std::collections::BTreeSet;

use clearway_config::{AccountId, ErrorCode, UserId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    auth::{self, Letters},
    db::Tx,
    factors,
    http::{Api, ApiError},
    identities, keys, mail,
    members::{self, Role},
    oauth, portfolio, reviews, sessions,
    sync::{Propagation, Revision, Wait},
    tickets,
    users::{self, User},
};

/// Accounts that somebody may be a member of and be erased at once.
const MEMBERSHIPS_MAX: i64 = 1_000;

/// What is kept, and why: told in the answer and in `docs/people.md`.
const KEPT: &[(&str, &str)] = &[
    ("user", "the id, and when it was made and erased, for what refers to it: what applications were let do, who installed what"),
    ("audit", "what the person did and from which address, under the id: security, and claims"),
    ("billing", "subscriptions and what was used, by account: the law asks for it"),
    ("reviews", "ratings; and the texts of an account that others belong to, without who wrote them"),
    ("tickets", "those of an account that others belong to, without who wrote what"),
    ("events", "until the account's plan forgets them"),
    ("objects", "what was made in an account stays the account's"),
    ("backups", "until they are overwritten"),
];

/// Something that is kept of an erased person.
#[derive(Debug, Serialize, ToSchema)]
struct KeptView {
    what: &'static str,
    why: &'static str,
}

/// An erased person.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasedView {
    id: String,
    /// Accounts that had no other member: they are suspended, without their names.
    closed_accounts: Vec<String>,
    kept: Vec<KeptView>,
    /// How far the suspensions, and the end of what applications were allowed, have come; null where there was neither.
    propagation: Option<Propagation>,
}

/// What was erased, to be told to the proxies.
#[derive(Debug)]
pub struct Erased {
    id: UserId,
    closed: Vec<AccountId>,
    revision: Option<Revision>,
}

impl Erased {
    /// Waits until no proxy serves a closed account's keys, or what the person had allowed. Call it after the commit.
    pub async fn told(self, api: &Api) -> ErasedView {
        let propagation = match self.revision {
            Some(revision) => Some(api.hub.propagated(revision, Wait::Enforced).await),
            None => None,
        };
        ErasedView {
            id: self.id.to_string(),
            closed_accounts: self.closed.iter().map(ToString::to_string).collect(),
            kept: KEPT.iter().map(|&(what, why)| KeptView { what, why }).collect(),
            propagation,
        }
    }
}

/// Erases a person. Refused where an account with other members would be without an owner, or the platform without anyone.
pub async fn erase(api: &Api, actor: &Actor, id: UserId) -> Result<Erased, ApiError> {
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let Parted { user, accounts, alone } = part(&mut tx, id).await?;
    auth::forget_person(&mut tx, id, &user.email).await?;
    factors::forget(&mut tx, id).await?;
    identities::forget(&mut tx, id).await?;
    sessions::forget(&mut tx, id).await?;
    members::forget_person(&mut tx, id, &user.email).await?;
    mail::forget(&mut tx, &user.email).await?;
    users::erase(&mut tx, id, now_ms).await?;
    let author = id.to_string();
    reviews::forget_author(&mut tx, &author).await?;
    tickets::forget_author(&mut tx, &author).await?;
    for &account in &alone {
        reviews::forget_texts(&mut tx, account).await?;
        tickets::forget(&mut tx, account).await?;
        portfolio::forget(&mut tx, account).await?;
        keys::forget_addresses(&mut tx, account).await?;
        accounts::rename(&mut tx, account, "closed").await?;
    }
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.erased(&user.email)).await?;
    let object_id = id.to_string();
    let left = accounts.iter().filter(|account| !alone.contains(account)).map(ToString::to_string).collect::<Vec<_>>();
    let closed = alone.iter().map(ToString::to_string).collect::<Vec<_>>();
    let changes =
        Changes::default().field("erased", false, true).field("accounts_left", (), left).field("accounts_closed", (), closed);
    let event = Event { action: "user.erased", account_id: user.account_id, object_kind: "user", object_id: &object_id, changes };
    audit::record(&mut tx, &api.world, actor, event).await?;
    // Last, because they emit events and tell the proxies.
    let mut revision = oauth::end_of_person(&mut tx, &api.world, actor, id, None).await?.revision;
    for &account in &alone {
        let (_, at) = accounts::set_suspended(&mut tx, &api.world, actor, account, true).await?;
        revision = Some(at);
    }
    tx.commit().await?;
    tracing::info!(user.id = %id, "a person was erased");
    Ok(Erased { id, closed: alone, revision })
}

/// A person about to be erased, with everything locked that they belong to.
struct Parted {
    user: User,
    accounts: BTreeSet<AccountId>,
    /// Of those, where there is nobody else.
    alone: Vec<AccountId>,
}

async fn part(tx: &mut Tx, id: UserId) -> Result<Parted, ApiError> {
    let meanwhile = || ApiError::saying(ErrorCode::Conflict, "Their accounts have changed meanwhile: try again.");
    // Accounts before people, as everybody takes them.
    let memberships = members::of_person(&mut *tx, id, MEMBERSHIPS_MAX).await?;
    let accounts: BTreeSet<AccountId> = memberships.iter().map(|membership| membership.account_id).collect();
    for &account in &accounts {
        accounts::lock(tx, account).await?.ok_or_else(ApiError::not_found)?;
    }
    let user = users::lock(tx, id).await?.filter(|user| user.erased_at.is_none()).ok_or_else(ApiError::not_found)?;
    let memberships = members::of_person(&mut *tx, id, MEMBERSHIPS_MAX).await?;
    if memberships.iter().map(|membership| membership.account_id).collect::<BTreeSet<_>>() != accounts {
        return Err(meanwhile());
    }
    let (mut alone, mut held) = (Vec::new(), Vec::new());
    for membership in memberships {
        let account = membership.account_id;
        let (all, owners) = members::counts(tx, account).await?;
        let platform = accounts::is_platform(&mut *tx, account).await?;
        if membership.role == Role::Owner && owners <= 1 && (all > 1 || platform) {
            held.push(account.to_string());
        } else if all <= 1 {
            alone.push(account);
        }
    }
    if held.is_empty() {
        return Ok(Parted { user, accounts, alone });
    }
    let message = "Accounts with other members would be without an owner: make another member their owner first.";
    Err(ApiError::saying(ErrorCode::Conflict, message).with_details(json!({ "accounts": held })))
}
