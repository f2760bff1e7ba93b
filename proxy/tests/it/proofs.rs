//! Tokens that are bound to a key (DPoP, RFC 9449), shown by whoever has the token and not the key, or the proof and not the moment.
//! Tokens and proofs are signed here by hand: what the signer and the gateway share is the RFC.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::{Limits, sync::v1};
use clearway_filters::jwt::Nonces;
use ring::{
    digest, hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    client::Answer,
    rig::{ACCOUNT, Rig, bearer, request, routes},
    upstream::Upstream,
};

const ISSUER: &str = "https://gw.example";
const INVALID: &str =
    "DPoP realm=\"clearway\", error=\"invalid_dpop_proof\", error_description=\"token_proof_invalid\", algs=\"ES256 EdDSA\"";
const MISSING: &str =
    "DPoP realm=\"clearway\", error=\"invalid_token\", error_description=\"token_proof_missing\", algs=\"ES256 EdDSA\"";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(text: impl AsRef<[u8]>) -> String {
    b64(digest::digest(&digest::SHA256, text.as_ref()))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn ec() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random).unwrap()
}

fn ec_jwk(pair: &EcdsaKeyPair) -> Value {
    let point = pair.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..65])})
}

fn by_ec(pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    format!("{signed}.{}", b64(pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap()))
}

/// Somebody who proves a key.
struct Prover(Ed25519KeyPair);

impl Prover {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": b64(self.0.public_key())})
    }

    fn thumbprint(&self) -> String {
        sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(self.0.public_key())))
    }

    /// A proof for `GET /bound/a` with a token, with some of its parts changed; null takes one out.
    fn proof(&self, jti: &str, token: &str, header: &Value, claims: &Value) -> String {
        let (header, claims) =
            (changed(json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()}), header), said(jti, token, claims));
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        format!("{signed}.{}", b64(self.0.sign(signed.as_bytes())))
    }

    fn good(&self, jti: &str, token: &str) -> String {
        self.proof(jti, token, &json!({}), &json!({}))
    }
}

fn said(jti: &str, token: &str, changes: &Value) -> Value {
    // A second ahead: what was made before the gateway started is refused.
    let claims = json!({"jti": jti, "htm": "GET", "htu": format!("{ISSUER}/bound/a"), "iat": now_s() + 1, "ath": sha256(token)});
    changed(claims, changes)
}

fn changed(mut of: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        of[name] = value.clone();
    }
    of.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    of
}

/// A gateway that takes Clearway's own tokens at `/bound`, and whoever issues them.
struct Stand {
    rig: Rig,
    issuer: EcdsaKeyPair,
}

impl Stand {
    fn new() -> Self {
        Self::remembering(1_000_000)
    }

    fn remembering(proofs: usize) -> Self {
        let upstream = Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        let more = "\n[[routes]]\nname = \"bound\"\npath = \"/bound\"\nupstream = \"up\"\nauth = [\"jwt\"]\nissuers = [\"clearway\"]\n\
                    \n[[routes]]\nname = \"either\"\npath = \"/either\"\nupstream = \"up\"\nauth = [\"key\", \"jwt\"]\nissuers = [\"clearway\"]\n";
        let mut rig = Rig::start_with(upstream, &(routes(&address) + more), |settings| {
            settings.gateway.signatures.remembered_max = proofs;
        });
        let issuer = ec();
        rig.set(v1::Changes { token_issuer: Some(issuing(&issuer)), ..Default::default() });
        Self { rig, issuer }
    }

    /// Has proofs carry nonces that are made by this key.
    fn ask_for_nonces(&mut self, key: [u8; 32]) {
        let said = v1::TokenIssuer { nonce_key: key.to_vec(), ..issuing(&self.issuer) };
        self.rig.set(v1::Changes { token_issuer: Some(said), ..Default::default() });
    }

    /// A token that is bound to a key, or to none.
    fn token(&self, jkt: Option<&str>) -> String {
        let claims = json!({"iss": ISSUER, "aud": ISSUER, "sub": "user_1", "account_id": ACCOUNT, "client_id": "client_1",
            "client_generation": 1, "grant_id": "grant_1", "jti": "tok_1", "scope": "read:orders", "iat": now_s(),
            "exp": now_s() + 600, "cnf": jkt.map(|jkt| json!({ "jkt": jkt }))});
        by_ec(&self.issuer, &json!({"typ": "at+jwt", "alg": "ES256", "kid": "1"}), &changed(claims, &json!({})))
    }

