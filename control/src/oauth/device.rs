//! Devices without a browser (RFC 8628): the device shows a short code, a person who has signed in elsewhere types it and agrees,
//! and the device, which asks again and again meanwhile, is given tokens.
//!
//! Somebody may be talked into typing a code that an attacker has begun with (RFC 8628, 5.4). The page says so, names the
//! application, and shows the code to compare; nothing here can know whose device it is.

use clearway_config::{ClientId, GrantId};
use serde_json::{Value, json};

use super::{
    authorize::Wanted,
    clients::Client,
    code::Shown,
    grants::Grant,
    issue::{self, First},
    opaque::{Kind, Opaque},
    refusal::{Refusal, Word},
    resource::Resource,
    revoke::Ended,
    signing::Signer,
    store::{devices as store, grants},
    token,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::{Api, Caller},
    world::World,
};

/// How long a person may take to type a code and agree.
const LIFE_MS: i64 = 10 * 60 * 1_000;
/// Seconds that a device waits between two questions, unless it was told to slow down (RFC 8628, 3.2).
const PAUSE_S: i64 = 5;
/// Seconds that are added each time that it does not wait (RFC 8628, 3.5).
const SLOWER_S: i64 = 5;
/// How much too early a question may come: it travels faster than the one before.
const EARLY_MS: i64 = 500;
/// Letters that are hard to mistake and spell nothing (RFC 8628, 6.1): 20 of them, so that eight have 34 bits.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS_LEN: usize = 8;
/// How often a new code is tried where another device has it already.
const TRIES: usize = 5;

/// A device that waits, or that a person has decided on.
#[derive(Debug)]
pub(super) struct Device {
    /// Of the code that it holds.
    pub(super) hash: Vec<u8>,
    /// Without the dash that people are shown.
    pub(super) user_code: String,
    pub(super) client_id: ClientId,
    pub(super) wanted: Wanted,
    pub(super) resource: Resource,
    pub(super) pause_s: i64,
    pub(super) asked_at: Option<i64>,
    pub(super) denied: bool,
    pub(super) grant_id: Option<GrantId>,
    /// When the person had signed in, in milliseconds since 1970.
    pub(super) authenticated_at: Option<i64>,
    pub(super) expires_at: i64,
}

impl Device {
    /// The code as people see it: `WDJB-MJHT`.
    pub(super) fn shown_code(&self) -> String {
        let (one, other) = self.user_code.split_at(self.user_code.len() / 2);
        format!("{one}-{other}")
    }
}

/// A device begins; what it is told (RFC 8628, 3.2).
pub(super) async fn begin(api: &Api, client: &Client, wanted: Wanted, resource: Resource) -> db::Result<Value> {
    let world = &api.world;
    let held = Opaque::mint(Kind::DeviceCode, world);
    let mut device = Device {
        hash: held.hash().to_vec(),
        user_code: mint(world),
        client_id: client.id,
        wanted,
        resource,
        pause_s: PAUSE_S,
        asked_at: None,
        denied: false,
        grant_id: None,
        authenticated_at: None,
        expires_at: world.now_ms() + LIFE_MS,
    };
    let mut tries = 0;
    loop {
        match store::insert(&api.db, &device).await {
            Err(error) if error.is_conflict("oauth_devices_user_code_key") && tries < TRIES => {
                device.user_code = mint(world);
                tries += 1;
            }
            done => break done?,
        }
    }
    let page = format!("{}/oauth/device", super::http::issuer(api));
    let user_code = device.shown_code();
    Ok(json!({
        "device_code": held.reveal(),
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "verification_uri": page,
        "user_code": user_code,
        "expires_in": LIFE_MS / 1_000,
        "interval": PAUSE_S,
    }))
}

