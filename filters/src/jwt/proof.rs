//! Proofs of possession (DPoP, RFC 9449): whoever shows a token that is bound to a key signs by that key for which request it is
//! shown. A token that somebody else has seen is of no use to them then.
//!
//! Whether a proof was shown before is its caller's to know, by what names it ([`Proof::mark`]).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::settings::gateway::Algorithm;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Nonces, Refusal, Token, claims::date_ms, jwks::Key};
use crate::request::path::normalise;

/// What proofs may be signed by.
pub const PROOF_ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];
/// Bytes in a proof at most.
const PROOF_BYTES_MAX: usize = 4 * 1024;
/// Seconds that a proof is good for.
const AGE_S: u64 = 60;
/// And so many before it was made: clocks differ.
const AHEAD_S: u64 = 30;
/// Bytes in a `jti` at most.
const JTI_BYTES_MAX: usize = 256;
const TYP: &str = "dpop+jwt";
/// What only private and shared keys have (RFC 7518, 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The request that a proof must be made for.
#[derive(Debug, Clone, Copy)]
pub struct Proved<'r> {
    pub method: &'r str,
    /// Where clients find what is asked: scheme and authority, perhaps with the beginning of a path.
    pub base: &'r str,
    /// Behind that, beginning with `/`.
    pub path: &'r str,
    /// The token that is shown with it, where one is.
    pub token: Option<&'r [u8]>,
}

/// A proof that is one for the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    thumbprint: String,
    mark: [u8; 32],
    issued_s: u64,
    nonce: Option<Box<str>>,
}

impl Proof {
    /// Verifies a proof at `now_ms` (RFC 9449, 4.3).
    pub fn verify(text: &[u8], of: Proved<'_>, now_ms: u64) -> Result<Self, Refusal> {
        let wrong = Refusal::Proof;
        if text.len() > PROOF_BYTES_MAX {
            return Err(wrong("form"));
        }
        let proof = Token::read(text).map_err(|_| wrong("form"))?;
        if !PROOF_ALGORITHMS.contains(&proof.algorithm) {
            return Err(wrong("alg"));
        }
        if proof.header.get("typ").and_then(Value::as_str) != Some(TYP) {
            return Err(wrong("typ"));
        }
        if proof.header.get("crit").is_some() {
            return Err(wrong("crit"));
        }
        let written = proof.header.get("jwk").ok_or(wrong("jwk"))?;
        if PRIVATE.iter().any(|member| written.get(member).is_some()) {
            return Err(wrong("jwk"));
        }
        let key = Key::read(written).filter(|key| key.is_for(proof.algorithm)).ok_or(wrong("jwk"))?;
        let thumbprint = key.thumbprint().ok_or(wrong("jwk"))?;
        if !key.verifies(proof.algorithm, proof.signed, &proof.signature) {
            return Err(wrong("signature"));
        }
        let said = |name: &'static str| proof.claim(name).and_then(Value::as_str).ok_or(wrong(name));
        if said("htm")? != of.method {
            return Err(wrong("htm"));
        }
        if !is_at(said("htu")?, of.base, of.path) {
            return Err(wrong("htu"));
        }
        let issued_s = proof.claim("iat").and_then(date_ms).ok_or(wrong("iat"))? / 1_000;
        let now_s = now_ms / 1_000;
        if now_s >= issued_s.saturating_add(AGE_S) || issued_s > now_s.saturating_add(AHEAD_S) {
            return Err(wrong("iat"));
        }
        if let Some(token) = of.token
            && said("ath")? != URL_SAFE_NO_PAD.encode(Sha256::digest(token))
        {
            return Err(wrong("ath"));
        }
        let jti = said("jti")?;
        if !(1..=JTI_BYTES_MAX).contains(&jti.len()) {
            return Err(wrong("jti"));
        }
        let mark = Sha256::digest(format!("dpop\n{thumbprint}\n{jti}")).into();
        let nonce = proof.claim("nonce").and_then(Value::as_str).map(Into::into);
        Ok(Self { thumbprint, mark, issued_s, nonce })
    }