    fn get(&self, path: &str, lines: &[String]) -> Answer {
        self.rig.ask(request("GET", path, &lines.iter().map(String::as_str).collect::<Vec<_>>(), ""))
    }
}

fn issuing(pair: &EcdsaKeyPair) -> v1::TokenIssuer {
    let mut jwk = ec_jwk(pair);
    jwk["kid"] = "1".into();
    v1::TokenIssuer { issuer: ISSUER.into(), jwks: json!({ "keys": [jwk] }).to_string().into_bytes(), ..<_>::default() }
}

/// What a request shows: a token by the scheme, and proofs.
fn shown(token: &str, proofs: &[&str]) -> Vec<String> {
    let proofs = proofs.iter().map(|proof| format!("DPoP: {proof}"));
    std::iter::once(format!("Authorization: DPoP {token}")).chain(proofs).collect()
}

/// Status, code and challenge, and the part of the proof that was wrong.
fn says(answer: &Answer) -> (u16, String, Option<&str>, Value) {
    let reason = answer.json()["error"]["details"]["reason"].clone();
    (answer.status, answer.error(), answer.header("www-authenticate"), reason)
}

#[test]
fn a_token_passes_with_proofs_of_its_key_by_either_algorithm_and_neither_goes_on() {
    let stand = Stand::new();
    let (owner, pair) = (Prover::new(1), ec());
    let token = stand.token(Some(&owner.thumbprint()));
    assert_eq!(stand.get("/bound/a", &shown(&token, &[&owner.good("1", &token)])).status, 200);
    let received = stand.rig.upstream.last();
    assert!(received.header("authorization").is_empty() && received.header("dpop").is_empty(), "{received:?}");
    assert_eq!(received.header("x-clearway-subject"), ["user_1"]);

    let jwk = ec_jwk(&pair);
    let thumbprint = sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]));
    let token = stand.token(Some(&thumbprint));
    let proof = by_ec(&pair, &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}), &said("2", &token, &json!({})));
    assert_eq!(stand.get("/bound/a", &shown(&token, &[&proof])).status, 200);
    assert_eq!(stand.rig.counted(), 2);
}

