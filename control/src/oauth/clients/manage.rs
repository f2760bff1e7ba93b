//! Registering, changing and deleting clients, and giving them new secrets.

use clearway_config::{AccountId, ClientId, ErrorCode, Scope, SecretId, envelope::FieldIssue, scope::ADMIN};

use super::model::{AuthMethod, CLIENTS_MAX, Client, ClientUpdate, GrantType, NewClient, RegisteredBy, SECRETS_MAX};
use crate::{
    accounts, apps,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::{ApiError, issue},
    oauth::{
        assertion,
        opaque::{Kind, Opaque},
        redirect,
        revoke::{self, Ended},
        store::{clients as store, registration},
    },
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub(in crate::oauth) enum ClientError {
    #[error("no such client")]
    NotFound,
    #[error("no such account")]
    AccountNotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the account has {CLIENTS_MAX} clients")]
    Full,
    #[error("the account has {0} tokens to register by")]
    TooManyTokens(i64),
    #[error("it is an app's")]
    OfApp,
    #[error("it has no secret")]
    Public,
    #[error("it has {SECRETS_MAX} secrets in force")]
    TooManySecrets,
    #[error("the maker lacks a scope")]
    ScopeMissing(Scope),
    #[error("it cannot be registered so")]
    Unfit(FieldIssue),
    #[error("the client could not be stored")]
    Store(#[from] db::Error),
}

/// Registers a client of `account`. Its secret is in the answer and nowhere else; a public client has none.
pub(in crate::oauth) async fn create(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    new: NewClient,
) -> Result<(Client, Option<Opaque>), ClientError> {
    // Locks the account, so that two callers cannot both take the last place.
    accounts::lock(tx, account).await?.ok_or(ClientError::AccountNotFound)?;
    if registration::count(&mut *tx, account, false).await? >= CLIENTS_MAX {
        return Err(ClientError::Full);
    }
    insert(tx, world, actor, (account, None), new).await
}

/// The same where there is a place for it.
pub(in crate::oauth) async fn insert(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (account_id, registered_by): (AccountId, Option<RegisteredBy>),
    new: NewClient,
) -> Result<(Client, Option<Opaque>), ClientError> {
    let now_ms = world.now_ms();
    let NewClient {
        name,
        homepage,
        auth_method,
        grant_types,
        redirect_uris,
        scopes,
        access_lifetime,
        refresh_lifetime,
        jwks,
        dpop_bound,
    } = new;
    let client = Client {
        id: world.id(ClientId::new),
        account_id,
        name,
        homepage,
        auth_method,
        grant_types,
        redirect_uris,
        scopes,
        access_lifetime,
        refresh_lifetime,
        jwks,
        dpop_bound,
        registered_by,
        disabled_at: None,
        generation: 1,
        version: 1,
        created_at: now_ms,
        updated_at: now_ms,
    };
    check(&client, actor)?;
    store::insert(tx, &client).await?;
    let secret = if client.has_secret() { Some(mint(tx, world, client.id).await?) } else { None };
    let mut changes = described(None, Some(&client));
    if let Some(by) = registered_by {
        changes = changes.field("registered_by", (), by.to_string());
    }
    note(tx, world, actor, "oauth_client.created", &client, changes).await?;
    Ok((client, secret))
}

/// Changes the given fields; `expected` is the version that the caller has seen. Disabling ends all that was issued.
pub(in crate::oauth) async fn update(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, id, expected): (Option<AccountId>, ClientId, Option<i64>),
    update: ClientUpdate,
) -> Result<(Client, Ended), ClientError> {
    let old = seen(tx, bounds, id, expected).await?;
    let now_ms = world.now_ms();
    let disabled_at = match update.disabled {
        Some(true) => Some(old.disabled_at.unwrap_or(now_ms)),
        Some(false) => None,
        None => old.disabled_at,
    };
    let mut new = Client {
        name: update.name.unwrap_or_else(|| old.name.clone()),
        homepage: update.homepage.unwrap_or_else(|| old.homepage.clone()),
        grant_types: update.grant_types.unwrap_or_else(|| old.grant_types.clone()),
        redirect_uris: update.redirect_uris.unwrap_or_else(|| old.redirect_uris.clone()),
        scopes: update.scopes.unwrap_or_else(|| old.scopes.clone()),
        access_lifetime: update.access_lifetime.unwrap_or(old.access_lifetime),
        refresh_lifetime: update.refresh_lifetime.unwrap_or(old.refresh_lifetime),
        jwks: update.jwks.or_else(|| old.jwks.clone()),
        dpop_bound: update.dpop_bound.unwrap_or(old.dpop_bound),
        disabled_at,
        ..old.clone()
    };
    check(&new, actor)?;
    let changes = described(Some(&old), Some(&new));
    if changes.is_empty() {
        return Ok((old, Ended::default()));
    }
    (new.version, new.updated_at) = (old.version + 1, now_ms);
    let switched_off = new.disabled_at.is_some() && old.disabled_at.is_none();
    // Switched on again it begins anew: nothing that was issued before comes back.
    new.generation += i64::from(switched_off);
    store::save(tx, &new).await?;
    note(tx, world, actor, "oauth_client.updated", &new, changes).await?;
    let ended = if switched_off { revoke::end_of_client(tx, world, &old, "disabled").await? } else { Ended::default() };
    Ok((new, ended))
}

/// Deletes a client and all that was issued for it.
pub(in crate::oauth) async fn delete(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, id, expected): (Option<AccountId>, ClientId, Option<i64>),
) -> Result<Ended, ClientError> {
    let old = seen(tx, bounds, id, expected).await?;
    if apps::is_client(&mut *tx, id).await? {
        return Err(ClientError::OfApp);
    }
    note(tx, world, actor, "oauth_client.deleted", &old, described(Some(&old), None)).await?;
    store::delete(tx, &old).await?;
    Ok(Ended { grants: 0, revision: Some(revoke::void_client(tx, &old, world.now_ms()).await?) })
}

