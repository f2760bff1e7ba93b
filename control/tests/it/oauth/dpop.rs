//! Tokens that are bound to a key, and whoever has the token and not the key (RFC 9449, 11).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::settings::process::OauthSettings;
use clearway_control::{oauth::IssuerFeed, sync::Feed as _};
use clearway_filters::jwt::Nonces;
use http::StatusCode;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{CLIENTS, FORM, REDIRECT, Stand, VERIFIER, claims, form, redirected, refused, text};
use crate::app::{Answer, TestApp, on_both};

const ISSUER: &str = "http://127.0.0.1:8080";
const TOKEN: &str = "/oauth/token";
const KEYS: &str = "/api/v1/keys";

/// Somebody who proves a key.
struct Prover {
    pair: Ed25519KeyPair,
    app: TestWorld,
}

/// The clock of the test's app.
type TestWorld = clearway_control::world::World;

impl Prover {
    fn new(stand: &Stand, seed: u8) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), app: stand.app.world.clone() }
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.public_key())})
    }

    fn thumbprint(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
    }

    /// A proof for a request, with some of its parts changed.
    fn proof(&self, jti: &str, (method, path): (&str, &str), header: &Value, changes: &Value) -> String {
        let now_s = self.app.now_ms() / 1_000;
        let mut head = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()});
        let mut body = json!({"jti": jti, "htm": method, "htu": format!("{ISSUER}{path}"), "iat": now_s});
        for (into, from) in [(&mut head, header), (&mut body, changes)] {
            for (name, value) in from.as_object().unwrap() {
                into[name] = value.clone();
            }
            into.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(body.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes())))
    }

    fn at_token(&self, jti: &str) -> String {
        self.proof(jti, ("POST", TOKEN), &json!({}), &json!({}))
    }

    fn with_token(&self, jti: &str, request: (&str, &str), token: &str) -> String {
        self.proof(jti, request, &json!({}), &json!({"ath": URL_SAFE_NO_PAD.encode(Sha256::digest(token))}))
    }
}

async fn tokens(stand: &Stand, proof: Option<&str>, pairs: &[(&str, &str)]) -> Answer {
    let client = stand.app.anyone().header("content-type", FORM);
    let client =
        if pairs.iter().any(|(name, _)| *name == "client_id") { client } else { client.header("authorization", &stand.basic()) };
    let client = match proof {
        Some(proof) => client.header("dpop", proof),
        None => client,
    };
    client.post(TOKEN, &form(pairs)).await
}

async fn redeem(stand: &Stand, proof: Option<&str>, code: &str) -> Answer {
    let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    tokens(stand, proof, &pairs).await
}

/// Calls the API with a token that is said to be bound.
async fn call(stand: &Stand, token: &str, proof: &str, path: &str) -> Answer {
    stand.app.anyone().header("authorization", &format!("DPoP {token}")).header("dpop", proof).get(path).await
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_that_was_proved_and_good_with_it_alone() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (owner, thief) = (Prover::new(&stand, 1), Prover::new(&stand, 2));
        let metadata = stand.app.anyone().get("/.well-known/oauth-authorization-server").await;
        assert_eq!(metadata.body["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
        let issued = redeem(&stand, Some(&owner.at_token("one")), &stand.code().await).await;
        assert_eq!(issued.body["token_type"], "DPoP", "{:#}", issued.body);
        let access = text(&issued, "access_token");
        assert_eq!(claims(access)["cnf"], json!({"jkt": owner.thumbprint()}));
        let said = stand.post("/oauth/introspect", &[("token", access)]).await;
        assert_eq!((&said.body["cnf"]["jkt"], &said.body["token_type"]), (&json!(owner.thumbprint()), &json!("DPoP")));

        let get = ("GET", KEYS);
        call(&stand, access, &owner.with_token("a", get, access), KEYS).await.data();
        call(&stand, access, &owner.with_token("b", get, access), &format!("{KEYS}?limit=1")).await.data();
        let as_bearer = stand.app.with_key(access).get(KEYS).await;
        as_bearer.refused(401, "token_proof_missing");
        assert!(as_bearer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "), "{as_bearer:?}");
        let beside = stand.app.with_key(access).header("dpop", &owner.with_token("c", get, access)).get(KEYS).await;
        beside.refused(401, "token_proof_missing");
        let without = stand.app.anyone().header("authorization", &format!("DPoP {access}")).get(KEYS).await;
        without.refused(401, "token_proof_missing");

        let other = text(&stand.tokens().await, "access_token").to_owned();
        for (n, proof) in [
            owner.with_token("a", get, access),
            thief.with_token("d", get, access),
            owner.with_token("e", ("POST", KEYS), access),
            owner.with_token("f", ("GET", "/api/v1/stores"), access),
            owner.with_token("g", get, &other),
            owner.proof("h", get, &json!({}), &json!({})),
            owner.at_token("i"),
            thief.proof("j", get, &json!({"jwk": owner.jwk()}), &json!({"ath": URL_SAFE_NO_PAD.encode(Sha256::digest(access))})),
            "x".into(),
        ]
        .iter()
        .enumerate()
        {
            let answer = call(&stand, access, proof, KEYS).await;
            answer.refused(401, "token_proof_invalid");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.contains("error=\"invalid_dpop_proof\"") && challenge.contains("algs="), "{n}: {challenge}");
        }
        call(&stand, &other, &owner.with_token("k", get, &other), KEYS).await.refused(401, "token_proof_invalid");
        let old = owner.with_token("l", get, access);
        stand.app.world.advance(60_000);
        call(&stand, access, &old, KEYS).await.refused(401, "token_proof_invalid");
    })
    .await;
}

