//! ID tokens (OpenID Connect Core 1.0, 2): a provider's word, to one client, about who has just signed in there. They stand
//! for no account, and are no access tokens: neither is taken for the other.

use std::time::Duration;

use clearway_config::settings::gateway::Algorithm;
use serde_json::Value;

use super::{Jwks, Refusal, Token, claims};

/// How far the provider's clock may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// How long ago it may have been issued: it answers a code that was redeemed a moment ago.
const AGE_MAX: Duration = Duration::from_secs(600);

/// What an ID token must say to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Letter by letter.
    pub issuer: &'a str,
    /// Whom it must be for.
    pub client_id: &'a str,
    /// What was sent with the request that it answers.
    pub nonce: &'a str,
}

impl Token<'_> {
    /// Verifies an ID token at `now_ms` (3.1.3.7). Its claims are to be believed then.
    pub fn verify_id_token(&self, expected: Expected<'_>, keys: &Jwks, now_ms: u64) -> Result<(), Refusal> {
        if self.issuer() != Some(expected.issuer) {
            return Err(Refusal::IssuerUnknown);
        }
        self.is_id_token()?;
        let mut tried = false;
        let signed = keys.candidates(self.key_id()?, self.algorithm).any(|key| {
            tried = true;
            key.verifies(self.algorithm, self.signed, &self.signature)
        });
        if !signed {
            return Err(if tried { Refusal::Invalid("signature") } else { Refusal::KeyUnknown });
        }
        claims::check_times(&self.claims, LEEWAY, Some(AGE_MAX), now_ms)?;
        self.is_for(expected.client_id)?;
        match self.claim("nonce").and_then(Value::as_str) {
            Some(nonce) if nonce == expected.nonce => Ok(()),
            _ => Err(Refusal::Invalid("nonce")),
        }
    }

    /// What it is signed by is for its key to say: there is no key for `none`, nor for a secret that both know.
    fn is_id_token(&self) -> Result<(), Refusal> {
        debug_assert!(Algorithm::ALL.contains(&self.algorithm));
        if self.header.get("crit").is_some() {
            return Err(Refusal::Invalid("crit"));
        }
        match self.header.get("typ") {
            None => Ok(()),
            Some(typ) if typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("jwt")) => Ok(()),
            Some(_) => Err(Refusal::Invalid("typ")),
        }
    }

    /// One that is for several must say which of them has asked for it.
    fn is_for(&self, client_id: &str) -> Result<(), Refusal> {
        let is_ours = |value: &Value| value.as_str() == Some(client_id);
        let (ours, alone) = match self.claim("aud") {
            Some(Value::Array(several)) => (several.iter().any(is_ours), several.len() == 1),
            Some(one) => (is_ours(one), true),
            None => (false, true),
        };
        let asked = match self.claim("azp") {
            Some(party) => is_ours(party),
            None => alone,
        };
        if ours && asked { Ok(()) } else { Err(Refusal::Audience) }
    }
}
