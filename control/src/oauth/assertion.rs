//! Assertions: a client that signs by a key of its own that it is itself (`private_key_jwt`, RFC 7523, 2.2 and 3). Its public
//! keys come with its registration: nothing is fetched for it.

use std::time::Duration;

use clearway_config::{
    ClientId,
    settings::gateway::{Algorithm, Issuer},
};
use clearway_filters::jwt::{Jwks, Token};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{clients::Client, store::proofs};
use crate::db::{self, Db};

/// How one is named (RFC 7523, 2.2).
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What one may be signed by. A client that wants only one of them says so in its key's `alg`.
pub(super) const ALGORITHMS: &[Algorithm] = &[Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];
/// Bytes of a client's keys at most, in JSON.
pub(super) const JWKS_BYTES_MAX: usize = 16 * 1024;
/// Keys of a client at most.
const KEYS_MAX: usize = 10;
/// How long one may be good for.
const LIFE_MS_MAX: i64 = 5 * 60 * 1_000;
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
const LEEWAY_MS: i64 = 30_000;
/// Bytes of a `jti` at most.
const JTI_BYTES_MAX: usize = 256;

/// Which client it says that it is of. Nothing of it is to be believed yet.
pub(super) fn client(text: &str) -> Option<ClientId> {
    Token::read(text.as_bytes()).ok()?.claim("sub")?.as_str()?.parse().ok()
}

/// Whether an assertion is the client's own, for us, and was not shown before.
pub(super) async fn proves(db: &Db, issuer: &str, client: &Client, text: &str, now_ms: i64) -> db::Result<bool> {
    let Some((mark, until)) = check(issuer, client, text, now_ms) else { return Ok(false) };
    proofs::remember(db, &mark, until).await
}

/// What it is remembered by, and until when it would be good.
fn check(issuer: &str, client: &Client, text: &str, now_ms: i64) -> Option<([u8; 32], i64)> {
    let keys = Jwks::read(client.jwks.as_ref()?.to_string().as_bytes(), ALGORITHMS).ok()?;
    let token = Token::read(text.as_bytes()).ok()?;
    let id = client.id.to_string();
    let of = Issuer::client(&id, client.account_id, issuer, ALGORITHMS, LEEWAY);
    token.verify(&of, &keys, u64::try_from(now_ms).ok()?).ok()?;
    let said = |name: &str| token.claim(name).and_then(Value::as_str);
    // Meant for us alone: whoever else could read it could be the client here.
    if said("sub") != Some(&id) || said("aud") != Some(issuer) {
        return None;
    }
    let jti = said("jti").filter(|jti| (1..=JTI_BYTES_MAX).contains(&jti.len()))?;
    let expires_ms = token.claim("exp")?.as_i64()?.checked_mul(1_000)?;
    if expires_ms - now_ms > LIFE_MS_MAX + LEEWAY_MS {
        return None;
    }
    let mark = Sha256::digest(format!("assertion\n{id}\n{jti}"));
    Some((mark.into(), expires_ms + LEEWAY_MS))
}

/// Checks a client's keys on their way into a registration; says what is wrong with them.
pub(super) fn check_keys(jwks: &Value) -> Result<(), String> {
    let text = jwks.to_string();
    if text.len() > JWKS_BYTES_MAX {
        return Err(format!("must have {JWKS_BYTES_MAX} bytes at most"));
    }
    let keys = jwks.get("keys").and_then(Value::as_array).ok_or("must be an object with keys (RFC 7517, 5)")?;
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(format!("must have 1 to {KEYS_MAX} keys"));
    }
    let secret = |key: &Value| ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| key.get(member).is_some());
    if keys.iter().any(secret) {
        return Err("has the private part of a key, which is to be taken as known to others now".to_owned());
    }
    let usable = Jwks::read(text.as_bytes(), ALGORITHMS).map(|usable| usable.len());
    if usable != Ok(keys.len()) {
        return Err("must have keys for signatures by ES256, EdDSA or RS256 only".to_owned());
    }
    Ok(())
}
