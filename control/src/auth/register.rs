//! Registering: what is asked for waits until the address was proved; then there are a person and their account.

use clearway_config::{AccountId, ErrorCode, UserId, settings::process::Registration as Policy};
use zeroize::Zeroizing;

use super::{Letters, Once, Visitor, attempts, store};
use crate::{
    accounts::{self, AccountError},
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{self, NewEvent, Time, account::UserSignedUp},
    http::{Api, ApiError},
    members::{self, Role},
    passwords, plans,
    sync::Revision,
    users::{self, NewUser},
    world::World,
};

/// How long the mailed token is good.
const PROVED_WITHIN_MS: i64 = 24 * 60 * 60 * 1_000;

/// What somebody wants to be registered with.
pub(super) struct Wish {
    pub(super) email: String,
    pub(super) password: Zeroizing<String>,
    pub(super) name: String,
}

/// Takes the wish and mails to the address. The same is done and answered whether somebody has it or not.
pub(super) async fn register(api: &Api, visitor: &Visitor, wish: Wish) -> Result<(), ApiError> {
    if api.registration != Policy::Open {
        return Err(ApiError::new(ErrorCode::RegistrationClosed));
    }
    let Wish { email, password, name } = wish;
    weak(&password, &[&email, &name], "password")?;
    let password_hash = api.passwords.hash(password).await?;
    let mut tx = api.db.begin().await?;
    if attempts::count_mail(&mut tx, &api.world, "register", &email, visitor.address).await? {
        let wanted = store::Registration { email, name, password_hash };
        ask(&mut tx, api, &wanted).await?;
    }
    Ok(tx.commit().await?)
}

/// Mails once more to an address that is still to be proved.
pub(super) async fn ask_again(api: &Api, visitor: &Visitor, email: &str) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    if attempts::count_mail(&mut tx, &api.world, "register", email, visitor.address).await?
        && let Some(waiting) = store::newest_registration(&mut tx, email, api.world.now_ms()).await?
    {
        ask(&mut tx, api, &waiting).await?;
    }
    Ok(tx.commit().await?)
}

async fn ask(tx: &mut Tx, api: &Api, wanted: &store::Registration) -> db::Result<()> {
    let letters = Letters { public_url: &api.public_url };
    if users::find_by_email(&mut *tx, &wanted.email).await?.is_some() {
        return api.mail.send(tx, &api.world, &letters.registered_already(&wanted.email)).await;
    }
    let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
    store::insert_registration(tx, &token.hash(), wanted, now_ms, now_ms + PROVED_WITHIN_MS).await?;
    api.mail.send(tx, &api.world, &letters.verify(&wanted.email, &token)).await
}

/// Makes the person whose address is proved by this token, and their account.
pub(super) async fn verify(api: &Api, visitor: &Visitor, token: &Once) -> Result<(UserId, Revision), ApiError> {
    let unusable = || ApiError::new(ErrorCode::OneTimeTokenInvalid);
    let mut tx = api.db.begin().await?;
    let taken = store::take_registration(&mut tx, &token.hash(), api.world.now_ms()).await?.ok_or_else(unusable)?;
    let store::Registration { email, name, password_hash } = taken;
    if users::find_by_email(&mut tx, &email).await?.is_some() {
        return Err(unusable());
    }
    let (user, _, revision) = match open(&mut tx, &api.world, visitor, &email, &name, password_hash).await {
        // Somebody else has proved the same address at the same moment.
        Err(AccountError::Store(error)) if error.is_conflict("users_email_key") => return Err(unusable()),
        other => other?,
    };
    tx.commit().await?;
    tracing::info!(user.id = %user, "a person has registered");
    Ok((user, revision))
}

/// A person of a proved address, with an account of their own on the first plan on offer.
pub async fn open(
    tx: &mut Tx,
    world: &World,
    visitor: &Visitor,
    email: &str,
    name: &str,
    password_hash: String,
) -> Result<(UserId, AccountId, Revision), AccountError> {
    let now_ms = world.now_ms();
    store::forget_registrations(tx, email).await?;
    let id = world.id(UserId::new);
    let actor: Actor = visitor.actor(id);
    let plan = plans::first_offered(tx).await?;
    let called = if name.is_empty() { email } else { name };
    let (account, revision) = accounts::open(tx, world, &actor, called.to_owned(), plan).await?;
    users::insert(tx, &NewUser { id, account: account.id, email, name, password_hash, now_ms }).await?;
    members::join(tx, account.id, id, Role::Owner, now_ms).await?;
    let object_id = id.to_string();
    let changes = Changes::default().field("role", (), Role::Owner);
    let event = Event { action: "user.created", account_id: account.id, object_kind: "user", object_id: &object_id, changes };
    audit::record(tx, world, &actor, event).await?;
    let user = events::User { user_id: object_id, role: Role::Owner.as_str().to_owned() };
    let signed_up = UserSignedUp { user, signed_up_at: Time(now_ms) };
    events::emit(tx, world, NewEvent::of(account.id, &signed_up)).await?;
    Ok((id, account.id, revision))
}

/// Refuses a password that is not taken, as a fault of the form's field.
pub fn weak(password: &str, words: &[&str], field: &str) -> Result<(), ApiError> {
    passwords::check(password, words).map_err(|why| ApiError::invalid(&[crate::http::issue(field, "too_weak", why.to_string())]))
}
