//! Ending what was issued: a grant, everything of a client or a person, or one access token.
//!
//! Refresh tokens end with their grant's row. Access tokens are verified without a call, so that what ends before its time is
//! remembered, told to the proxies in the same transaction, and acknowledged by them as a key's revocation is.

use clearway_config::{AccountId, ClientId, Scopes, TokenId, UserId};

use super::{
    ACCESS_LIFETIME_MAX,
    clients::Client,
    grants::Grant,
    store::{clients, grants, refresh, revocations},
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// How much longer than a token can last its revocation is remembered: clocks differ.
const LEEWAY_MS: i64 = 3_600 * 1_000;

/// What was ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ended {
    pub grants: u64,
    /// Once the proxies have it, nothing of it is taken any more. `None`: there was nothing.
    pub revision: Option<Revision>,
}

/// Ends a grant. Doing it again changes nothing, but gives a revision to wait for.
pub(super) async fn end(tx: &mut Tx, world: &World, actor: &Actor, grant: &Grant, why: &'static str) -> db::Result<Ended> {
    let now_ms = world.now_ms();
    let id = grant.id.to_string();
    let was = grants::end(tx, grant.id, why, now_ms).await?;
    if was {
        refresh::forget_answers(tx, grant.id).await?;
        let changes = Changes::default().field("revoked_for", (), why).field("client_id", (), grant.client_id);
        let event = Event {
            action: "oauth_grant.revoked",
            account_id: grant.account_id,
            object_kind: "oauth_grant",
            object_id: &id,
            changes,
        };
        audit::record(tx, world, actor, event).await?;
    }
    Ok(Ended { grants: was.into(), revision: Some(void(tx, &id, now_ms).await?) })
}

/// Ends all that was issued for a client, now and while the revocation is remembered.
pub(super) async fn end_of_client(tx: &mut Tx, world: &World, client: &Client, why: &'static str) -> db::Result<Ended> {
    let now_ms = world.now_ms();
    let ended = grants::end_of_client(tx, client.id, why, now_ms).await?;
    Ok(Ended { grants: ended, revision: Some(void_client(tx, client, now_ms).await?) })
}

/// Has every access token of a client refused.
pub(super) async fn void_client(tx: &mut Tx, client: &Client, now_ms: i64) -> db::Result<Revision> {
    void(tx, &client_generation(client.id, client.generation), now_ms).await
}

/// What names all that was issued for a client since it was last ended at once.
pub(super) fn client_generation(id: ClientId, generation: i64) -> String {
    format!("{id}/{generation}")
}

/// Ends all that was issued for a client of `account`, and has it begin anew: what it stands for is another thing now. `None`:
/// the account has no such client.
pub async fn begin_anew(tx: &mut Tx, world: &World, account: AccountId, id: ClientId) -> db::Result<Option<Ended>> {
    let Some(client) = clients::lock(tx, Some(account), id).await? else { return Ok(None) };
    let ended = end_of_client(tx, world, &client, "linked").await?;
    let anew = Client { generation: client.generation + 1, version: client.version + 1, updated_at: world.now_ms(), ..client };
    clients::save(tx, &anew).await?;
    Ok(Some(ended))
}

/// Grants whose rows are locked. Acts lock all that they end before they tell of any of it.
#[derive(Debug, Default)]
pub struct Held(Vec<Grant>);

impl Held {
    /// Those that have more than `granted`.
    #[must_use]
    pub fn beyond(self, granted: &Scopes) -> Self {
        Self(self.0.into_iter().filter(|grant| granted.missing(&grant.scopes).is_some()).collect())
    }
}

/// Locks what people of an account have let a client do there.
pub async fn hold(tx: &mut Tx, account: AccountId, client: ClientId) -> db::Result<Held> {
    grants::lock_in_account(tx, account, client).await.map(Held)
}

/// Ends them, for a reason in a word.
pub async fn end_held(tx: &mut Tx, world: &World, actor: &Actor, held: &Held, why: &'static str) -> db::Result<Ended> {
    let mut all = Ended::default();
    for grant in &held.0 {
        let ended = end(tx, world, actor, grant, why).await?;
        all = Ended { grants: all.grants + ended.grants, revision: ended.revision.or(all.revision) };
    }
    Ok(all)
}

/// Ends what a person has let applications do, in one account or in all: they left it, or are gone.
pub async fn end_of_person(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    user: UserId,
    account: Option<AccountId>,
) -> db::Result<Ended> {
    let held = Held(grants::lock_of_person(tx, user, account).await?);
    end_held(tx, world, actor, &held, "person").await
}

/// Has one access token refused.
pub(super) async fn end_token(tx: &mut Tx, id: TokenId, now_ms: i64) -> db::Result<Revision> {
    void(tx, &id.to_string(), now_ms).await
}

async fn void(tx: &mut Tx, id: &str, now_ms: i64) -> db::Result<Revision> {
    revocations::put(tx, id, now_ms + ACCESS_LIFETIME_MAX * 1_000 + LEEWAY_MS, now_ms).await?;
    sync::record(tx, ChangeKind::OauthRevocation, id, now_ms).await
}