/// RFC 9449, 4.3 and 11.1: each check of a proof, and that it is good once.
#[tokio::test]
async fn a_proof_at_the_token_endpoint_is_good_once_for_that_endpoint_and_that_moment() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let owner = Prover::new(&stand, 1);
        let at = ("POST", TOKEN);
        let now_s = stand.app.world.now_ms() / 1_000;
        let none = json!({});
        let mut private = owner.jwk();
        private["d"] = json!("AAAA");
        for (header, changes) in [
            (json!({"typ": "jwt"}), none.clone()),
            (json!({"alg": "none"}), none.clone()),
            (json!({"alg": "HS256"}), none.clone()),
            (json!({"alg": "ES256"}), none.clone()),
            (json!({"jwk": null}), none.clone()),
            (json!({"jwk": private}), none.clone()),
            (json!({"jwk": Prover::new(&stand, 2).jwk()}), none.clone()),
            (json!({"crit": ["x"]}), none.clone()),
            (none.clone(), json!({"htm": "GET"})),
            (none.clone(), json!({"htu": format!("{ISSUER}/oauth/par")})),
            (none.clone(), json!({"htu": format!("https://elsewhere.example{TOKEN}")})),
            (none.clone(), json!({"iat": now_s - 60})),
            (none.clone(), json!({"iat": now_s + 31})),
            (none.clone(), json!({"iat": null})),
            (none.clone(), json!({"jti": null})),
            (none.clone(), json!({"jti": "x".repeat(257)})),
        ] {
            let proof = owner.proof("bad", at, &header, &changes);
            refused(&redeem(&stand, Some(&proof), "x").await, 400, "invalid_dpop_proof");
        }
        let twice = stand.app.anyone().header("content-type", FORM).header("authorization", &stand.basic());
        let twice = twice.header("dpop", &owner.at_token("p")).header("dpop", &owner.at_token("q"));
        refused(&twice.post(TOKEN, &form(&[("grant_type", "refresh_token")])).await, 400, "invalid_dpop_proof");

        let code = stand.code().await;
        let proof = owner.at_token("once");
        assert_eq!(redeem(&stand, Some(&proof), &code).await.status, StatusCode::OK);
        refused(&redeem(&stand, Some(&proof), &stand.code().await).await, 400, "invalid_dpop_proof");
    })
    .await;
}

/// RFC 9449, 5: a refresh token that was stolen from a client without a secret.
#[tokio::test]
async fn a_public_clients_refresh_token_is_bound_to_its_key_and_a_thief_neither_uses_nor_ends_it() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (owner, thief) = (Prover::new(&stand, 1), Prover::new(&stand, 2));
        let (public, _) = stand.register(&json!({"token_endpoint_auth_method": "none"})).await;
        let code = redirected(&stand.decide(&[("client_id", &public)]).await)["code"].as_str().unwrap().to_owned();
        let pairs = [
            ("grant_type", "authorization_code"),
            ("client_id", &public),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let first = tokens(&stand, Some(&owner.at_token("1")), &pairs).await;
        let token = text(&first, "refresh_token");
        let refresh = async |proof: Option<&str>, token: &str| {
            let pairs = [("grant_type", "refresh_token"), ("client_id", &*public), ("refresh_token", token)];
            tokens(&stand, proof, &pairs).await
        };
        refused(&refresh(None, token).await, 400, "invalid_grant");
        refused(&refresh(Some(&thief.at_token("2")), token).await, 400, "invalid_grant");
        let next = refresh(Some(&owner.at_token("3")), token).await;
        assert_eq!(next.body["token_type"], "DPoP", "{:#}", next.body);
        refused(&refresh(Some(&thief.at_token("4")), token).await, 400, "invalid_grant");
        let again = refresh(Some(&owner.at_token("5")), token).await;
        assert_eq!(text(&again, "access_token"), text(&next, "access_token"), "an answer that was lost, to the same key alone");
        let last = refresh(Some(&owner.at_token("6")), text(&next, "refresh_token")).await;
        assert_eq!(claims(text(&last, "access_token"))["cnf"]["jkt"], owner.thumbprint());

        let confidential = stand.tokens().await;
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", text(&confidential, "refresh_token"))];
        let bound = tokens(&stand, Some(&owner.at_token("7")), &pairs).await;
        assert_eq!(bound.body["token_type"], "DPoP", "who proves by a secret may prove any key besides");
    })
    .await;
}

