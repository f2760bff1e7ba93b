use std::time::Duration;

use clearway_config::settings::gateway::issuer::{AccountRule, IssuerSpec};
use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::*;

const NOW_S: u64 = 1_800_000_000;
const NOW_MS: u64 = NOW_S * 1_000;
const ACCOUNT: &str = "acct_0000000000000000000001";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with two keys of two kinds.
struct Stand {
    issuer: Issuer,
    jwks: Jwks,
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

fn stand() -> Stand {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
    let point = ec.public_key().as_ref();
    let document = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": b64(ed.public_key()) },
        { "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
        { "kty": "oct", "kid": "secret", "k": "AAAA" },
        { "kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB" },
    ]});
    let issuer = IssuerSpec {
        name: "acme".into(),
        issuer: "https://login.example".into(),
        audiences: vec!["https://api.example".into()],
        jwks_file: Some("unused".into()),
        algorithms: vec![Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256],
        account_claim: Some("org".into()),
        ..IssuerSpec::default()
    };
    let issuer = issuer.resolve().unwrap();
    let jwks = Jwks::read(document.to_string().as_bytes(), &issuer.algorithms).unwrap();
    Stand { issuer, jwks, ed, ec }
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example", "aud": "https://api.example", "sub": "user-1", "org": ACCOUNT,
        "exp": NOW_S + 300, "iat": NOW_S - 10, "scope": "openid read:orders write:orders",
    })
}

/// `claims` with some changed; null takes one out.
fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

impl Stand {
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = match header["alg"].as_str() {
            Some("ES256") => self.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", b64(signature))
    }

    fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        Token::read(token.as_bytes())?.verify(&self.issuer, &self.jwks, NOW_MS)
    }

    fn verify_claims(&self, changes: &Value) -> Result<Claims, Refusal> {
        self.verify(&self.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &with(changes)))
    }

    fn verify_header(&self, header: &Value) -> Result<Claims, Refusal> {
        self.verify(&self.sign(header, &claims()))
    }
}

#[test]
fn a_good_token_says_whom_it_stands_for_and_what_they_may_do() {
    let stand = stand();
    for header in [json!({ "alg": "EdDSA", "kid": "ed" }), json!({ "alg": "ES256", "kid": "ec" }), json!({ "alg": "EdDSA" })] {
        let claims = stand.verify_header(&header).unwrap();
        assert_eq!(claims.account.to_string(), ACCOUNT);
        assert_eq!(claims.subject.as_deref(), Some("user-1"));
        let scopes: Vec<_> = claims.scopes.iter().map(clearway_config::Scope::as_str).collect();
        assert_eq!(scopes, ["read:orders", "write:orders"]);
        assert_eq!(claims.refused_from_ms, NOW_MS + 330_000, "the end and the leeway");
    }
}

#[test]
fn a_token_never_chooses_how_it_is_verified() {
    let stand = stand();
    for (header, refusal) in [
        (json!({ "alg": "none" }), Refusal::Invalid("alg")),
        (json!({ "alg": "HS256", "kid": "ed" }), Refusal::Invalid("alg")),
        (json!({ "alg": "hs256", "kid": "ed" }), Refusal::Invalid("alg")),
        (json!({ "alg": ["EdDSA"], "kid": "ed" }), Refusal::Invalid("alg")),
        (json!({ "kid": "ed" }), Refusal::Invalid("alg")),
        // The issuer does not sign by it.
        (json!({ "alg": "PS256", "kid": "ed" }), Refusal::Invalid("alg")),
        // A key of another kind, however it is named.
        (json!({ "alg": "RS256", "kid": "ed" }), Refusal::KeyUnknown),
        (json!({ "alg": "EdDSA", "kid": "ec" }), Refusal::KeyUnknown),
        (json!({ "alg": "EdDSA", "kid": "secret" }), Refusal::KeyUnknown),
        (json!({ "alg": "EdDSA", "kid": "other" }), Refusal::KeyUnknown),
        (json!({ "alg": "EdDSA", "kid": 7 }), Refusal::Invalid("kid")),
        (json!({ "alg": "EdDSA", "kid": "x".repeat(300) }), Refusal::Invalid("kid")),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false }), Refusal::Invalid("crit")),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": [] }), Refusal::Invalid("crit")),
    ] {
        assert_eq!(stand.verify_header(&header), Err(refusal), "{header}");
    }
    // A key that comes with the token is nobody's.
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(stranger.public_key()) });
    let signed = format!("{}.{}", b64(json!({ "alg": "EdDSA", "kid": "ed", "jwk": jwk }).to_string()), b64(claims().to_string()));
    let token = format!("{signed}.{}", b64(stranger.sign(signed.as_bytes())));
    assert_eq!(stand.verify(&token), Err(Refusal::Invalid("signature")));
}