/// RFC 9449, 4.3: each check, by who has seen a token and what it was shown with.
#[test]
fn every_way_to_show_somebody_elses_token_is_refused_and_costs_nothing() {
    let stand = Stand::new();
    let (owner, thief) = (Prover::new(1), Prover::new(2));
    let (token, unbound) = (stand.token(Some(&owner.thumbprint())), stand.token(None));
    let other = stand.token(Some(&owner.thumbprint()));
    let none = json!({});
    let wrong = |header: Value, claims: Value| shown(&token, &[&owner.proof("bad", &token, &header, &claims)]);
    let claims = |claims: Value| wrong(json!({}), claims);
    let mut private = owner.jwk();
    private["d"] = b64([1; 32]).into();
    let by_secret = {
        let head = json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": b64([1; 32])}});
        let signed = format!("{}.{}", b64(head.to_string()), b64(said("bad", &token, &none).to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), signed.as_bytes());
        format!("{signed}.{}", b64(tag))
    };
    let unsigned = {
        let head = json!({"typ": "dpop+jwt", "alg": "none", "jwk": owner.jwk()});
        format!("{}.{}.", b64(head.to_string()), b64(said("bad", &token, &none).to_string()))
    };
    let (good, another) = (owner.good("c", &token), owner.good("d", &token));
    for (what, lines, reason) in [
        ("a proof of another key", shown(&token, &[&thief.good("a", &token)]), "key"),
        (
            "another's key in a proof",
            shown(&token, &[&thief.proof("b", &token, &json!({"jwk": owner.jwk()}), &none)]),
            "signature",
        ),
        ("two proofs", shown(&token, &[&good, &another]), "more than one"),
        ("two proofs in one header", shown(&token, &[&format!("{good}, {another}")]), "form"),
        ("an empty proof", shown(&token, &[""]), "form"),
        ("no JWT", shown(&token, &["x"]), "form"),
        ("the token as its own proof", shown(&token, &[&token]), "typ"),
        ("another method", claims(json!({"htm": "POST"})), "htm"),
        ("a method in another spelling", claims(json!({"htm": "get"})), "htm"),
        ("no method", claims(json!({"htm": null})), "htm"),
        ("another path", claims(json!({"htu": format!("{ISSUER}/bound/b")})), "htu"),
        ("a path below", claims(json!({"htu": format!("{ISSUER}/bound/a/b")})), "htu"),
        ("another scheme", claims(json!({"htu": "http://gw.example/bound/a"})), "htu"),
        ("another port", claims(json!({"htu": "https://gw.example:8443/bound/a"})), "htu"),
        ("another host", claims(json!({"htu": "https://gw.example.evil/bound/a"})), "htu"),
        ("the Host that the request names", claims(json!({"htu": "https://api.example.com/bound/a"})), "htu"),
        ("somebody at the host", claims(json!({"htu": "https://x@gw.example/bound/a"})), "htu"),
        ("no scheme", claims(json!({"htu": "/bound/a"})), "htu"),
        ("dots in the path", claims(json!({"htu": format!("{ISSUER}/bound/x/../a")})), "htu"),
        ("no address", claims(json!({"htu": null})), "htu"),
        ("a minute ago", claims(json!({"iat": now_s() - 60})), "iat"),
        ("too far ahead", claims(json!({"iat": now_s() + 40})), "iat"),
        ("no time", claims(json!({"iat": null})), "iat"),
        ("a time in words", claims(json!({"iat": "now"})), "iat"),
        ("another token's", shown(&token, &[&owner.good("e", &other)]), "ath"),
        ("the token and not its hash", claims(json!({"ath": token})), "ath"),
        ("no token's", claims(json!({"ath": null})), "ath"),
        ("no name", claims(json!({"jti": null})), "jti"),
        ("a name that is too long", claims(json!({"jti": "x".repeat(257)})), "jti"),
        ("unsigned", shown(&token, &[&unsigned]), "form"),
        ("signed by a shared secret", shown(&token, &[&by_secret]), "form"),
        ("RS256", wrong(json!({"alg": "RS256"}), json!({})), "alg"),
        ("an algorithm that is not the key's", wrong(json!({"alg": "ES256"}), json!({})), "jwk"),
        ("a private key", wrong(json!({ "jwk": private }), json!({})), "jwk"),
        ("no key", wrong(json!({"jwk": null}), json!({})), "jwk"),
        ("a key elsewhere", wrong(json!({"jwk": null, "jku": "https://evil.example/keys"}), json!({})), "jwk"),
        ("a JWT of another type", wrong(json!({"typ": "JWT"}), json!({})), "typ"),
        ("no type", wrong(json!({"typ": null}), json!({})), "typ"),
        ("what has to be understood", wrong(json!({"crit": ["x"], "x": 1}), json!({})), "crit"),
        ("5 KiB", claims(json!({"x": "x".repeat(4 * 1024)})), "form"),
        ("a token that is bound to no key", shown(&unbound, &[&owner.good("f", &unbound)]), "the token is bound to no key"),
    ] {
        let answer = stand.get("/bound/a", &lines);
        assert_eq!(says(&answer), (401, "token_proof_invalid".into(), Some(INVALID), reason.into()), "{what}");
    }
    let as_bearer = |more: &[String]| [&[format!("Authorization: Bearer {token}")][..], more].concat();
    for (what, lines) in [
        ("no proof", shown(&token, &[])),
        ("as a bearer", as_bearer(&[])),
        ("as a bearer, and a proof beside", as_bearer(&[format!("DPoP: {}", owner.good("g", &token))])),
    ] {
        let answer = stand.get("/bound/a", &lines);
        assert_eq!(says(&answer), (401, "token_proof_missing".into(), Some(MISSING), Value::Null), "{what}");
    }
    for (what, lines, status, code) in [
        ("a key beside", [shown(&token, &[&good]), vec!["X-API-Key: k".into()]].concat(), 400, "ambiguous_request"),
        ("a bearer beside", [shown(&token, &[&good]), vec![bearer(1)]].concat(), 400, "ambiguous_request"),
        ("a proof for one hop", [shown(&token, &[&good]), vec!["Connection: DPoP".into()]].concat(), 400, "ambiguous_request"),
        ("what is no token", shown("x", &[&good]), 401, "token_malformed"),
        ("a proof alone", vec![format!("DPoP: {good}")], 401, "credential_missing"),
    ] {
        let answer = stand.get("/bound/a", &lines);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{what}");
    }
    let mut client = stand.rig.client();
    client.try_send(request("GET", "/bound/a", &[&format!("DPoP: {}", "x".repeat(64 * 1024))], "").as_bytes());
    let huge = client.read();
    assert_eq!((huge.status, huge.error().as_str()), (431, "head_too_large"));
    assert!(stand.rig.upstream.received().is_empty());
    assert_eq!(stand.rig.counted(), 0);
    assert_eq!(stand.get("/bound/a", &shown(&token, &[&good])).status, 200, "no refusal has used up the owner's proof");
}