    /// Whether it carries a nonce that is good at `now_ms`: the refusal has one, where it does not.
    pub fn check_nonce(&self, nonces: &Nonces, now_ms: u64) -> Result<(), Refusal> {
        let good = self.nonce.as_ref().is_some_and(|nonce| nonces.admit(nonce, now_ms));
        if good { Ok(()) } else { Err(Refusal::Nonce(nonces.now(now_ms))) }
    }

    /// Of the key that it was signed by (RFC 7638), as tokens name it in `cnf`.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// What it is remembered by: no other proof has the same.
    pub fn mark(&self) -> [u8; 32] {
        self.mark
    }

    /// When it says that it was made, in seconds since 1970.
    pub fn issued_s(&self) -> u64 {
        self.issued_s
    }

    /// From when on it is refused anyway, in seconds since 1970.
    pub fn refused_from_s(&self) -> u64 {
        self.issued_s.saturating_add(AGE_S)
    }
}

/// Whether a URL is that of a path behind `base`. Query and fragment do not count; scheme and host are compared in any spelling,
/// with the port that the scheme has by itself, and paths in their one spelling (RFC 3986, 6.2.2 and 6.2.3).
fn is_at(url: &str, base: &str, path: &str) -> bool {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (Some(said), Some(known)) = (Place::read(url), Place::read(base)) else { return false };
    let whole = format!("{}{path}", known.path.trim_end_matches('/'));
    let said_path = if said.path.is_empty() { "/" } else { said.path };
    let same_path = match (normalise(said_path.as_bytes()), normalise(whole.as_bytes())) {
        (Ok(said), Ok(known)) => said == known,
        _ => false,
    };
    said.scheme == known.scheme && said.authority == known.authority && same_path
}

struct Place<'u> {
    scheme: String,
    authority: String,
    path: &'u str,
}

