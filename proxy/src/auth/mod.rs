//! Who asks, where it is not an API key alone that says so: tokens of issuers, client certificates, addresses
//! without any credential, and which signatures have been seen.
//!
//! What is here is synchronous, of a fixed size, and waits for nobody: keys of issuers are fetched by
//! [`crate::jwks`] in the background. Which method a request is judged by is decided in
//! [`clearway_filters::credential`], accounts and counts are the snapshot's and the ledger's.

mod addresses;
mod certificates;
mod replays;
mod tokens;

use std::{collections::HashMap, sync::Arc};

use clearway_config::settings::{
    Gateway,
    gateway::{ClientCertificate as Mapping, Issuer as Settings, issuer::OWN_ISSUER_INDEX},
};
use clearway_filters::{
    Reject,
    jwt::{Refusal, Token},
};

use crate::{jwks::KeyCache, snapshot::TokenIssuer, tls::client::ClientCertificate};
use certificates::Certificates;
use tokens::{By, Tokens};

pub(crate) use addresses::{Addresses, Visit};
pub(crate) use replays::{Mark, Replays};
pub(crate) use tokens::Verified;

/// An issuer of the current routes, with its keys.
#[derive(Debug)]
pub(crate) struct Issuer {
    settings: Settings,
    keys: Arc<KeyCache>,
}

/// All that callers are known by besides keys. One a table of routes; what has been learned goes from one
/// to the next.
#[derive(Debug)]
pub(crate) struct Callers {
    issuers: Vec<Arc<Issuer>>,
    by_name: HashMap<String, usize>,
    certificates: Certificates,
    tokens: Arc<Tokens>,
    addresses: Arc<Addresses>,
}

impl Callers {
    /// Takes over from `before` what has not changed: issuers with their keys, verified tokens, counts of addresses.
    pub(crate) fn new(gateway: &Gateway, before: Option<&Self>) -> Self {
        let known = before.map_or(&[][..], |before| &before.issuers);
        let issuers: Vec<_> = gateway.issuers.iter().map(|settings| Issuer::new(settings, known)).collect();
        Self {
            by_name: gateway.issuers.iter().enumerate().map(|(n, issuer)| (issuer.issuer.clone(), n)).collect(),
            issuers,
            certificates: Certificates::new(&gateway.client_certificates),
            tokens: before.map_or_else(Arc::default, |before| before.tokens.clone()),
            addresses: before.map_or_else(Arc::default, |before| before.addresses.clone()),
        }
    }

    /// The keys that are to be kept fresh.
    pub(crate) fn key_caches(&self) -> impl Iterator<Item = &Arc<KeyCache>> {
        self.issuers.iter().map(|issuer| &issuer.keys)
    }

    pub(crate) fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// Whom a certificate stands for.
    pub(crate) fn certificate(&self, certificate: &ClientCertificate) -> Result<&Arc<Mapping>, Reject> {
        self.certificates.find(certificate)
    }