/// A new secret; the ones before it end after `overlap_s`, and never later than they would have.
pub(in crate::oauth) async fn rotate(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, id): (Option<AccountId>, ClientId),
    overlap_s: u64,
) -> Result<(Client, Opaque), ClientError> {
    let client = seen(tx, bounds, id, None).await?;
    if !client.has_secret() {
        return Err(ClientError::Public);
    }
    let now_ms = world.now_ms();
    let until = now_ms.saturating_add(i64::try_from(overlap_s).unwrap_or(0).saturating_mul(1_000));
    store::end_secrets(tx, id, until).await?;
    if store::count_secrets(tx, id, now_ms).await? >= SECRETS_MAX {
        return Err(ClientError::TooManySecrets);
    }
    let secret = mint(tx, world, id).await?;
    let changes = Changes::default().field("overlap", (), overlap_s);
    note(tx, world, actor, "oauth_client.rotated", &client, changes).await?;
    Ok((client, secret))
}

async fn mint(tx: &mut Tx, world: &World, client: ClientId) -> db::Result<Opaque> {
    let secret = Opaque::mint(Kind::ClientSecret, world);
    store::insert_secret(tx, world.id(SecretId::new), client, &secret.hash(), world.now_ms()).await?;
    Ok(secret)
}

/// Whether the parts fit each other, and the caller may give out what the client could ask for.
fn check(client: &Client, actor: &Actor) -> Result<(), ClientError> {
    let unfit = |field: &str, why: String| Err(ClientError::Unfit(issue(field, "format_invalid", why)));
    let by_code = client.may(GrantType::AuthorizationCode);
    if client.grant_types.is_empty() {
        return unfit("grant_types", "must name at least one".into());
    }
    if client.may(GrantType::RefreshToken) && !by_code && !client.may(GrantType::DeviceCode) {
        return unfit("grant_types", "refresh_token goes with authorization_code or the device flow".into());
    }
    if client.may(GrantType::ClientCredentials) && !client.is_confidential() {
        return unfit("grant_types", "client_credentials needs a client that can prove that it is itself".into());
    }
    if by_code == client.redirect_uris.is_empty() {
        return unfit("redirect_uris", "must be there where authorization_code is a grant type, and only then".into());
    }
    for (n, uri) in client.redirect_uris.iter().enumerate() {
        if let Err(why) = redirect::check(uri, !client.is_confidential()) {
            return unfit("redirect_uris", format!("entry {}: {why}", n + 1));
        }
    }
    match (&client.jwks, client.auth_method == AuthMethod::PrivateKeyJwt) {
        (Some(jwks), true) => {
            if let Err(why) = assertion::check_keys(jwks) {
                return unfit("jwks", why);
            }
        }
        (None, false) => {}
        _ => return unfit("jwks", "must be there where the client authenticates by private_key_jwt, and only then".into()),
    }
    if client.scopes.contains(ADMIN) {
        return unfit("scopes", format!("{ADMIN} is given to no application"));
    }
    if let Actor::Caller(caller) = actor
        && client.may(GrantType::ClientCredentials)
        && let Some(missing) = caller.scopes.missing(&client.scopes)
    {
        // People are asked; where nobody is, a client can do no more than whoever registers it.
        return Err(ClientError::ScopeMissing(missing.clone()));
    }
    Ok(())
}

