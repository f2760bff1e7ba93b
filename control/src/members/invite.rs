//! Inviting somebody to an account by mail: whoever has the mailed token and the address joins, and so does somebody new for
//! whom a provider vouches that the address is theirs.

use clearway_config::{AccountId, ErrorCode, InvitationId, UserId};

use super::{Role, act, store};
use crate::{
    accounts::{self, AccountError},
    audit::{self, Actor, Changes, Event},
    auth::{self, Letters, Once, Visitor, count_mail},
    db::{self, Tx},
    http::{Api, ApiError, Person},
    sync::Revision,
    users::{self, User},
};

/// How long an invitation is good.
const GOOD_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Invitations of one account that wait.
const WAITING_MAX: i64 = 100;

/// An invitation that waits.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub(super) id: InvitationId,
    pub(super) account_id: AccountId,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) invited_by: UserId,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
}

/// Invites an address; one that is invited already gets a new token, and the old one is no longer good.
pub(super) async fn invite(api: &Api, person: &Person, email: String, role: Role) -> Result<Invitation, ApiError> {
    let mut tx = api.db.begin().await?;
    let account = accounts::lock(&mut tx, person.account_id).await?.ok_or_else(ApiError::not_found)?;
    let asks_as = store::role(&mut tx, account.id, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    if role == Role::Owner || !act::may_change(asks_as, role, Some(role)) {
        return Err(act::MemberError::NotAllowed.into());
    }
    if let Some(user) = users::find_by_email(&mut tx, &email).await?
        && store::role(&mut tx, account.id, user.id).await?.is_some()
    {
        return Err(ApiError::saying(ErrorCode::Conflict, "They are a member already."));
    }
    if !count_mail(&mut tx, &api.world, "invitation", &email, person.address).await? {
        return Err(ApiError::saying(ErrorCode::ObjectLimitReached, "The address has been invited often enough for an hour."));
    }
    if store::count_invitations(&mut tx, account.id).await? >= WAITING_MAX {
        return Err(ApiError::new(ErrorCode::ObjectLimitReached));
    }
    let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
    let invitation = Invitation {
        id: api.world.id(InvitationId::new),
        account_id: account.id,
        email,
        role,
        invited_by: person.user_id,
        created_at: now_ms,
        expires_at: now_ms + GOOD_MS,
    };
    store::put_invitation(&mut tx, &invitation, &token.hash()).await?;
    let changes = Changes::default().field("role", (), role);
    note(&mut tx, api, &Actor::from(&**person), &invitation, "invitation.created", changes).await?;
    let from = users::find(&mut tx, person.user_id).await?.map(|user| user.email).unwrap_or_default();
    let letters = Letters { public_url: &api.public_url };
    let mail = letters.invitation(&invitation.email, &from, &account.name, role.as_str(), &token);
    api.mail.send(&mut tx, &api.world, &mail).await?;
    tx.commit().await?;
    Ok(invitation)
}

/// Takes an invitation back.
pub(super) async fn revoke(api: &Api, person: &Person, id: InvitationId) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    let asks_as = store::role(&mut tx, person.account_id, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    if !asks_as.manages() {
        return Err(act::MemberError::NotAllowed.into());
    }
    let gone = store::remove_invitation(&mut tx, person.account_id, id).await?.ok_or_else(ApiError::not_found)?;
    let changes = Changes::default().field("role", gone.role, ());
    note(&mut tx, api, &Actor::from(&**person), &gone, "invitation.revoked", changes).await?;
    Ok(tx.commit().await?)
}

/// Whom a token invites, where it is good; nobody else takes it.
pub(super) async fn take(tx: &mut Tx, api: &Api, token: &Once) -> Result<Invitation, ApiError> {
    let taken = store::take_invitation(tx, &token.hash(), api.world.now_ms()).await?;
    taken.ok_or_else(|| ApiError::new(ErrorCode::OneTimeTokenInvalid))
}

/// The newest invitation of an address that somebody has proved to be theirs; nobody else takes it.
pub async fn take_of_address(tx: &mut Tx, api: &Api, email: &str) -> db::Result<Option<Invitation>> {
    store::take_newest_invitation(tx, email, api.world.now_ms()).await
}

/// Makes a person of somebody new who has proved the invited address, with an account of their own, and a member of the
/// inviting one. Where somebody has the address already there is a conflict.
pub async fn welcome(
    tx: &mut Tx,
    api: &Api,
    visitor: &Visitor,
    invitation: &Invitation,
    name: &str,
    password_hash: String,
) -> Result<(User, Revision), ApiError> {
    let signed_up = || ApiError::saying(ErrorCode::Conflict, "The address has an account already: sign in and accept there.");
    if users::find_by_email(&mut *tx, &invitation.email).await?.is_some() {
        return Err(signed_up());
    }
    // Before anything is emitted, which nobody may wait behind for a row.
    accounts::lock(tx, invitation.account_id).await?.ok_or_else(ApiError::not_found)?;
    let opened = auth::open(tx, &api.world, visitor, &invitation.email, name, password_hash).await;
    let (id, _, revision) = match opened {
        // Somebody has proved the same address at the same moment.
        Err(AccountError::Store(error)) if error.is_conflict("users_email_key") => return Err(signed_up()),
        other => other?,
    };
    let user = users::find(&mut *tx, id).await?.ok_or_else(ApiError::not_found)?;
    join(tx, api, &visitor.actor(id), &user, invitation).await?;
    Ok((user, revision))
}

/// Makes the person a member as the invitation says. One who is a member already keeps the role that they have.
pub(super) async fn join(tx: &mut Tx, api: &Api, actor: &Actor, user: &User, invitation: &Invitation) -> Result<(), ApiError> {
    let account = accounts::lock(tx, invitation.account_id).await?.ok_or_else(ApiError::not_found)?;
    if store::role(&mut *tx, account.id, user.id).await?.is_none() {
        store::insert(tx, account.id, user.id, invitation.role, api.world.now_ms()).await?;
        let changes = Changes::default().field("role", (), invitation.role);
        act::note(tx, &api.world, actor, account.id, "member.joined", user.id, changes).await?;
    }
    Ok(())
}

async fn note(
    tx: &mut Tx,
    api: &Api,
    actor: &Actor,
    of: &Invitation,
    action: &'static str,
    changes: Changes,
) -> Result<(), ApiError> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "invitation", object_id: &object_id, changes };
    Ok(audit::record(tx, &api.world, actor, event).await?)
}