/// RFC 9449, 10: a code that was taken on its way is of no use without the key that was named beforehand.
#[tokio::test]
async fn a_code_can_be_bound_to_a_key_where_it_is_asked_for_and_where_it_is_pushed() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (owner, thief) = (Prover::new(&stand, 1), Prover::new(&stand, 2));
        assert_eq!(redirected(&stand.ask(&[("dpop_jkt", "x")]).await)["error"], "invalid_request");
        let jkt = owner.thumbprint();
        let code = async || redirected(&stand.decide(&[("dpop_jkt", &jkt)]).await)["code"].as_str().unwrap().to_owned();
        let bound = redeem(&stand, Some(&owner.at_token("1")), &code().await).await;
        assert_eq!(bound.body["token_type"], "DPoP", "{:#}", bound.body);
        refused(&redeem(&stand, None, &code().await).await, 400, "invalid_grant");
        let stolen = code().await;
        refused(&redeem(&stand, Some(&thief.at_token("2")), &stolen).await, 400, "invalid_grant");
        refused(&redeem(&stand, Some(&owner.at_token("3")), &stolen).await, 400, "invalid_grant");

        let push = async |jti: &str, prover: &Prover, more: &[(&str, &str)]| {
            let proof = prover.proof(jti, ("POST", "/oauth/par"), &json!({}), &json!({}));
            let client = stand.app.anyone().header("content-type", FORM).header("authorization", &stand.basic());
            client.header("dpop", &proof).post("/oauth/par", &stand.request(more)).await
        };
        refused(&push("4", &thief, &[("dpop_jkt", &jkt)]).await, 400, "invalid_dpop_proof");
        let pushed = push("5", &owner, &[]).await;
        let decide = async |pushed: &Answer| {
            let body = form(&[
                ("client_id", &stand.client),
                ("request_uri", text(pushed, "request_uri")),
                ("csrf_token", &stand.browser.csrf),
                ("decision", "allow"),
            ]);
            let browser = stand.app.anyone().header("cookie", &stand.browser.cookie).header("content-type", FORM);
            redirected(&browser.post("/oauth/authorize", &body).await)["code"].as_str().unwrap().to_owned()
        };
        let code = decide(&pushed).await;
        refused(&redeem(&stand, Some(&thief.at_token("6")), &code).await, 400, "invalid_grant");
        let code = decide(&push("7", &owner, &[]).await).await;
        assert_eq!(redeem(&stand, Some(&owner.at_token("8")), &code).await.body["token_type"], "DPoP");
    })
    .await;
}

/// RFC 9449, 5.2: no way back to tokens that anybody can use.
#[tokio::test]
async fn a_client_that_is_registered_to_prove_a_key_is_given_nothing_without() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let owner = Prover::new(&stand, 1);
        let at = format!("{CLIENTS}/{}", stand.client);
        let code = stand.code().await;
        let begun = stand.redeem(&stand.code().await, &[]).await;
        let put = stand.app.with_key(&stand.bearer).put(&at, r#"{"dpop_bound_access_tokens": true}"#).await;
        assert_eq!(put.data()["dpop_bound_access_tokens"], true);
        refused(&stand.redeem(&code, &[]).await, 400, "invalid_dpop_proof");
        refused(&stand.refresh(text(&begun, "refresh_token")).await, 400, "invalid_dpop_proof");
        assert_eq!(redeem(&stand, Some(&owner.at_token("1")), &code).await.body["token_type"], "DPoP");
        let (worker, secret) = stand
            .register(&json!({"redirect_uris": null, "grant_types": ["client_credentials"], "dpop_bound_access_tokens": true}))
            .await;
        let pairs = [("grant_type", "client_credentials")];
        refused(&stand.token_as(&worker, &secret, &pairs).await, 400, "invalid_dpop_proof");
    })
    .await;
}