async fn seen(tx: &mut Tx, bounds: Option<AccountId>, id: ClientId, expected: Option<i64>) -> Result<Client, ClientError> {
    let found = store::lock(tx, bounds, id).await?.ok_or(ClientError::NotFound)?;
    if expected.is_some_and(|expected| found.version != expected) {
        return Err(ClientError::Changed);
    }
    Ok(found)
}

/// One field of a client, for the audit log.
type Field = fn(&Client) -> serde_json::Value;

fn described(old: Option<&Client>, new: Option<&Client>) -> Changes {
    let both = |of: Field| (old.map(of), new.map(of));
    let fields: [(&str, Field); 10] = [
        ("name", |c| c.name.clone().into()),
        ("homepage", |c| c.homepage.clone().into()),
        ("grant_types", |c| serde_json::json!(c.grant_types)),
        ("redirect_uris", |c| serde_json::json!(c.redirect_uris)),
        ("scopes", |c| serde_json::json!(c.scopes)),
        ("access_token_lifetime", |c| c.access_lifetime.into()),
        ("refresh_token_lifetime", |c| c.refresh_lifetime.into()),
        ("jwks", |c| c.jwks.clone().into()),
        ("dpop_bound_access_tokens", |c| c.dpop_bound.into()),
        ("disabled", |c| c.disabled_at.is_some().into()),
    ];
    fields.into_iter().fold(Changes::default(), |changes, (name, of)| {
        let (before, after) = both(of);
        changes.field(name, before, after)
    })
}

async fn note(tx: &mut Tx, world: &World, actor: &Actor, action: &'static str, of: &Client, changes: Changes) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "oauth_client", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotFound | ClientError::AccountNotFound => ApiError::not_found(),
            ClientError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            ClientError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {CLIENTS_MAX} applications already, which is the most."),
            ),
            ClientError::TooManyTokens(max) => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {max} such tokens already, which is the most."),
            ),
            ClientError::OfApp => {
                ApiError::saying(ErrorCode::Conflict, "It is an app's: take it away from the app first, or switch it off.")
            }
            ClientError::Public => ApiError::saying(ErrorCode::Conflict, "The application has no secret."),
            ClientError::TooManySecrets => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("{SECRETS_MAX} secrets are in force already; rotate without overlap."),
            ),
            ClientError::ScopeMissing(scope) => ApiError::scope_missing(&scope),
            ClientError::Unfit(issue) => ApiError::invalid(&[issue]),
            ClientError::Store(error) => error.into(),
        }
    }
}