    /// Verifies a token of one of the issuers `accepted`, or of any where none is named.
    ///
    /// A token whose key is not known has the keys fetched, but does not wait for them: it is refused, and
    /// the same token is good a moment later if the issuer has changed its keys.
    pub(crate) fn token(
        &self,
        token: &[u8],
        accepted: &[usize],
        own: Option<&Arc<TokenIssuer>>,
        now_ms: u64,
    ) -> Result<Arc<Verified>, Reject> {
        let is_accepted = |issuer: usize| (accepted.is_empty() && issuer != OWN_ISSUER_INDEX) || accepted.contains(&issuer);
        let hash = Tokens::hash(token);
        if let Some(held) = self.tokens.find(&hash, now_ms)
            && let Some(issuer) = self.still(&held, own)
        {
            return if is_accepted(issuer) { Ok(held) } else { Err(Refusal::IssuerUnknown.into()) };
        }
        let token = Token::read(token)?;
        if is_accepted(OWN_ISSUER_INDEX)
            && let Some(own) = own
            && token.issuer() == Some(own.settings.issuer.as_str())
        {
            let claims = token.verify(&own.settings, &own.keys, now_ms)?;
            let names = names(&token).ok_or(Refusal::Invalid("claims"))?;
            let verified = Arc::new(Verified::new(hash, By::Own(own.clone(), names), claims));
            self.tokens.keep(verified.clone());
            return Ok(verified);
        }
        let index = token.issuer().and_then(|name| self.by_name.get(name)).copied().filter(|&index| is_accepted(index));
        let issuer = &self.issuers[index.ok_or(Refusal::IssuerUnknown)?];
        let keys = issuer.keys.current().ok_or(Reject::IssuerKeysUnavailable)?;
        let claims = token.verify(&issuer.settings, &keys, now_ms).inspect_err(|refusal| {
            if *refusal == Refusal::KeyUnknown {
                issuer.keys.want();
            }
        })?;
        let verified = Arc::new(Verified::new(hash, By::Issuer(issuer.clone(), keys), claims));
        self.tokens.keep(verified.clone());
        Ok(verified)
    }

    /// Whose a remembered token is, if issuer and keys are still those that it was verified by.
    fn still(&self, held: &Verified, own: Option<&Arc<TokenIssuer>>) -> Option<usize> {
        match &held.by {
            By::Issuer(of, keys) => self.issuers.iter().position(|issuer| Arc::ptr_eq(issuer, of)).filter(|_| of.keys.are(keys)),
            By::Own(of, _) => own.filter(|own| Arc::ptr_eq(own, of)).map(|_| OWN_ISSUER_INDEX),
        }
    }
}

/// By which one of our own tokens may have been revoked. `None`: it is none of those that control issues.
fn names(token: &Token<'_>) -> Option<[Box<str>; 3]> {
    let said = |name: &str| token.claim(name).and_then(|said| said.as_str());
    let generation = token.claim("client_generation")?.as_i64()?;
    let client = format!("{}/{generation}", said("client_id")?);
    Some([said("jti")?.into(), said("grant_id")?.into(), client.into()])
}