impl<'u> Place<'u> {
    fn read(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
        let by_itself = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let authority = authority.strip_suffix(by_itself).unwrap_or(&authority).to_owned();
        (!authority.is_empty() && !authority.contains('@')).then_some(Self { scheme, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    /// RFC 9449, 4.2 and 6.1: a proof, and the thumbprint of its key.
    const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const ISSUED_S: u64 = 1_562_262_616;
    const OF: Proved<'static> = Proved { method: "POST", base: "https://server.example.com", path: "/token", token: None };

    fn verify(of: Proved<'_>, now_s: u64) -> Result<Proof, Refusal> {
        Proof::verify(EXAMPLE.as_bytes(), of, now_s * 1_000)
    }

    #[test]
    fn a_proof_is_verified_as_in_the_rfcs_example() {
        let proof = verify(OF, ISSUED_S).unwrap();
        assert_eq!((proof.thumbprint(), proof.issued_s()), (THUMBPRINT, ISSUED_S));
        assert_eq!(verify(OF, ISSUED_S + AGE_S - 1).unwrap().mark(), proof.mark());
        assert_eq!(proof.refused_from_s(), ISSUED_S + AGE_S);
        for late_or_early in [ISSUED_S + AGE_S, ISSUED_S - AHEAD_S - 1] {
            assert_eq!(verify(OF, late_or_early), Err(Refusal::Proof("iat")));
        }
        assert!(verify(OF, ISSUED_S - AHEAD_S).is_ok());
    }

    #[test]
    fn a_proof_is_good_for_its_own_request_alone() {
        assert_eq!(verify(Proved { method: "GET", ..OF }, ISSUED_S), Err(Refusal::Proof("htm")));
        assert_eq!(verify(Proved { path: "/tokens", ..OF }, ISSUED_S), Err(Refusal::Proof("htu")));
        assert_eq!(verify(Proved { base: "https://elsewhere.example", ..OF }, ISSUED_S), Err(Refusal::Proof("htu")));
        assert_eq!(verify(Proved { token: Some(b"x"), ..OF }, ISSUED_S), Err(Refusal::Proof("ath")));
    }

    #[test]
    fn an_address_is_compared_in_its_one_spelling() {
        let base = "https://gw.example";
        for same in [
            "https://gw.example/a/b",
            "HTTPS://GW.example:443/a/b",
            "https://gw.example/a/%62",
            "https://gw.example/a/b?x=1",
            "https://gw.example/a/b#x",
        ] {
            assert!(is_at(same, base, "/a/b"), "{same}");
        }
        for other in [
            "https://gw.example/a/b/",
            "https://gw.example/A/b",
            "http://gw.example/a/b",
            "https://gw.example:8443/a/b",
            "https://gw.example.evil/a/b",
            "https://x@gw.example/a/b",
            "https://gw.example@evil.example/a/b",
            "//gw.example/a/b",
            "/a/b",
            "",
        ] {
            assert!(!is_at(other, base, "/a/b"), "{other}");
        }
        assert!(is_at("https://gw.example", base, "/"));
        assert!(is_at("https://gw.example/base/a", "https://gw.example/base", "/a"));
        assert!(is_at("http://127.0.0.1:8080/a", "http://127.0.0.1:8080", "/a"));
    }

    /// One that is signed by a key of ours, with some of its parts changed; null takes one out.
    fn made(header: &Value, claims: &Value) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key())});
        let mut head = json!({"typ": TYP, "alg": "EdDSA", "jwk": jwk});
        let mut body = json!({"jti": "one", "htm": "POST", "htu": "https://server.example.com/token", "iat": ISSUED_S});
        for (into, from) in [(&mut head, header), (&mut body, claims)] {
            for (name, value) in from.as_object().unwrap() {
                into[name] = value.clone();
            }
            into.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(body.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
    }

    fn why(header: &Value, claims: &Value) -> Result<(), Refusal> {
        Proof::verify(made(header, claims).as_bytes(), OF, ISSUED_S * 1_000).map(drop)
    }

    #[test]
    fn each_part_of_a_proof_has_to_be_there_and_right() {
        let none = json!({});
        assert_eq!(why(&none, &none), Ok(()));
        for (header, part) in [
            (json!({"typ": "jwt"}), "typ"),
            (json!({"typ": null}), "typ"),
            (json!({"alg": "RS256"}), "alg"),
            (json!({"alg": "ES256"}), "jwk"),
            (json!({"alg": "none"}), "form"),
            (json!({"alg": "HS256"}), "form"),
            (json!({"jwk": null}), "jwk"),
            (json!({"jwk": {"kty": "oct", "k": "AAAA"}}), "jwk"),
            (json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}), "jwk"),
            (json!({"crit": ["x"]}), "crit"),
        ] {
            assert_eq!(why(&header, &none), Err(Refusal::Proof(part)), "{header}");
        }
        for part in ["jti", "htm", "htu", "iat"] {
            assert_eq!(why(&none, &json!({ part: null })), Err(Refusal::Proof(part)));
        }
        assert_eq!(why(&none, &json!({"jti": "x".repeat(257)})), Err(Refusal::Proof("jti")));
        assert_eq!(why(&none, &json!({"jti": ""})), Err(Refusal::Proof("jti")));
        let mut private = made(&none, &none);
        let head = private.split('.').next().unwrap().to_owned();
        let mut with_d: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&head).unwrap()).unwrap();
        with_d["jwk"]["d"] = json!("AAAA");
        assert_eq!(why(&json!({"jwk": with_d["jwk"]}), &none), Err(Refusal::Proof("jwk")), "a private key is nobody's any more");
        private.pop();
        assert!(Proof::verify(private.as_bytes(), OF, ISSUED_S * 1_000).is_err());
    }

    #[test]
    fn a_proof_for_a_token_is_good_with_that_token_alone() {
        let ath = URL_SAFE_NO_PAD.encode(Sha256::digest("a.b.c"));
        let proof = made(&json!({}), &json!({ "ath": ath }));
        let with = |token: &'static [u8]| {
            Proof::verify(proof.as_bytes(), Proved { token: Some(token), ..OF }, ISSUED_S * 1_000).map(drop)
        };
        assert_eq!((with(b"a.b.c"), with(b"a.b.d")), (Ok(()), Err(Refusal::Proof("ath"))));
    }
}