fn mint(world: &World) -> String {
    // Of each byte the values that 20 goes into evenly: no letter is likelier than another.
    let letters = std::iter::repeat_with(|| world.random()).flatten().filter(|byte| *byte < 240);
    letters.take(LETTERS_LEN).map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// A code as somebody has typed it, in its one spelling; `None` where it cannot be one.
pub(super) fn typed(text: &str) -> Option<String> {
    let letters: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    let formed = letters.len() == LETTERS_LEN && letters.bytes().all(|byte| LETTERS.contains(&byte));
    formed.then_some(letters)
}

/// Somebody agrees: makes the grant that the device is given its tokens for. Whether nobody had decided before.
pub(super) async fn allow(tx: &mut Tx, world: &World, by: &Caller, device: &Device, grant: Agreed) -> db::Result<bool> {
    let now_ms = world.now_ms();
    let actor = Actor::from(by);
    let Agreed { account_id, scopes, authenticated_at } = grant;
    let grant = Grant {
        id: world.id(GrantId::new),
        client_id: device.client_id,
        account_id,
        user_id: actor.person(),
        scopes,
        identity: device.wanted.identity,
        created_at: now_ms,
        last_used_at: now_ms,
        expires_at: device.expires_at,
        revoked_at: None,
        resource: device.resource.clone(),
        jkt: None,
    };
    grants::insert(tx, &grant).await?;
    if !store::decide(tx, device, Some((grant.id, authenticated_at))).await? {
        return Ok(false);
    }
    let object_id = grant.id.to_string();
    let changes = Changes::default()
        .field("client_id", (), grant.client_id)
        .field("scopes", (), token::words(&grant.scopes, grant.identity))
        .field("device", (), true);
    let event = Event { action: "oauth_grant.created", account_id, object_kind: "oauth_grant", object_id: &object_id, changes };
    audit::record(tx, world, &actor, event).await?;
    Ok(true)
}

/// What a person agrees to.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) account_id: clearway_config::AccountId,
    pub(super) scopes: clearway_config::Scopes,
    pub(super) authenticated_at: i64,
}

/// A device asks whether a person has decided: tokens, once, or why not yet (RFC 8628, 3.5).
pub(super) async fn ask(
    tx: &mut Tx,
    api: &Api,
    signer: &Signer,
    client: &Client,
    presented: &str,
    (resource, jkt): (Option<Resource>, Option<&str>),
) -> Result<Shown, Refusal> {
    let now_ms = api.world.now_ms();
    let Some(code) = Opaque::parse(Kind::DeviceCode, presented) else { return Err(Refusal::invalid_grant()) };
    let device = store::lock(tx, &code.hash(), client.id).await?.ok_or_else(Refusal::invalid_grant)?;
    let wait =
        |word: &'static str, says: &str| Ok(Shown::Refused(Refusal::new(Word::Authorization(word), says), Ended::default()));
    if device.expires_at <= now_ms {
        return wait("expired_token", "Nobody has agreed in time; begin anew.");
    }
    if device.asked_at.is_some_and(|at| now_ms - at < device.pause_s * 1_000 - EARLY_MS) {
        store::asked(tx, &device, device.pause_s + SLOWER_S, now_ms).await?;
        return wait("slow_down", "Wait five seconds longer from now on.");
    }
    store::asked(tx, &device, device.pause_s, now_ms).await?;
    if device.denied {
        return wait("access_denied", "The person does not agree.");
    }
    let Some(grant) = device.grant_id else { return wait("authorization_pending", "The person has not decided yet.") };
    let grant = grants::lock(tx, None, grant).await?.filter(|grant| grant.is_live(now_ms)).ok_or_else(Refusal::invalid_grant)?;
    let resource = grant.resource.narrowed(resource)?;
    let first = First { grant, resource, authenticated_at: device.authenticated_at, nonce: None, jkt };
    let issued = issue::first(tx, api, signer, client, first).await?;
    // Whoever shows the code again has nothing to show.
    store::remove(tx, &device).await?;
    Ok(Shown::Issued(issued))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_typed_as_people_type() {
        let world = World::fixed(0, 1);
        let code = mint(&world);
        assert_eq!(typed(&code), Some(code.clone()));
        assert_ne!(mint(&world), code);
        let (one, other) = code.split_at(4);
        assert_eq!(typed(&format!(" {}-{} ", one.to_lowercase(), other)), Some(code));
        for wrong in ["", "WDJB", "WDJB-MJHA", "WDJB-MJHTT", "WDJB_MJHT", "ÄDJB-MJHT"] {
            assert_eq!(typed(wrong), None, "{wrong}");
        }
    }
}
