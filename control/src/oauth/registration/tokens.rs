//! Initial access tokens (RFC 7591, 3): by which applications register themselves in an account, within what the token says.

use clearway_config::{AccountId, RegistrationTokenId, Scopes, scope::ADMIN};

use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::Tx,
    http::issue,
    oauth::{
        clients::{ClientError, GrantType},
        opaque::{Kind, Opaque},
        store::registration as store,
    },
    world::World,
};

/// Tokens of one account at most.
const TOKENS_MAX: i64 = 20;
/// How often one may be used.
pub(in crate::oauth) const USES_MAX: u64 = 100;
/// Seconds that one may last.
pub(in crate::oauth) const LIFE_S_MAX: u64 = 90 * 24 * 3_600;

#[derive(Debug, Clone)]
pub(in crate::oauth) struct Token {
    pub(in crate::oauth) id: RegistrationTokenId,
    pub(in crate::oauth) account_id: AccountId,
    pub(in crate::oauth) name: String,
    /// The most that an application may ask for.
    pub(in crate::oauth) scopes: Scopes,
    /// Those that one may have.
    pub(in crate::oauth) grant_types: Vec<GrantType>,
    pub(in crate::oauth) uses_max: i64,
    pub(in crate::oauth) uses: i64,
    pub(in crate::oauth) created_at: i64,
    pub(in crate::oauth) expires_at: i64,
}

#[derive(Debug)]
pub(in crate::oauth) struct NewToken {
    pub(in crate::oauth) name: String,
    pub(in crate::oauth) scopes: Scopes,
    pub(in crate::oauth) grant_types: Vec<GrantType>,
    pub(in crate::oauth) uses: i64,
    /// In seconds.
    pub(in crate::oauth) lifetime: i64,
}

/// Makes a token. What applications do by themselves is no more than its maker may.
pub(in crate::oauth) async fn create(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account_id: AccountId,
    new: NewToken,
) -> Result<(Token, Opaque), ClientError> {
    let now_ms = world.now_ms();
    let NewToken { name, scopes, grant_types, uses, lifetime } = new;
    let unfit = |field: &str, why: String| Err(ClientError::Unfit(issue(field, "format_invalid", why)));
    if grant_types.is_empty() {
        return unfit("grant_types", "must name at least one".into());
    }
    if scopes.contains(ADMIN) {
        return unfit("scopes", format!("{ADMIN} is given to no application"));
    }
    if let Actor::Caller(caller) = actor
        && grant_types.contains(&GrantType::ClientCredentials)
        && let Some(missing) = caller.scopes.missing(&scopes)
    {
        return Err(ClientError::ScopeMissing(missing.clone()));
    }
    // Locks the account, so that two callers cannot both take the last place.
    accounts::lock(tx, account_id).await?.ok_or(ClientError::AccountNotFound)?;
    if store::count_tokens(tx, account_id, now_ms).await? >= TOKENS_MAX {
        return Err(ClientError::TooManyTokens(TOKENS_MAX));
    }
    let plain = Opaque::mint(Kind::Registration, world);
    let token = Token {
        id: world.id(RegistrationTokenId::new),
        account_id,
        name,
        scopes,
        grant_types,
        uses_max: uses,
        uses: 0,
        created_at: now_ms,
        expires_at: now_ms + lifetime * 1_000,
    };
    store::insert_token(tx, &token, &plain.hash()).await?;
    note(tx, world, actor, "oauth_registration_token.created", &token).await?;
    Ok((token, plain))
}

/// Takes a token away; what has registered itself by it goes on.
pub(in crate::oauth) async fn remove(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, id): (Option<AccountId>, RegistrationTokenId),
) -> Result<(), ClientError> {
    let token = store::find_token(tx, bounds, id).await?.ok_or(ClientError::NotFound)?;
    store::remove_token(tx, id).await?;
    note(tx, world, actor, "oauth_registration_token.deleted", &token).await?;
    Ok(())
}

async fn note(tx: &mut Tx, world: &World, actor: &Actor, action: &'static str, of: &Token) -> crate::db::Result<()> {
    let object_id = of.id.to_string();
    let changes = Changes::default()
        .field("name", (), of.name.clone())
        .field("scopes", (), serde_json::json!(of.scopes))
        .field("grant_types", (), serde_json::json!(of.grant_types))
        .field("uses_max", (), of.uses_max);
    let event =
        Event { action, account_id: of.account_id, object_kind: "oauth_registration_token", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}