#[test]
fn a_token_of_another_kind_is_not_taken_where_the_kind_is_said() {
    let mut stand = stand();
    stand.issuer.typ = Some("at+jwt".into());
    for (typ, good) in [("at+jwt", true), ("application/at+JWT", true), ("JWT", false), ("id+jwt", false)] {
        let verdict = stand.verify_header(&json!({ "alg": "EdDSA", "kid": "ed", "typ": typ }));
        assert_eq!(verdict.is_ok(), good, "{typ}: {verdict:?}");
    }
    assert_eq!(stand.verify_header(&json!({ "alg": "EdDSA", "kid": "ed" })), Err(Refusal::Invalid("typ")));
}

#[test]
fn a_token_holds_from_its_beginning_to_its_end_and_is_for_us() {
    let stand = stand();
    for (changes, refusal) in [
        (json!({ "exp": null }), Refusal::Invalid("exp")),
        (json!({ "exp": "soon" }), Refusal::Invalid("exp")),
        (json!({ "exp": -1 }), Refusal::Invalid("exp")),
        (json!({ "exp": NOW_S - 30 }), Refusal::Expired),
        (json!({ "nbf": NOW_S + 31 }), Refusal::NotYetValid),
        (json!({ "iat": NOW_S + 31 }), Refusal::NotYetValid),
        (json!({ "aud": null }), Refusal::Audience),
        (json!({ "aud": "https://api.example/" }), Refusal::Audience),
        (json!({ "aud": ["other", 7] }), Refusal::Audience),
        (json!({ "iss": "https://login.example/" }), Refusal::IssuerUnknown),
        (json!({ "iss": null }), Refusal::IssuerUnknown),
        (json!({ "org": "acme" }), Refusal::AccountUnknown),
        (json!({ "org": null }), Refusal::AccountUnknown),
        (json!({ "sub": 7 }), Refusal::Invalid("subject")),
        (json!({ "sub": "x".repeat(257) }), Refusal::Invalid("subject")),
    ] {
        assert_eq!(stand.verify_claims(&changes), Err(refusal), "{changes}");
    }
    for changes in [
        json!({ "exp": NOW_S - 29 }),
        json!({ "exp": f64::from(1_800_000_000_u32) + 0.5 }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": NOW_S + 30, "iat": NOW_S + 30 }),
        json!({ "aud": ["other", "https://api.example"] }),
        json!({ "sub": null }),
    ] {
        assert!(stand.verify_claims(&changes).is_ok(), "{changes}");
    }
}

#[test]
fn a_token_may_be_limited_in_its_age() {
    let mut stand = stand();
    stand.issuer.max_age = Some(Duration::from_secs(60));
    assert_eq!(stand.verify_claims(&json!({ "iat": null })), Err(Refusal::Invalid("iat")));
    assert_eq!(stand.verify_claims(&json!({ "iat": NOW_S - 90 })), Err(Refusal::Expired));
    assert_eq!(stand.verify_claims(&json!({ "iat": NOW_S - 89 })).unwrap().refused_from_ms, NOW_MS + 1_000);
}

#[test]
fn accounts_come_from_the_claim_a_table_or_the_settings() {
    let mut stand = stand();
    let account: AccountId = ACCOUNT.parse().unwrap();
    stand.issuer.account = AccountRule::Mapped { claim: "sub".into(), accounts: [("user-1".to_owned(), account)].into() };
    assert_eq!(stand.verify_claims(&json!({})).unwrap().account, account);
    assert_eq!(stand.verify_claims(&json!({ "sub": "user-2" })), Err(Refusal::AccountUnknown));
    stand.issuer.account = AccountRule::Always(account);
    assert_eq!(stand.verify_claims(&json!({ "org": null })).unwrap().account, account);
}

#[test]
fn scopes_come_as_text_or_list_and_never_rule_the_platform() {
    let stand = stand();
    let scopes = |changes| {
        let claims = stand.verify_claims(&changes).unwrap();
        claims.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(scopes(json!({ "scope": null, "scp": ["b:c", "a:b", 7] })), "a:b b:c");
    assert_eq!(scopes(json!({ "scope": "admin:platform a:b" })), "a:b");
    assert_eq!(scopes(json!({ "scope": { "a": 1 } })), "");
}

#[test]
fn a_subject_is_fit_for_a_header_whatever_it_holds() {
    let claims = stand().verify_claims(&json!({ "sub": "a b%\r\nü" })).unwrap();
    assert_eq!(claims.subject.as_deref(), Some("a%20b%25%0D%0A%C3%BC"));
}

#[test]
fn what_is_no_token_is_malformed_and_nothing_is_said_twice() {
    let stand = stand();
    let good = stand.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let (head, rest) = good.split_once('.').unwrap();
    let twice = b64(r#"{"alg":"EdDSA","alg":"none"}"#);
    for bad in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!("{head}=.{rest}"),
        format!("{twice}.{rest}"),
        format!("{}.{rest}", b64("[]")),
        format!("{head}.{}.{}", b64("x".repeat(TOKEN_BYTES_MAX)), b64("x")),
    ] {
        assert_eq!(stand.verify(&bad), Err(Refusal::Malformed), "{bad}");
    }
}

#[test]
fn a_set_of_keys_is_bounded_and_one_that_verifies_nothing_is_refused() {
    let algorithms = [Algorithm::EdDSA];
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]) });
    let set = |keys: Vec<Value>| Jwks::read(json!({ "keys": keys }).to_string().as_bytes(), &algorithms);
    assert_eq!(set(vec![key.clone(); KEYS_MAX]).unwrap().len(), KEYS_MAX);
    assert_eq!(set(vec![key.clone(); KEYS_MAX + 1]), Err(JwksFault::TooMany));
    for useless in [
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 31]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]), "use": "enc" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]), "key_ops": ["sign"] }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]), "alg": "ES256" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]), "alg": "HS256" }),
        json!({ "kty": "EC", "crv": "P-256", "x": b64([1; 32]), "y": b64([1; 32]) }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!("not a key"),
    ] {
        assert_eq!(set(vec![useless.clone()]), Err(JwksFault::Nothing), "{useless}");
        assert_eq!(set(vec![useless, key.clone()]).unwrap().len(), 1);
    }
    assert_eq!(Jwks::read(&vec![b' '; JWKS_BYTES_MAX + 1], &algorithms), Err(JwksFault::TooLarge));
    assert!(matches!(Jwks::read(b"{}", &algorithms), Err(JwksFault::Malformed(_))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_pass(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let stand = stand();
        prop_assert!(Token::read(&bytes).and_then(|token| token.verify(&stand.issuer, &stand.jwks, NOW_MS)).is_err());
    }

    #[test]
    fn one_changed_character_is_noticed(at in 0_usize..400, to in "[A-Za-z0-9_.-]") {
        let stand = stand();
        let good = stand.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
        prop_assume!(at < good.len() && good[at..=at] != to);
        let mut bad = good.clone();
        bad.replace_range(at..=at, &to);
        prop_assert!(stand.verify(&good).is_ok());
        prop_assert!(stand.verify(&bad).is_err());
    }
}

#[test]
fn an_id_token_is_its_issuers_word_to_one_client_about_one_request() {
    let stand = stand();
    let expected = Expected { issuer: "https://login.example", client_id: "clearway", nonce: "once" };
    let verify = |header: &Value, changes: &Value| {
        let mut claims = with(&json!({ "aud": "clearway", "nonce": "once" }));
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = stand.sign(header, &claims);
        Token::read(token.as_bytes())?.verify_id_token(expected, &stand.jwks, NOW_MS)
    };
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    for good in [
        json!({}),
        json!({ "aud": ["clearway"] }),
        json!({ "azp": "clearway" }),
        json!({ "aud": ["another", "clearway"], "azp": "clearway" }),
        json!({ "exp": NOW_S - 59 }),
    ] {
        assert_eq!(verify(&header, &good), Ok(()), "{good}");
    }
    for (changes, refusal) in [
        (json!({ "iss": "https://login.example/" }), Refusal::IssuerUnknown),
        (json!({ "nonce": "twice" }), Refusal::Invalid("nonce")),
        (json!({ "nonce": null }), Refusal::Invalid("nonce")),
        (json!({ "aud": "another" }), Refusal::Audience),
        (json!({ "aud": null }), Refusal::Audience),
        (json!({ "aud": ["another", "clearway"] }), Refusal::Audience),
        (json!({ "azp": "another" }), Refusal::Audience),
        (json!({ "exp": NOW_S - 60 }), Refusal::Expired),
        (json!({ "iat": NOW_S - 700 }), Refusal::Expired),
        (json!({ "iat": null }), Refusal::Invalid("iat")),
        (json!({ "iat": NOW_S + 61, "exp": NOW_S + 300 }), Refusal::NotYetValid),
    ] {
        assert_eq!(verify(&header, &changes), Err(refusal), "{changes}");
    }
    for (header, refusal) in [
        (json!({ "alg": "none" }), Refusal::Invalid("alg")),
        (json!({ "alg": "HS256", "kid": "ed" }), Refusal::Invalid("alg")),
        (json!({ "alg": "EdDSA", "kid": "ed", "typ": "at+jwt" }), Refusal::Invalid("typ")),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": [] }), Refusal::Invalid("crit")),
        (json!({ "alg": "ES256", "kid": "ed" }), Refusal::KeyUnknown),
    ] {
        assert_eq!(verify(&header, &json!({})), Err(refusal), "{header}");
    }
}

#[test]
fn a_token_for_a_path_is_good_there_and_below_and_nowhere_else() {
    let mut stand = stand();
    let of = |audience: &str| json!({ "aud": audience });
    assert_eq!(stand.verify_claims(&of("https://api.example/orders")), Err(Refusal::Audience), "the issuer has none such");
    stand.issuer.resources = true;
    let everywhere = stand.verify_claims(&json!({})).unwrap();
    assert!(everywhere.below.is_none() && everywhere.covers("/x"));
    let orders = stand.verify_claims(&of("https://api.example/v1/orders")).unwrap();
    for (path, good) in [
        ("/v1/orders", true),
        ("/v1/orders/17", true),
        ("/v1/orders/", true),
        ("/v1/orders2", false),
        ("/v1", false),
        ("/", false),
        ("/x/v1/orders", false),
        ("/V1/orders", false),
    ] {
        assert_eq!(orders.covers(path), good, "{path}");
    }
    for audience in [
        "https://api.example/",
        "https://api.example/orders/",
        "https://api.example//orders",
        "https://api.example/../orders",
        "https://api.example/%6frders",
        "https://api.example/orders?x",
        "https://api.example.evil/orders",
        "https://api.exampleorders",
    ] {
        assert_eq!(stand.verify_claims(&of(audience)), Err(Refusal::Audience), "{audience}");
    }
    let several = json!({ "aud": ["https://api.example/orders", "other"] });
    assert_eq!(stand.verify_claims(&several), Err(Refusal::Audience), "one path or nothing");
}
