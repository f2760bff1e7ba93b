//! Whether a client is itself: in the way that it was registered with, and in no other (RFC 6749, 2.3; RFC 9700, 2.5).

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clearway_config::ClientId;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    assertion,
    clients::{AuthMethod, Client},
    http::issuer_of,
    opaque::{Kind, Opaque},
    pace::Pace,
    params::Params,
    refusal::{Refusal, Word},
    store::clients as store,
};
use crate::http::Api;

/// What a request shows.
struct Shown {
    method: AuthMethod,
    id: Zeroizing<String>,
    /// A secret, or an assertion.
    proof: Option<Zeroizing<String>>,
}

/// The client that a request proves to be. Whatever is wrong is told in the same words.
pub(super) async fn authenticate(
    api: &Api,
    pace: &Pace,
    from: IpAddr,
    headers: &HeaderMap,
    params: &Params,
) -> Result<Client, Refusal> {
    let shown = shown(headers, params)?;
    let now_ms = api.world.now_ms();
    let refused = || {
        pace.failed(from, now_ms);
        let basic = shown.method == AuthMethod::ClientSecretBasic;
        Refusal::new(Word::InvalidClient { basic }, "The client is unknown, or did not prove that it is itself.")
    };
    let Ok(id) = shown.id.parse::<ClientId>() else { return Err(refused()) };
    let client = store::find(&api.db, None, id).await?.ok_or_else(refused)?;
    if client.auth_method != shown.method || client.disabled_at.is_some() {
        return Err(refused());
    }
    let right = match (&shown.proof, shown.method) {
        (None, method) => method == AuthMethod::None,
        (Some(assertion), AuthMethod::PrivateKeyJwt) => {
            assertion::proves(&api.db, &issuer_of(&api.public_url), &client, assertion, now_ms).await?
        }
        // What is no secret by its form is compared like any other: with all of them, to the end.
        (Some(secret), _) => {
            let given = Opaque::parse(Kind::ClientSecret, secret).map_or([0; 32], |secret| secret.hash());
            let known = store::secrets(&api.db, id, now_ms).await?;
            known.iter().fold(false, |right, hash| right | bool::from(hash.as_slice().ct_eq(&given)))
        }
    };
    if right { Ok(client) } else { Err(refused()) }
}

fn shown(headers: &HeaderMap, params: &Params) -> Result<Shown, Refusal> {
    let twice = || Refusal::new(Word::InvalidRequest, "The client authenticates in more than one way.");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let basic = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(twice()),
        (Some(value), None) => Some(value.as_bytes()),
        (None, _) => None,
    };
    let (id, secret) = (params.get("client_id"), params.get("client_secret"));
    if let Some(kind) = params.get("client_assertion_type") {
        let assertion = params.get("client_assertion").filter(|_| kind == assertion::TYPE);
        let invalid = || Refusal::new(Word::InvalidClient { basic: false }, "The assertion is none by RFC 7523.");
        let assertion = assertion.ok_or_else(invalid)?;
        let of = assertion::client(assertion).ok_or_else(invalid)?.to_string();
        if basic.is_some() || secret.is_some() || id.is_some_and(|id| id != of) {
            return Err(twice());
        }
        let proof = Some(Zeroizing::new(assertion.to_owned()));
        return Ok(Shown { method: AuthMethod::PrivateKeyJwt, id: of.into(), proof });
    }
    let Some(basic) = basic else {
        let id = id.ok_or_else(|| Refusal::new(Word::InvalidClient { basic: true }, "The client does not say who it is."))?;
        let method = if secret.is_some() { AuthMethod::ClientSecretPost } else { AuthMethod::None };
        return Ok(Shown { method, id: id.to_owned().into(), proof: secret.map(|secret| secret.to_owned().into()) });
    };
    let (user, password) = read_basic(basic).ok_or_else(|| {
        Refusal::new(Word::InvalidClient { basic: true }, "Authorization must be Basic, as RFC 6749 writes it.")
    })?;
    if secret.is_some() || id.is_some_and(|id| id != user.as_str()) {
        return Err(twice());
    }
    Ok(Shown { method: AuthMethod::ClientSecretBasic, id: user, proof: Some(password) })
}

/// RFC 6749, 2.3.1: both are form-encoded, then joined as RFC 7617 has it.
fn read_basic(value: &[u8]) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let plain = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
    let colon = plain.iter().position(|&byte| byte == b':')?;
    let decoded = |part: &[u8]| {
        // What `=` and `&` would do here is not meant: a name alone is one pair.
        let mut pairs = form_urlencoded::parse(part);
        let (name, value) = pairs.next().unwrap_or_default();
        (value.is_empty() && pairs.next().is_none()).then(|| Zeroizing::new(name.into_owned()))
    };
    Some((decoded(&plain[..colon])?, decoded(&plain[colon + 1..])?))
}