/// RFC 9449, 4.3, and RFC 3986, 6.2: what is the same address.
#[test]
fn an_address_is_the_same_in_any_spelling_and_whatever_host_the_gateway_was_asked_as() {
    let stand = Stand::new();
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    for (n, (htu, path)) in [
        ("https://gw.example/bound/a?x=1#y", "/bound/a"),
        ("https://gw.example/bound/a", "/bound/a?x=1"),
        ("HTTPS://GW.Example/bound/a", "/bound/a"),
        ("https://gw.example:443/bound/a", "/bound/a"),
        ("https://gw.example/bound/%61", "/bound/a"),
        ("https://gw.example/bound/a", "/bound/%61"),
    ]
    .into_iter()
    .enumerate()
    {
        let proof = owner.proof(&n.to_string(), &token, &json!({}), &json!({ "htu": htu }));
        let mut lines = shown(&token, &[&proof]);
        // Which nobody has to be trusted for: the address is the issuer's.
        lines.extend(["X-Forwarded-Host: evil.example".into(), "X-Forwarded-Proto: http".into()]);
        let answer = stand.get(path, &lines);
        assert_eq!(answer.status, 200, "{htu} {path} {}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn a_proof_is_good_once_and_not_used_up_by_a_limit() {
    let mut stand = Stand::new();
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    let lines = shown(&token, &[&owner.good("1", &token)]);
    assert_eq!(stand.get("/bound/a", &lines).status, 200);
    let again = stand.get("/bound/a", &lines);
    assert_eq!(says(&again), (401, "token_proof_invalid".into(), Some(INVALID), "jti".into()));
    // Another token of the same key has its proofs named by the same key.
    let other = stand.token(Some(&owner.thumbprint()));
    assert_eq!(says(&stand.get("/bound/a", &shown(&other, &[&owner.good("1", &other)]))).3, "jti");
    assert_eq!(stand.rig.counted(), 1);

    stand.rig.set_limits(Limits { per_day: Some(1), ..Limits::UNLIMITED });
    let lines = shown(&token, &[&owner.good("2", &token)]);
    assert_eq!(stand.get("/bound/a", &lines).error(), "quota_exceeded");
    stand.rig.set_limits(Limits::UNLIMITED);
    assert_eq!(stand.get("/bound/a", &lines).status, 200, "what a limit has refused may be sent again as it is");
}

#[test]
fn of_a_proof_that_is_sent_many_times_at_once_one_passes() {
    let stand = Stand::new();
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    let lines = shown(&token, &[&owner.good("1", &token)]);
    let passed = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| stand.get("/bound/a", &lines).status)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).filter(|status| *status == 200).count()
    });
    assert_eq!((passed, stand.rig.counted()), (1, 1));
}