impl Issuer {
    fn new(settings: &Settings, known: &[Arc<Self>]) -> Arc<Self> {
        if let Some(same) = known.iter().find(|issuer| issuer.settings == *settings) {
            return same.clone();
        }
        let is_same = |issuer: &&Arc<Self>| issuer.keys.is_of(settings);
        let keys = known.iter().find(is_same).map(|issuer| issuer.keys.clone());
        Arc::new(Self { settings: settings.clone(), keys: keys.unwrap_or_else(|| Arc::new(KeyCache::new(settings))) })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use clearway_config::settings::{Source, UpstreamAddress};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
    use crate::jwks::{Due, Fetched};

    const NOW_S: u64 = 1_800_000_000;
    const NOW_MS: u64 = NOW_S * 1_000;
    const ISSUERS: &str = r#"
[[issuers]]
name = "NAME"
issuer = "https://NAME.example"
audiences = ["api"]
jwks_url = "https://NAME.example/keys"
algorithms = ["EdDSA"]
account = "acct_0000000000000000000001"
"#;

    fn b64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn callers(names: &[&str], before: Option<&Callers>) -> Callers {
        let text: String = names.iter().map(|name| ISSUERS.replace("NAME", name)).collect();
        let control = UpstreamAddress::parse("http://127.0.0.1:9").unwrap();
        Callers::new(&Gateway::resolve(&[Source::new("gateway.toml", text)], &control).unwrap(), before)
    }

    fn give_keys(callers: &Callers, seeds: &[u8]) {
        let key =
            |seed: &u8| json!({ "kty": "OKP", "crv": "Ed25519", "kid": seed.to_string(), "x": b64(pair(*seed).public_key()) });
        let document = json!({ "keys": seeds.iter().map(key).collect::<Vec<_>>() });
        for cache in callers.key_caches() {
            cache.finish(Fetched::Document(document.to_string().into_bytes()));
        }
    }

    fn token(issuer: &str, seed: u8, exp: u64) -> String {
        let claims = json!({ "iss": format!("https://{issuer}.example"), "aud": "api", "exp": exp });
        let signed =
            format!("{}.{}", b64(json!({ "alg": "EdDSA", "kid": seed.to_string() }).to_string()), b64(claims.to_string()));
        format!("{signed}.{}", b64(pair(seed).sign(signed.as_bytes())))
    }

    #[test]
    fn tokens_can_be_neither_taken_nor_refused_before_their_issuers_keys_are_there() {
        let callers = callers(&["a"], None);
        let ask = |token: &str| callers.token(token.as_bytes(), &[], None, NOW_MS).map(drop);
        let good = token("a", 1, NOW_S + 60);
        assert_eq!(ask(&good), Err(Reject::IssuerKeysUnavailable));
        give_keys(&callers, &[1]);
        assert_eq!(ask(&good), Ok(()));
        assert_eq!(ask(&token("b", 1, NOW_S + 60)), Err(Reject::Token(Refusal::IssuerUnknown)));
    }

    #[test]
    fn a_token_whose_key_is_unknown_has_the_keys_fetched_and_is_refused_meanwhile() {
        let callers = callers(&["a"], None);
        give_keys(&callers, &[1]);
        let cache = callers.key_caches().next().unwrap();
        assert!(!cache.is_wanted());
        assert_eq!(
            callers.token(token("a", 2, NOW_S + 60).as_bytes(), &[], None, NOW_MS).map(drop),
            Err(Reject::Token(Refusal::KeyUnknown))
        );
        assert!(cache.is_wanted());
        give_keys(&callers, &[1, 2]);
        assert!(callers.token(token("a", 2, NOW_S + 60).as_bytes(), &[], None, NOW_MS).is_ok());
    }

    #[test]
    fn a_remembered_token_ends_with_its_time_its_key_and_its_issuer() {
        let before = callers(&["a", "b"], None);
        give_keys(&before, &[1]);
        let good = token("a", 1, NOW_S + 60);
        let first = before.token(good.as_bytes(), &[], None, NOW_MS).unwrap();
        let again = before.token(good.as_bytes(), &[], None, NOW_MS + 1).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "remembered");
        assert_eq!(
            before.token(good.as_bytes(), &[1], None, NOW_MS).map(drop),
            Err(Reject::Token(Refusal::IssuerUnknown)),
            "another route"
        );
        assert_eq!(before.token(good.as_bytes(), &[], None, NOW_MS + 90_000).map(drop), Err(Reject::Token(Refusal::Expired)));

        let same = callers(&["a", "b"], Some(&before));
        assert!(Arc::ptr_eq(&same.token(good.as_bytes(), &[], None, NOW_MS).unwrap(), &first), "a reload changes nothing");
        let gone = callers(&["b"], Some(&before));
        assert_eq!(gone.token(good.as_bytes(), &[], None, NOW_MS).map(drop), Err(Reject::Token(Refusal::IssuerUnknown)));
        give_keys(&before, &[2]);
        assert_eq!(before.token(good.as_bytes(), &[], None, NOW_MS).map(drop), Err(Reject::Token(Refusal::KeyUnknown)));
    }

    #[test]
    fn keys_outlive_failures_for_a_bounded_time_and_are_the_same_while_the_document_is() {
        let callers = callers(&["a"], None);
        give_keys(&callers, &[1]);
        let cache = callers.key_caches().next().unwrap();
        let held = cache.current().unwrap();
        give_keys(&callers, &[1]);
        assert!(cache.are(&held), "the same document, the same keys");
        cache.finish(Fetched::Failed("refused".into()));
        cache.finish(Fetched::Document(b"{\"keys\":[]}".to_vec()));
        assert!(cache.are(&held));
        let later = std::time::Instant::now() + std::time::Duration::from_secs(24 * 3600 + 60);
        assert!(cache.current_at(later).is_none());
        assert!(matches!(cache.due_at(later), Due::Now));
    }
}
