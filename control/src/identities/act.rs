//! Signing in by an identity, linking one and taking one away.

use clearway_config::{ErrorCode, IdentityId, SessionId, UserId, settings::process::Registration};

use super::store::{self, Identity};
use crate::{
    accounts::AccountError,
    audit::{self, Actor, Changes, Event},
    auth::{self, FormStep, Letters, Visitor, sign_in_proved},
    db::Tx,
    http::{Api, ApiError, Person},
    members,
    providers::{Profile, Provider},
    sessions,
    sync::Wait,
    users::{self, User},
};

/// Identities of one person.
pub(super) const IDENTITIES_MAX: i64 = 10;
const TAKEN: &str = "identities_issuer_subject_key";

/// Begins a session for whom the provider says that it is, or asks for the second factor. Whoever is not known is made a
/// person, where nobody has the address and anybody may become one, or the address is invited.
pub(super) async fn sign_in(api: &Api, visitor: &Visitor, provider: &Provider, profile: &Profile) -> Result<FormStep, ApiError> {
    match store::find(&api.db, profile).await? {
        Some(identity) => known(api, visitor, identity, profile).await,
        None => newcomer(api, visitor, provider, profile).await,
    }
}

async fn known(api: &Api, visitor: &Visitor, identity: Identity, profile: &Profile) -> Result<FormStep, ApiError> {
    let gone = || ApiError::new(ErrorCode::ProviderAnswerUnknown);
    let mut tx = api.db.begin().await?;
    // Read again: it may have been taken away meanwhile.
    let identity = store::find(&mut tx, profile).await?.filter(|now| now.id == identity.id).ok_or_else(gone)?;
    let user = users::find(&mut tx, identity.user_id).await?.ok_or_else(gone)?;
    store::note_use(&mut tx, identity.id, profile.email.as_deref(), api.world.now_ms()).await?;
    let step = sign_in_proved(&mut tx, api, visitor, user).await?;
    tx.commit().await?;
    Ok(step)
}

async fn newcomer(api: &Api, visitor: &Visitor, provider: &Provider, profile: &Profile) -> Result<FormStep, ApiError> {
    let email = profile.email.as_ref().ok_or_else(|| ApiError::new(ErrorCode::ProviderAddressUnverified))?;
    // Whoever comes with an address has proved it there, so that they may be told; but by that alone they get no account
    // that somebody has made here.
    let unlinked = || ApiError::new(ErrorCode::IdentityUnlinked);
    if users::find_by_email(&api.db, email).await?.is_some() {
        return Err(unlinked());
    }
    let closed = || ApiError::new(ErrorCode::RegistrationClosed);
    let mut tx = api.db.begin().await?;
    // Without a password: one can be set by the mailed link.
    let (user, revision) = match api.registration {
        Registration::Closed => return Err(closed()),
        // The provider has verified what the mailed token would prove. They are let in for this account's sake, and so join it.
        Registration::Invited => {
            let invitation = members::take_of_address(&mut tx, api, email).await?.ok_or_else(closed)?;
            members::welcome(&mut tx, api, visitor, &invitation, &profile.name, String::new()).await?
        }
        Registration::Open => {
            let opened = auth::open(&mut tx, &api.world, visitor, email, &profile.name, String::new()).await;
            let (id, _, revision) = match opened {
                Err(AccountError::Store(error)) if error.is_conflict("users_email_key") => return Err(unlinked()),
                other => other?,
            };
            (users::find(&mut tx, id).await?.ok_or_else(ApiError::not_found)?, revision)
        }
    };
    let id = user.id;
    insert(&mut tx, api, &visitor.actor(id), &user, provider, profile).await?;
    let step = sign_in_proved(&mut tx, api, visitor, user).await?;
    tx.commit().await?;
    tracing::info!(user.id = %id, "a person has registered by a provider");
    api.hub.propagated(revision, Wait::Briefly).await;
    Ok(step)
}

/// Links what the provider says to the person who has asked for that, if they are still signed in.
pub(super) async fn link(
    api: &Api,
    visitor: &Visitor,
    provider: &Provider,
    profile: &Profile,
    (id, session): (UserId, SessionId),
) -> Result<(), ApiError> {
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let user = users::lock(&mut tx, id).await?.filter(|user| user.suspended_at.is_none());
    let user = user.ok_or_else(|| ApiError::new(ErrorCode::SessionExpired))?;
    if !sessions::in_force(&mut tx, id, session, now_ms).await? {
        return Err(ApiError::new(ErrorCode::SessionExpired));
    }
    match store::find(&mut tx, profile).await? {
        Some(identity) if identity.user_id == id => return Ok(()),
        Some(_) => return Err(taken()),
        None => {}
    }
    let held = store::of_person(&mut tx, id, IDENTITIES_MAX).await?.len();
    if i64::try_from(held).unwrap_or(i64::MAX) >= IDENTITIES_MAX {
        let message = format!("A person has at most {IDENTITIES_MAX} identities: take one away first.");
        return Err(ApiError::saying(ErrorCode::ObjectLimitReached, message));
    }
    insert(&mut tx, api, &visitor.actor(id), &user, provider, profile).await?;
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.identity_linked(&user.email, &provider.title)).await?;
    Ok(tx.commit().await?)
}

async fn insert(
    tx: &mut Tx,
    api: &Api,
    actor: &Actor,
    user: &User,
    provider: &Provider,
    profile: &Profile,
) -> Result<(), ApiError> {
    let id = api.world.id(IdentityId::new);
    match store::insert(tx, id, user.id, &provider.name, profile, api.world.now_ms()).await {
        Err(error) if error.is_conflict(TAKEN) => return Err(taken()),
        other => other?,
    }
    let object_id = id.to_string();
    let changes = Changes::default().field("provider", (), &provider.name);
    let event =
        Event { action: "identity.linked", account_id: user.account_id, object_kind: "identity", object_id: &object_id, changes };
    Ok(audit::record(tx, &api.world, actor, event).await?)
}

/// Takes an identity away; never the last way to sign in.
pub(super) async fn unlink(api: &Api, person: &Person, id: IdentityId) -> Result<(), ApiError> {
    auth::themselves(person)?;
    let mut tx = api.db.begin().await?;
    let user = users::lock(&mut tx, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    let held = store::of_person(&mut tx, user.id, IDENTITIES_MAX).await?;
    let identity = held.iter().find(|identity| identity.id == id).ok_or_else(ApiError::not_found)?;
    if user.password_hash.is_empty() && held.len() == 1 {
        let message = "It is the only way to sign in: set a password first, by /auth/reset-password.";
        return Err(ApiError::saying(ErrorCode::Conflict, message));
    }
    if !store::remove(&mut tx, user.id, id).await? {
        return Err(ApiError::not_found());
    }
    let object_id = id.to_string();
    let changes = Changes::default().field("provider", &identity.provider, ());
    let event = Event {
        action: "identity.unlinked",
        account_id: person.account_id,
        object_kind: "identity",
        object_id: &object_id,
        changes,
    };
    audit::record(&mut tx, &api.world, &Actor::from(&**person), event).await?;
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.identity_unlinked(&user.email, &identity.provider)).await?;
    Ok(tx.commit().await?)
}

fn taken() -> ApiError {
    ApiError::saying(ErrorCode::Conflict, "Somebody here has this identity already.")
}
