//! How clients prove that they are themselves.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{CLIENTS, FORM, REDIRECT, Stand, VERIFIER, claims, form, redirected, refused, text};
use crate::app::{Answer, NOW, TestApp, on_both};

#[tokio::test]
async fn a_client_proves_itself_in_the_one_way_that_it_was_registered_with() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let code = stand.code().await;
        let base =
            [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
        let post = async |more: &[(&str, &str)]| {
            let pairs: Vec<_> = base.iter().copied().chain(more.iter().copied()).collect();
            stand.app.anyone().header("content-type", FORM).post("/oauth/token", &form(&pairs)).await
        };
        refused(&post(&[]).await, 401, "invalid_client");
        refused(&post(&[("client_id", &stand.client)]).await, 401, "invalid_client");
        refused(&post(&[("client_id", &stand.client), ("client_secret", &stand.secret)]).await, 401, "invalid_client");
        refused(&stand.token_as(&stand.client, "wrong", &base).await, 401, "invalid_client");
        refused(&stand.token_as("client_0000000000000000000000", &stand.secret, &base).await, 401, "invalid_client");
        refused(&stand.redeem(&code, &[("client_id", "client_0000000000000000000000")]).await, 400, "invalid_request");
        refused(&stand.redeem(&code, &[("client_secret", &stand.secret)]).await, 400, "invalid_request");
        assert_eq!(stand.redeem(&code, &[]).await.status, StatusCode::OK, "none of that used the code");

        let public = json!({"token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"]});
        let (native, none) = stand.register(&public).await;
        assert_eq!(none, "");
        let at = "http://127.0.0.1:53111/cb";
        let back = stand.decide(&[("client_id", &native), ("redirect_uri", at)]).await;
        let location = back.headers["location"].to_str().unwrap();
        let code = location.split_once("code=").unwrap().1.split('&').next().unwrap();
        let pairs = [
            ("grant_type", "authorization_code"),
            ("client_id", &native),
            ("code", code),
            ("redirect_uri", at),
            ("code_verifier", VERIFIER),
        ];
        let issued = stand.app.anyone().header("content-type", FORM).post("/oauth/token", &form(&pairs)).await;
        assert_eq!(issued.status, StatusCode::OK, "{:#}", issued.body);

        let rotated = stand.app.with_key(&stand.bearer).post(&format!("{CLIENTS}/{}/rotate", stand.client), "{}").await;
        let fresh = rotated.data()["client_secret"].as_str().unwrap().to_owned();
        refused(&stand.redeem("x", &[]).await, 401, "invalid_client");
        refused(&stand.token_as(&stand.client, &fresh, &base).await, 400, "invalid_grant");
        let json = stand.app.anyone().post("/oauth/token", "{}").await;
        refused(&json, 400, "invalid_request");
    })
    .await;
}

/// A client that signs by a key of its own.
struct Signing {
    id: String,
    key: Ed25519KeyPair,
}

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ISSUER: &str = "http://127.0.0.1:8080";

fn jwk(key: &Ed25519KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": URL_SAFE_NO_PAD.encode(key.public_key())})
}

