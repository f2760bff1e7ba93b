//! Pushed authorization requests (RFC 9126): the client says by itself what it asks for, and the browser carries no more than a
//! name for that. A person decides on each at most once.

use clearway_config::ClientId;

use super::{
    clients::Client,
    opaque::{Kind, Opaque},
    params::Params,
    store::requests as store,
};
use crate::{
    db::{self, Db, Tx},
    world::World,
};

/// What comes before the random part of a name (RFC 9126, 2.2).
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// How long a person may take to sign in and to decide.
pub(super) const LIFE_MS: i64 = 5 * 60 * 1_000;
/// Of a request, what may be pushed: how the client proved itself is no part of it.
const PARAMS: &[&str] = &[
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "resource",
    "dpop_jkt",
    "nonce",
    "prompt",
    "max_age",
];

/// Keeps a request that was read and found to be one; what names it. `jkt` is the thumbprint of the key that was proved with it.
pub(super) async fn keep(db: &Db, world: &World, client: &Client, params: &Params, jkt: Option<String>) -> db::Result<String> {
    let name = Opaque::mint(Kind::Request, world);
    let kept = PARAMS.iter().filter_map(|name| params.get(name).map(|value| ((*name).to_owned(), value.to_owned())));
    let proved = jkt.map(|jkt| ("dpop_jkt".to_owned(), jkt));
    store::insert(db, &name.hash(), client.id, kept.chain(proved).collect(), world.now_ms() + LIFE_MS).await?;
    Ok(format!("{PREFIX}{}", name.reveal()))
}

/// What a name that was given to `client` stands for, as parameters of a request. `None`: nothing, or not any more.
pub(super) async fn find(db: &Db, client: ClientId, request_uri: &str, now_ms: i64) -> db::Result<Option<Params>> {
    let Some(hash) = hash(request_uri) else { return Ok(None) };
    let found = store::find(db, &hash, client, now_ms).await?;
    Ok(found.map(|pairs| Params::of_pairs(pairs.into_iter().chain([("client_id".to_owned(), client.to_string())]))))
}

/// Takes the request away: it is decided now. Whether nobody had before.
pub(super) async fn take(tx: &mut Tx, request_uri: &str, now_ms: i64) -> db::Result<bool> {
    match hash(request_uri) {
        Some(hash) => store::take(tx, &hash, now_ms).await,
        None => Ok(false),
    }
}

fn hash(request_uri: &str) -> Option<[u8; 32]> {
    Opaque::parse(Kind::Request, request_uri.strip_prefix(PREFIX)?).map(|name| name.hash())
}
