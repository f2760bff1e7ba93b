//! Applications that register themselves (RFC 7591), and look after their registration (RFC 7592): who may is the settings'
//! choice, and by default nobody.
//!
//! By a token that an account has made, an application is that account's, within what the token says. Where anyone may register
//! one, it is the platform's: people are told that nobody has looked at it, it acts for people only, and it is gone after a
//! day in which nobody has let it do anything. Nothing that a registration names is ever fetched.

mod metadata;
mod tokens;

use clearway_config::{AccountId, ClientId, Scopes, settings::process::ClientRegistration};
use subtle::ConstantTimeEq;

pub(super) use self::{
    metadata::described,
    tokens::{LIFE_S_MAX, NewToken, Token, USES_MAX, create, remove},
};
use super::{
    clients::{self, Client, ClientError, ClientUpdate, GrantType, NewClient, RegisteredBy},
    opaque::{Kind, Opaque},
    refusal::{Refusal, Word},
    revoke::Ended,
    store::registration as store,
};
use crate::{accounts, audit::Actor, db::Tx, http::Api};

/// How long an application that anyone may register is kept while nobody lets it do anything.
pub(super) const UNUSED_MS: i64 = 24 * 3_600 * 1_000;

/// What an application may register itself for.
#[derive(Debug)]
struct Bounds {
    account: AccountId,
    by: RegisteredBy,
    scopes: Scopes,
    grant_types: Vec<GrantType>,
}

/// An application that has just registered itself.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) client: Client,
    pub(super) secret: Option<Opaque>,
    /// What it looks after itself by.
    pub(super) access: Opaque,
}

/// Registers an application. `shown` is the token that it came with.
pub(super) async fn register(
    tx: &mut Tx,
    api: &Api,
    shown: Option<&str>,
    said: &serde_json::Map<String, serde_json::Value>,
) -> Result<Registered, Refusal> {
    let bounds = bounds(tx, api, shown).await?;
    let new = metadata::read(said, &bounds.scopes, &bounds.grant_types)?;
    let held = accounts::lock(tx, bounds.account).await?;
    held.ok_or_else(Refusal::invalid_token)?;
    let anyone = bounds.by == RegisteredBy::Anyone;
    let max = if anyone { i64::from(api.oauth.open_max) } else { clients::CLIENTS_MAX };
    if store::count(tx, bounds.account, anyone).await? >= max {
        return Err(Refusal::new(Word::SlowDown, "There are as many applications as there may be."));
    }
    let (world, by) = (&api.world, bounds.by);
    let made = clients::insert(tx, world, &Actor::System, (bounds.account, Some(by)), new).await;
    let (client, secret) = made.map_err(unfit)?;
    let access = Opaque::mint(Kind::RegistrationAccess, world);
    store::set_access(tx, client.id, &access.hash()).await?;
    Ok(Registered { client, secret, access })
}

async fn bounds(tx: &mut Tx, api: &Api, shown: Option<&str>) -> Result<Bounds, Refusal> {
    let policy = api.oauth.registration;
    if let Some(shown) = shown {
        let token = Opaque::parse(Kind::Registration, shown).ok_or_else(Refusal::invalid_token)?;
        let token = store::take_use(tx, &token.hash(), api.world.now_ms()).await?.ok_or_else(Refusal::invalid_token)?;
        let Token { id, account_id: account, scopes, grant_types, .. } = token;
        return Ok(Bounds { account, by: RegisteredBy::Token(id), scopes, grant_types });
    }
    if policy != ClientRegistration::Open {
        return Err(Refusal::invalid_token());
    }
    let account = accounts::platform(&mut *tx).await?;
    Ok(Bounds {
        account: account.ok_or_else(|| Refusal::new(Word::ServerError, "Try again."))?,
        by: RegisteredBy::Anyone,
        scopes: api.oauth.open_scopes.clone().into(),
        // For people alone, who see a page each time: whoever sends codes of devices to others needs no address of its own.
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
    })
}

fn unfit(error: ClientError) -> Refusal {
    match error {
        ClientError::Unfit(issue) => {
            let word = if issue.field == "redirect_uris" { Word::InvalidRedirectUri } else { Word::InvalidClientMetadata };
            Refusal::new(word, format!("{} {}.", issue.field, issue.message))
        }
        ClientError::Store(error) => error.into(),
        _ => Refusal::new(Word::InvalidClientMetadata, "It cannot be registered so."),
    }
}

/// The application that proves by `shown` that it is the one that was registered as `id`. Whatever is wrong is told in the same
/// words (RFC 7592, 2).
pub(super) async fn proved(tx: &mut Tx, id: ClientId, shown: Option<&str>) -> Result<Client, Refusal> {
    let shown = shown.and_then(|shown| Opaque::parse(Kind::RegistrationAccess, shown)).ok_or_else(Refusal::invalid_token)?;
    let known = store::access(tx, id).await?.ok_or_else(Refusal::invalid_token)?;
    if !bool::from(known.as_slice().ct_eq(&shown.hash())) {
        return Err(Refusal::invalid_token());
    }
    super::store::clients::lock(tx, None, id).await?.ok_or_else(Refusal::invalid_token)
}

/// Replaces what it was registered with by what it says now (RFC 7592, 2.2). Never more than it has: what its account has taken
/// from it, it does not give itself again, nor does whoever has stolen the token. How it authenticates stays.
pub(super) async fn replace(
    tx: &mut Tx,
    api: &Api,
    client: &Client,
    said: &serde_json::Map<String, serde_json::Value>,
) -> Result<Client, Refusal> {
    metadata::check_names(said, client.id)?;
    if let Some(secret) = said.get("client_secret") {
        let known = super::store::clients::secrets(&mut *tx, client.id, api.world.now_ms()).await?;
        let given =
            secret.as_str().and_then(|secret| Opaque::parse(Kind::ClientSecret, secret)).map_or([0; 32], |given| given.hash());
        if !known.iter().fold(false, |right, hash| right | bool::from(hash.as_slice().ct_eq(&given))) {
            return Err(Refusal::new(Word::InvalidClientMetadata, "client_secret is not the one that was given."));
        }
    }
    let NewClient { name, homepage, auth_method, grant_types, redirect_uris, scopes, jwks, dpop_bound, .. } =
        metadata::read(said, &client.scopes, &client.grant_types)?;
    if jwks.is_none() && client.jwks.is_some() {
        return Err(Refusal::new(Word::InvalidClientMetadata, "jwks must be there."));
    }
    if auth_method != client.auth_method {
        return Err(Refusal::new(Word::InvalidClientMetadata, "token_endpoint_auth_method must stay as it is."));
    }
    let update = ClientUpdate {
        name: Some(name),
        homepage: Some(homepage),
        grant_types: Some(grant_types),
        redirect_uris: Some(redirect_uris),
        scopes: Some(scopes),
        jwks,
        dpop_bound: Some(dpop_bound || client.dpop_bound),
        ..ClientUpdate::default()
    };
    let changed = clients::update(tx, &api.world, &Actor::System, (None, client.id, None), update).await;
    changed.map(|(client, _)| client).map_err(unfit)
}

/// It takes itself away, with all that people have let it do.
pub(super) async fn leave(tx: &mut Tx, api: &Api, client: &Client) -> Result<Ended, Refusal> {
    let gone = clients::delete(tx, &api.world, &Actor::System, (None, client.id, None)).await;
    gone.map_err(|error| match error {
        ClientError::OfApp => Refusal::new(Word::Authorization("access_denied"), "It is an app's, and goes with the app."),
        error => unfit(error),
    })
}