#[tokio::test]
async fn who_somebody_is_is_told_with_a_proof_where_the_token_is_bound() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let owner = Prover::new(&stand, 1);
        let code = redirected(&stand.decide(&[("scope", "openid email")]).await)["code"].as_str().unwrap().to_owned();
        let issued = redeem(&stand, Some(&owner.at_token("1")), &code).await;
        let access = text(&issued, "access_token");
        let at = "/oauth/userinfo";
        let proof = owner.with_token("2", ("GET", at), access);
        assert_eq!(call(&stand, access, &proof, at).await.body["email"], "ann@example.com");
        for proof in [proof, Prover::new(&stand, 2).with_token("3", ("GET", at), access), "x".into()] {
            assert_eq!(call(&stand, access, &proof, at).await.status, StatusCode::UNAUTHORIZED);
        }
        let as_bearer = stand.app.with_key(access).get(at).await;
        assert_eq!(as_bearer.status, StatusCode::UNAUTHORIZED);
        assert!(as_bearer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "), "{as_bearer:?}");
    })
    .await;
}

/// RFC 9449, 8 and 9: whoever could make proofs for a while has made none for later.
#[tokio::test]
async fn where_nonces_are_asked_for_a_refusal_has_one_and_every_process_takes_it() {
    on_both(async |app: TestApp| {
        let asking = Arc::new(OauthSettings { dpop_nonces: true, ..OauthSettings::default() });
        let stand = Stand::new(app.with(|api| api.oauth = asking)).await;
        let owner = Prover::new(&stand, 1);
        let with = |jti: &str, nonce: &str| owner.proof(jti, ("POST", TOKEN), &json!({}), &json!({ "nonce": nonce }));
        let given = |answer: &Answer| answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
        let code = stand.code().await;
        let without = redeem(&stand, Some(&owner.at_token("1")), &code).await;
        refused(&without, 400, "use_dpop_nonce");
        refused(&redeem(&stand, Some(&with("1", "x")), &code).await, 400, "use_dpop_nonce");
        let nonce = given(&without);
        let issued = redeem(&stand, Some(&with("1", &nonce)), &code).await;
        assert_eq!(issued.body["token_type"], "DPoP", "neither code nor proof was used up: {:#}", issued.body);
        assert_eq!(given(&issued), nonce, "for the next one");
        assert!(stand.tokens().await.headers.get("dpop-nonce").is_none(), "who proves nothing needs none");

        let access = text(&issued, "access_token");
        let shown = |jti: &str, path: &str, nonce: &str| {
            let changes = json!({"ath": URL_SAFE_NO_PAD.encode(Sha256::digest(access)), "nonce": nonce});
            owner.proof(jti, ("GET", path), &json!({}), &changes)
        };
        let at_api = call(&stand, access, &owner.with_token("2", ("GET", KEYS), access), KEYS).await;
        at_api.refused(401, "token_nonce_required");
        assert_eq!(given(&at_api), nonce);
        let challenge = at_api.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("DPoP ") && challenge.contains("error=\"use_dpop_nonce\""), "{challenge}");
        call(&stand, access, &shown("2", KEYS, &nonce), KEYS).await.data();
        let about = "/oauth/userinfo";
        let unasked = call(&stand, access, &owner.with_token("3", ("GET", about), access), about).await;
        assert_eq!((unasked.status, given(&unasked)), (StatusCode::UNAUTHORIZED, nonce.clone()));
        assert_eq!(
            call(&stand, access, &shown("3", about, &nonce), about).await.status,
            StatusCode::FORBIDDEN,
            "it was not asked for"
        );
        let pushed = stand.app.anyone().header("content-type", FORM).header("authorization", &stand.basic());
        let proof = owner.proof("4", ("POST", "/oauth/par"), &json!({}), &json!({}));
        refused(&pushed.header("dpop", &proof).post("/oauth/par", &stand.request(&[])).await, 400, "use_dpop_nonce");

        // What gateways are told makes the same.
        let api = &stand.app.api;
        let feed = IssuerFeed { issuer: ISSUER.to_owned(), secrets: api.secrets.clone(), nonces: true };
        let told = feed.load(&api.db, &[]).await.unwrap().token_issuer.unwrap();
        let nonces = Nonces::new(&told.nonce_key).unwrap();
        assert_eq!(nonces.now(stand.app.world.now_ms().try_into().unwrap()).as_str(), nonce);
        let silent = IssuerFeed { nonces: false, ..feed };
        assert!(silent.load(&api.db, &[]).await.unwrap().token_issuer.unwrap().nonce_key.is_empty());

        stand.app.world.advance(120_000);
        let late = call(&stand, access, &shown("5", KEYS, &nonce), KEYS).await;
        late.refused(401, "token_nonce_required");
        let next = given(&late);
        assert_ne!(next, nonce);
        call(&stand, access, &shown("5", KEYS, &next), KEYS).await.data();
    })
    .await;
}
