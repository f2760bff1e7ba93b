//! Proofs of possession (DPoP, RFC 9449): a client that proves a key at the token endpoint is given tokens which are good with
//! proofs of that key alone. Each proof is good once: it is remembered until it would be refused anyway.

use clearway_filters::jwt::{self, Nonce, Nonces, Proof, Proved};
use http::HeaderMap;

use super::{
    clients::Client,
    http::issuer,
    refusal::{Refusal, Word},
    signing,
    store::proofs,
};
use crate::{db, http::Api};

/// The header that carries a proof.
const HEADER: &str = "dpop";

/// The proof that a request shows. It has not been looked at.
pub(super) fn shown(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut proofs = headers.get_all(HEADER).iter();
    match (proofs.next(), proofs.next()) {
        (None, _) => Ok(None),
        (Some(proof), None) => proof.to_str().map(Some).map_err(|_| invalid("form")),
        (Some(_), Some(_)) => Err(invalid("more than one")),
    }
}

/// The thumbprint of the key that `client` proves at one of our endpoints, which are asked by POST. `None`: it proves none, and
/// need not.
pub(super) async fn proved(api: &Api, client: &Client, shown: Option<&str>, path: &str) -> Result<Option<String>, Refusal> {
    let Some(shown) = shown else {
        let says = "The client is registered to prove a key, and shows no proof.";
        return if client.dpop_bound { Err(Refusal::new(Word::InvalidDpopProof, says)) } else { Ok(None) };
    };
    let of = Proved { method: "POST", base: &issuer(api), path, token: None };
    let proof = Proof::verify(shown.as_bytes(), of, now_ms(api)).map_err(why)?;
    accept(api, &proof).await?.map_err(why)?;
    Ok(Some(proof.thumbprint().to_owned()))
}

/// The thumbprint of the key that is proved for a token at one of our paths.
pub(super) async fn proved_of(
    api: &Api,
    shown: &str,
    method: &str,
    path: &str,
    token: &str,
) -> db::Result<Result<String, jwt::Refusal>> {
    let of = Proved { method, base: &issuer(api), path, token: Some(token.as_bytes()) };
    let proof = match Proof::verify(shown.as_bytes(), of, now_ms(api)) {
        Ok(proof) => proof,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(accept(api, &proof).await?.map(|()| proof.thumbprint().to_owned()))
}

/// Accepts a proof that has been verified, this once, and with a nonce where one is asked for.
pub(super) async fn accept(api: &Api, proof: &Proof) -> db::Result<Result<(), jwt::Refusal>> {
    if let Some(nonces) = nonces(api).await?
        && let Err(refusal) = proof.check_nonce(&nonces, now_ms(api))
    {
        return Ok(Err(refusal));
    }
    let until_s = i64::try_from(proof.refused_from_s()).unwrap_or(i64::MAX / 1_000);
    let new = proofs::remember(&api.db, &proof.mark(), until_s * 1_000).await?;
    Ok(if new { Ok(()) } else { Err(jwt::Refusal::Proof("jti")) })
}

/// The nonce for a client's next proof, where one is asked for.
pub(super) async fn next_nonce(api: &Api) -> db::Result<Option<Nonce>> {
    Ok(nonces(api).await?.map(|nonces| nonces.now(now_ms(api))))
}

async fn nonces(api: &Api) -> db::Result<Option<Nonces>> {
    if !api.oauth.dpop_nonces {
        return Ok(None);
    }
    Ok(signing::nonces(api).await?)
}

/// What a token is called that is bound to a key, or to none.
pub(super) fn token_type(jkt: Option<&str>) -> &'static str {
    if jkt.is_some() { "DPoP" } else { "Bearer" }
}

fn now_ms(api: &Api) -> u64 {
    u64::try_from(api.world.now_ms()).unwrap_or(0)
}

fn why(refusal: jwt::Refusal) -> Refusal {
    match refusal {
        jwt::Refusal::Proof(part) => invalid(part),
        jwt::Refusal::Nonce(nonce) => Refusal::new(Word::UseDpopNonce(nonce), "The proof must carry the nonce in DPoP-Nonce."),
        _ => invalid("form"),
    }
}

fn invalid(part: &str) -> Refusal {
    Refusal::new(Word::InvalidDpopProof, format!("The proof is not one for this request: {part}."))
}
