//! What access tokens are signed by: ES256 keys, the private halves sealed.
//!
//! A key is published for a day before it signs, so that whoever verifies knows it by then, and for as long as a token lasts
//! after it has stopped.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_filters::jwt::Nonces;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ACCESS_LIFETIME_MAX, store::signing as store};
use crate::{
    db::{self, Db, Tx},
    http::Api,
    secrets::{Purpose, Secrets},
    sync::{self, ChangeKind, Revision, Wait},
    world::World,
};

const KEY: Purpose = Purpose("oauth_signing_keys.sealed");
/// How long a key signs before another takes over.
const ROTATED_MS: i64 = 90 * 24 * 3_600 * 1_000;
/// How long a key is published before it signs.
const AHEAD_MS: i64 = 24 * 3_600 * 1_000;
/// How far clocks may be apart.
const LEEWAY_MS: i64 = 3_600 * 1_000;
/// As `changes` names them: they go to the proxies all together.
pub(super) const ALL: &str = "keys";

impl From<SigningError> for db::Error {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Store(error) => error,
            SigningError::Key(why) => db::undecodable("oauth_signing_keys.sealed", why),
        }
    }
}

/// A key that signs.
#[derive(Debug)]
pub(super) struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SigningError {
    #[error("a signing key cannot be used: {0}")]
    Key(&'static str),
    #[error("signing keys cannot be read")]
    Store(#[from] db::Error),
}

impl Signer {
    /// The key that signs now; the first one is made when it is first asked for.
    pub(super) async fn current(api: &Api) -> Result<Self, SigningError> {
        let Api { db, world, secrets, hub, .. } = api;
        let now_ms = world.now_ms();
        let mut keys = store::all(db).await?;
        if keys.is_empty() {
            let mut tx = db.begin().await?;
            store::lock(&mut tx).await?;
            let made =
                if store::all(&mut tx).await?.is_empty() { Some(make(&mut tx, secrets, now_ms, now_ms).await?) } else { None };
            tx.commit().await?;
            if let Some(revision) = made {
                // So that proxies know the key before they see what it has signed.
                hub.propagated(revision, Wait::Briefly).await;
            }
            keys = store::all(db).await?;
        }
        // Clocks of several processes differ: before any has begun, the oldest is the one.
        let newest = keys.iter().find(|key| key.signs_from <= now_ms).or(keys.last());
        let stored = newest.ok_or(SigningError::Key("there is none"))?;
        let plain = secrets.open(KEY, &stored.id, &stored.sealed).map_err(|_| SigningError::Key("it does not open"))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &plain, &SystemRandom::new());
        Ok(Self { id: stored.id.clone(), pair: pair.map_err(|_| SigningError::Key("it is damaged"))? })
    }

    /// A signed token of these claims, compact (RFC 7515, 7.1).
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Result<String, SigningError> {
        let header = json!({ "alg": "ES256", "typ": typ, "kid": self.id });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| SigningError::Key("it does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// Every key that tokens may be signed by now or soon (RFC 7517, 5).
pub(super) async fn published(db: &Db) -> db::Result<Value> {
    let keys = store::all(db).await?;
    let keys: Vec<Value> = keys.iter().filter_map(|key| serde_json::from_str(&key.jwk).ok()).collect();
    Ok(json!({ "keys": keys }))
}

/// What nonces of proofs are made by: of the newest key that signs or will, so that every process of both planes has the same
/// without another secret to keep and to replace. Nothing before the first key was made.
pub(super) async fn nonce_key(db: &Db, secrets: &Secrets) -> Result<Option<hmac::Tag>, SigningError> {
    let keys = store::all(db).await?;
    let Some(newest) = keys.first() else { return Ok(None) };
    let plain = secrets.open(KEY, &newest.id, &newest.sealed).map_err(|_| SigningError::Key("it does not open"))?;
    Ok(Some(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &plain), b"clearway: nonces of proofs")))
}

/// The same, to give and to know them by.
pub(super) async fn nonces(api: &Api) -> Result<Option<Nonces>, SigningError> {
    // Whoever asks before anything was signed is asked for one, too.
    Signer::current(api).await?;
    Ok(nonce_key(&api.db, &api.secrets).await?.and_then(|key| Nonces::new(key.as_ref())))
}

/// Makes the next key in time, and takes away those that no token can be signed by any more; how many were changed.
pub(super) async fn rotate(db: &Db, world: &World, secrets: &Secrets) -> db::Result<u64> {
    let now_ms = world.now_ms();
    let due = |keys: &[store::Stored]| keys.first().is_some_and(|newest| now_ms - newest.signs_from >= ROTATED_MS - AHEAD_MS);
    let over = |keys: &[store::Stored]| -> Vec<String> {
        let gone = |successor: &store::Stored| successor.signs_from + ACCESS_LIFETIME_MAX * 1_000 + LEEWAY_MS < now_ms;
        keys.windows(2).filter(|pair| gone(&pair[0])).map(|pair| pair[1].id.clone()).collect()
    };
    let seen = store::all(db).await?;
    if !due(&seen) && over(&seen).is_empty() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    store::lock(&mut tx).await?;
    let keys = store::all(&mut tx).await?;
    let mut changed = 0;
    for id in over(&keys) {
        store::remove(&mut tx, &id).await?;
        changed += 1;
    }
    if due(&keys) {
        make(&mut tx, secrets, now_ms, now_ms + AHEAD_MS).await?;
        changed += 1;
    } else if changed > 0 {
        sync::record(&mut tx, ChangeKind::OauthKeys, ALL, now_ms).await?;
    }
    tx.commit().await?;
    Ok(changed)
}

async fn make(tx: &mut Tx, secrets: &Secrets, now_ms: i64, signs_from: i64) -> Result<Revision, SigningError> {
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let private = private.map_err(|_| SigningError::Key("it cannot be made"))?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random);
    let pair = pair.map_err(|_| SigningError::Key("it cannot be made"))?;
    // Uncompressed: 4, x, y.
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
    let id = URL_SAFE_NO_PAD.encode(thumbprint);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": "ES256", "use": "sig" });
    let sealed = secrets.seal(KEY, &id, private.as_ref());
    let stored = store::Stored { id, sealed, jwk: jwk.to_string(), created_at: now_ms, signs_from };
    store::insert(tx, &stored).await?;
    Ok(sync::record(tx, ChangeKind::OauthKeys, ALL, now_ms).await?)
}