impl Signing {
    async fn new(stand: &Stand) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let more = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk(&key)]}});
        let (id, none) = stand.register(&more).await;
        assert_eq!(none, "", "it has no secret");
        Self { id, key }
    }

    /// With some claims or parts of the header changed; null takes one out.
    fn assertion(&self, jti: &str, header: &Value, changes: &Value) -> String {
        let now_s = NOW / 1_000;
        let mut claims = json!({"iss": self.id, "sub": self.id, "aud": ISSUER, "jti": jti, "exp": now_s + 60, "iat": now_s});
        let mut head = json!({"alg": "EdDSA", "kid": "one"});
        for (into, from) in [(&mut claims, changes), (&mut head, header)] {
            for (name, value) in from.as_object().unwrap() {
                into[name] = value.clone();
            }
            into.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn redeem(stand: &Stand, code: &str, more: &[(&str, &str)]) -> Answer {
    let base = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    let pairs: Vec<_> = base.iter().copied().chain(more.iter().copied()).collect();
    stand.app.anyone().header("content-type", FORM).post("/oauth/token", &form(&pairs)).await
}

/// RFC 7523, 3, and RFC 8725: for us alone, for a short while, once, and by the client's own key.
#[tokio::test]
async fn an_assertion_is_good_once_for_us_alone_and_by_the_clients_own_key() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let client = Signing::new(&stand).await;
        let now_s = NOW / 1_000;
        let none = json!({});
        let try_with = async |assertion: &str, more: &[(&str, &str)]| {
            let shown = [("client_assertion_type", ASSERTION), ("client_assertion", assertion)];
            let pairs: Vec<_> = shown.into_iter().chain(more.iter().copied()).collect();
            redeem(&stand, "x", &pairs).await
        };
        let (other, other_secret) = stand.register(&json!({})).await;
        for (n, changes) in [
            json!({"aud": format!("{ISSUER}/oauth/token")}),
            json!({"aud": [ISSUER, "https://elsewhere.example"]}),
            json!({"aud": null}),
            json!({"iss": other}),
            json!({"iss": other, "sub": other}),
            json!({"sub": "client_x"}),
            json!({"exp": now_s + 400}),
            json!({"exp": now_s - 31}),
            json!({"exp": null}),
            json!({"iat": now_s + 60}),
            json!({"jti": null}),
            json!({"jti": ""}),
            json!({"jti": "x".repeat(257)}),
        ]
        .iter()
        .enumerate()
        {
            refused(&try_with(&client.assertion(&format!("bad{n}"), &none, changes), &[]).await, 401, "invalid_client");
        }
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES256"}),
            json!({"kid": "two"}),
            json!({"crit": ["x"]}),
        ] {
            refused(&try_with(&client.assertion("head", &header, &none), &[]).await, 401, "invalid_client");
        }
        let stranger = Signing { id: client.id.clone(), key: Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap() };
        refused(&try_with(&stranger.assertion("s", &none, &none), &[]).await, 401, "invalid_client");
        let mut key = jwk(&stranger.key);
        key["kid"] = json!("one");
        refused(&try_with(&stranger.assertion("s", &json!({ "jwk": key }), &none), &[]).await, 401, "invalid_client");

        let good = client.assertion("good", &none, &none);
        refused(&try_with(&good, &[("client_id", &other)]).await, 400, "invalid_request");
        refused(&try_with(&good, &[("client_secret", &other_secret)]).await, 400, "invalid_request");
        refused(
            &redeem(&stand, "x", &[("client_assertion_type", "x"), ("client_assertion", &good)]).await,
            401,
            "invalid_client",
        );
        let code = redirected(&stand.decide(&[("client_id", &client.id)]).await)["code"].as_str().unwrap().to_owned();
        let shown = [("client_assertion_type", ASSERTION), ("client_assertion", &good), ("client_id", &client.id)];
        let issued = redeem(&stand, &code, &shown).await;
        assert_eq!(issued.status, StatusCode::OK, "{:#}", issued.body);
        refused(&try_with(&good, &[]).await, 401, "invalid_client");
        refused(&try_with(&client.assertion("next", &none, &none), &[]).await, 400, "invalid_grant");
        refused(&redeem(&stand, "x", &[("client_id", &client.id)]).await, 401, "invalid_client");
        refused(
            &stand.token_as(&client.id, "x", &[("grant_type", "refresh_token"), ("refresh_token", "x")]).await,
            401,
            "invalid_client",
        );
    })
    .await;
}

