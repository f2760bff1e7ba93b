//! What access tokens of Clearway's own authorization server are verified by: its keys, and what was revoked.
//!
//! A revocation is held until no token of it can be in force any more, so that what is held is bounded by what is revoked
//! in a day or so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use clearway_config::{
    settings::gateway::{Algorithm, Issuer},
    sync::v1,
};
use clearway_filters::jwt::{Jwks, Nonces};

/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// After so many more, those whose time is over are looked for.
const PRUNED_EVERY: usize = 1_000;

/// Clearway's own authorization server.
#[derive(Debug)]
pub struct TokenIssuer {
    pub settings: Issuer,
    pub keys: Arc<Jwks>,
    /// Of proofs, where they must have one.
    pub nonces: Option<Nonces>,
    said: v1::TokenIssuer,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    issuer: ArcSwapOption<TokenIssuer>,
    /// Until when, in milliseconds since 1970.
    revoked: papaya::HashMap<Box<str>, u64>,
    since_pruned: AtomicUsize,
}

impl Tokens {
    pub(super) fn issuer(&self) -> Option<Arc<TokenIssuer>> {
        self.issuer.load_full()
    }

    /// Whether any of these was revoked.
    pub(super) fn are_revoked<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        if self.revoked.is_empty() {
            return false;
        }
        let revoked = self.revoked.pin();
        names.into_iter().any(|name| revoked.contains_key(name))
    }

    /// Keys that verify nothing are not understood: those held so far stay.
    pub(super) fn set_issuer(&self, said: &v1::TokenIssuer) -> bool {
        if self.issuer.load().as_ref().is_some_and(|held| held.said == *said) {
            return true;
        }
        let Ok(keys) = Jwks::read(&said.jwks, &[Algorithm::ES256]) else { return false };
        let settings = Issuer::own(&said.issuer, LEEWAY);
        let nonces = Nonces::new(&said.nonce_key);
        self.issuer.store(Some(Arc::new(TokenIssuer { settings, keys: Arc::new(keys), nonces, said: said.clone() })));
        true
    }

    pub(super) fn revoke(&self, said: &v1::RevokedTokens) -> bool {
        self.revoked.pin().insert(said.id.as_str().into(), said.until);
        if self.since_pruned.fetch_add(1, Ordering::Relaxed) >= PRUNED_EVERY {
            self.since_pruned.store(0, Ordering::Relaxed);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(0);
            self.revoked.pin().retain(|_, until| *until > now_ms);
        }
        !said.id.is_empty()
    }

    /// As the messages that it came in.
    pub(super) fn export(&self) -> (Option<v1::TokenIssuer>, Vec<v1::RevokedTokens>) {
        let revoked = self.revoked.pin();
        let revoked = revoked.iter().map(|(id, until)| v1::RevokedTokens { id: id.to_string(), until: *until }).collect();
        (self.issuer.load().as_ref().map(|held| held.said.clone()), revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_stays_so_until_no_token_of_it_can_be_in_force() {
        let tokens = Tokens::default();
        assert!(!tokens.are_revoked(["grant_1"]));
        tokens.revoke(&v1::RevokedTokens { id: "grant_1".into(), until: u64::MAX });
        for n in 0..3 * PRUNED_EVERY {
            tokens.revoke(&v1::RevokedTokens { id: format!("tok_{n}"), until: 1 });
        }
        assert!(tokens.are_revoked(["tok_x", "grant_1"]) && !tokens.are_revoked(["grant_2"]));
        assert!(tokens.revoked.len() <= PRUNED_EVERY + 2, "{}", tokens.revoked.len());
    }

    #[test]
    fn keys_that_verify_nothing_do_not_take_the_place_of_those_held() {
        let tokens = Tokens::default();
        let jwks = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        assert!(tokens.set_issuer(&v1::TokenIssuer {
            issuer: "https://a.example".into(),
            jwks: jwks.to_vec(),
            ..<_>::default()
        }));
        assert!(!tokens.set_issuer(&v1::TokenIssuer {
            issuer: "https://b.example".into(),
            jwks: b"{}".to_vec(),
            ..<_>::default()
        }));
        assert_eq!(tokens.issuer().unwrap().settings.issuer, "https://a.example");
    }
}