/// Nothing is forgotten early: who comes when there is no room for another proof is refused, and nobody else.
#[test]
fn when_there_is_no_room_to_remember_a_proof_by_it_is_refused() {
    let stand = Stand::remembering(64);
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    let ask = |jti: &str| {
        let lines = shown(&token, &[&owner.good(jti, &token)]);
        (stand.get("/bound/a", &lines), lines)
    };
    let (mut taken, mut refused) = (Vec::new(), 0);
    for n in 0..200 {
        let (answer, lines) = ask(&n.to_string());
        if answer.status == 200 {
            taken.push(lines);
        } else {
            assert_eq!((answer.error().as_str(), answer.header("retry-after")), ("replay_window_full", Some("1")), "{n}");
            refused += 1;
        }
    }
    assert!(taken.len() <= 64 && taken.len() + refused == 200, "{} {refused}", taken.len());
    for lines in &taken {
        assert_ne!(stand.get("/bound/a", lines).status, 200, "taken once");
    }
    assert_eq!(stand.rig.counted(), taken.len() as u64);
    assert_eq!(stand.get("/either/a", &[bearer(1)]).status, 200, "who shows no proof is not touched");
    let unbound = stand.token(None);
    assert_eq!(stand.get("/either/a", &[format!("Authorization: Bearer {unbound}")]).status, 200);
}

#[test]
fn a_proof_that_another_process_may_have_taken_is_refused() {
    let mut stand = Stand::new();
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    let before = owner.proof("1", &token, &json!({}), &json!({"iat": now_s()}));
    stand.rig.restart();
    let answer = stand.get("/bound/a", &shown(&token, &[&before]));
    assert_eq!(says(&answer), (401, "token_proof_invalid".into(), Some(INVALID), "iat".into()));
    assert_eq!(
        stand.get("/bound/a", &shown(&token, &[&owner.proof("2", &token, &json!({}), &json!({"iat": now_s() + 5}))])).status,
        200
    );
}

/// RFC 9449, 9: a proof that was made beforehand carries no nonce of the moment in which it is shown.
#[test]
fn where_nonces_are_asked_for_a_refusal_has_one_and_what_carries_it_passes() {
    let mut stand = Stand::new();
    stand.ask_for_nonces([7; 32]);
    let owner = Prover::new(1);
    let token = stand.token(Some(&owner.thumbprint()));
    let ask = |nonce: Value| {
        let proof = owner.proof("1", &token, &json!({}), &json!({ "nonce": nonce }));
        stand.get("/bound/a", &shown(&token, &[&proof]))
    };
    let now_ms = now_s() * 1_000;
    let (ours, other) = (Nonces::new(&[7; 32]).unwrap(), Nonces::new(&[8; 32]).unwrap());
    let challenge =
        "DPoP realm=\"clearway\", error=\"use_dpop_nonce\", error_description=\"token_nonce_required\", algs=\"ES256 EdDSA\"";
    let mut given = String::new();
    for (what, nonce) in [
        ("none", Value::Null),
        ("an empty one", "".into()),
        ("no text", 1.into()),
        ("an invented one", "x".repeat(43).into()),
        ("another key's", other.now(now_ms).as_str().into()),
        ("one of three minutes ago", ours.now(now_ms - 180_000).as_str().into()),
        ("one of three minutes later", ours.now(now_ms + 180_000).as_str().into()),
    ] {
        let answer = ask(nonce);
        assert_eq!(says(&answer), (401, "token_nonce_required".into(), Some(challenge), Value::Null), "{what}");
        given = answer.header("dpop-nonce").unwrap().to_owned();
    }
    assert!(stand.rig.upstream.received().is_empty());
    assert_eq!(ask(given.as_str().into()).status, 200, "none of the refusals has used the proof up");
    let again = ask(given.into());
    assert_eq!(says(&again).3, "jti", "and once is once, with a nonce too");
    assert_eq!(again.header("dpop-nonce"), None);

    let elsewhere = ours.now(now_ms);
    let proof = owner.proof("2", &token, &json!({}), &json!({ "nonce": elsewhere.as_str() }));
    assert_eq!(stand.get("/bound/a", &shown(&token, &[&proof])).status, 200, "given by any process that has the key");
    let unbound = stand.token(None);
    assert_eq!(stand.get("/bound/a", &[format!("Authorization: Bearer {unbound}")]).status, 200, "there is nothing to prove");
}