#[tokio::test]
async fn keys_are_registered_and_replaced_and_their_private_halves_refused() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let client = Signing::new(&stand).await;
        let key = jwk(&client.key);
        let mut private = key.clone();
        private["d"] = json!("AAAA");
        let wrong_of = |jwks: &Value| json!({"name": "x", "redirect_uris": [REDIRECT], "scopes": [], "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks});
        for jwks in [
            json!({}),
            json!({"keys": []}),
            json!({"keys": [private]}),
            json!({"keys": [{"kty": "oct", "k": "AAAA"}]}),
            json!({"keys": [key, {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}),
            json!({"keys": vec![key.clone(); 11]}),
            json!("keys"),
            Value::Null,
        ] {
            let refused = stand.app.with_key(&stand.bearer).post(CLIENTS, &wrong_of(&jwks).to_string()).await;
            refused.refused(400, "validation_error");
        }
        let beside = json!({"name": "x", "redirect_uris": [REDIRECT], "scopes": [], "jwks": {"keys": [key]}});
        stand.app.with_key(&stand.bearer).post(CLIENTS, &beside.to_string()).await.refused(400, "validation_error");
        let at = format!("{CLIENTS}/{}", client.id);
        stand.app.with_key(&stand.bearer).post(&format!("{at}/rotate"), "{}").await.refused(409, "conflict");

        let next = Signing { id: client.id.clone(), key: Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap() };
        let replaced = stand.app.with_key(&stand.bearer).put(&at, &json!({"jwks": {"keys": [jwk(&next.key)]}}).to_string()).await;
        assert_eq!(replaced.data()["jwks"]["keys"][0]["x"], jwk(&next.key)["x"]);
        for (of, status, word) in [(&client, 401, "invalid_client"), (&next, 400, "invalid_grant")] {
            let assertion = of.assertion("after", &json!({}), &json!({}));
            let shown = [("client_assertion_type", ASSERTION), ("client_assertion", &*assertion)];
            refused(&redeem(&stand, "x", &shown).await, status, word);
        }
    })
    .await;
}

/// RFC 8707: a token for one path is of no use to whoever serves another.
#[tokio::test]
async fn a_token_for_one_resource_is_good_there_alone_and_is_never_widened() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        for elsewhere in ["https://elsewhere.example", "http://127.0.0.1:8080/", "http://127.0.0.1:8080.evil", "/api"] {
            assert_eq!(redirected(&stand.ask(&[("resource", elsewhere)]).await)["error"], "invalid_target", "{elsewhere}");
        }
        let keys = format!("{ISSUER}/api/v1/keys");
        let code = redirected(&stand.decide(&[("resource", &keys)]).await)["code"].as_str().unwrap().to_owned();
        refused(&stand.redeem(&code, &[("resource", &format!("{ISSUER}/api"))]).await, 400, "invalid_target");
        let issued = stand.redeem(&code, &[]).await;
        let access = text(&issued, "access_token");
        assert_eq!(claims(access)["aud"], json!(keys));
        stand.app.with_key(access).get("/api/v1/keys").await.data();
        stand.app.with_key(access).get("/api/v1/stores").await.refused(401, "token_invalid");
        let refreshed = stand.refresh(text(&issued, "refresh_token")).await;
        assert_eq!(claims(text(&refreshed, "access_token"))["aud"], json!(keys), "refreshing changes nothing of it");
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", text(&refreshed, "refresh_token")), ("resource", ISSUER)];
        refused(&stand.token_as(&stand.client, &stand.secret, &pairs).await, 400, "invalid_target");

        let wide = stand.tokens().await;
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", text(&wide, "refresh_token")), ("resource", &keys)];
        let narrow = stand.token_as(&stand.client, &stand.secret, &pairs).await;
        assert_eq!(claims(text(&narrow, "access_token"))["aud"], json!(keys));
        let again = stand.refresh(text(&narrow, "refresh_token")).await;
        assert_eq!(claims(text(&again, "access_token"))["aud"], json!(ISSUER), "what was granted was more");
    })
    .await;
}
