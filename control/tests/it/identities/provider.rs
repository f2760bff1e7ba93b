//! A provider in this process: OpenID Connect by discovery, and the shape that GitHub has. It does as its knobs say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::settings::process::SignInSettings;
use clearway_control::providers::Providers;
use http::{HeaderMap, StatusCode, header};
use ring::{
    digest, hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::app::NOW;

const SECRET: &str = "the client's own secret";
const CLIENT: &str = "clearway";

#[derive(Clone)]
pub(crate) struct Provider {
    /// Without a `/` at its end.
    pub(crate) base: String,
    knobs: Arc<Mutex<Knobs>>,
}

/// What it says, and what it was asked.
pub(crate) struct Knobs {
    /// In place of what the ID token says; null takes a claim out.
    pub(crate) claims: Value,
    pub(crate) header: Value,
    /// How the token is signed: rightly, not at all, by the secret that both know, or by another key.
    pub(crate) signed: Signed,
    /// In place of what the metadata say.
    pub(crate) metadata: Value,
    pub(crate) userinfo: Value,
    pub(crate) user: Value,
    pub(crate) emails: Value,
    /// What the token endpoint answers instead.
    pub(crate) token_answer: Option<(u16, Vec<u8>)>,
    /// Paths, in the order in which they were asked for.
    pub(crate) asked: Vec<String>,
    codes: HashMap<String, Grant>,
    /// Codes so far.
    made: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Signed {
    Rightly,
    NotAtAll,
    BySecret,
    ByAnother,
}

#[derive(Clone)]
struct Grant {
    challenge: String,
    redirect_uri: String,
    nonce: Option<String>,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let knobs = Knobs {
            claims: json!({}),
            header: json!({"alg": "EdDSA", "kid": "one"}),
            signed: Signed::Rightly,
            metadata: json!({}),
            userinfo: json!({"sub": "subject-1"}),
            user: json!({"id": 583231, "login": "ann", "name": "Ann"}),
            emails: json!([{"email": "else@example.com", "primary": false, "verified": true, "visibility": null},
                {"email": "Ann@example.com", "primary": true, "verified": true, "visibility": "private"}]),
            token_answer: None,
            asked: Vec::new(),
            codes: HashMap::new(),
            made: 0,
        };
        let provider = Self { base, knobs: Arc::new(Mutex::new(knobs)) };
        let router = Router::new()
            .route("/{*path}", get(answer))
            .route("/token", post(token))
            .route("/login/oauth/access_token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.knobs.lock().unwrap());
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.knobs.lock().unwrap().asked)
    }

    /// As settings: this one as `id` and as `github`, and `other` as a second one.
    pub(crate) fn providers(&self, other: &Provider) -> Providers {
        let (base, other) = (&self.base, &other.base);
        let text = format!(
            "[providers.id]\nissuer = \"{base}\"\nclient_id = \"{CLIENT}\"\ntitle = \"Example ID\"\n\
             [providers.other]\nissuer = \"{other}\"\nclient_id = \"{CLIENT}\"\n\
             [providers.github]\npreset = \"github\"\ngithub_url = \"{base}\"\nclient_id = \"{CLIENT}\"\n"
        );
        let settings: SignInSettings = toml::from_str(&text).unwrap();
        let secret = |_: &str| Some(Zeroizing::new(SECRET.to_owned()));
        Providers::new(&settings, "http://127.0.0.1:8080", secret).unwrap()
    }

    /// What a person's browser does there who agrees: the path and query that it is sent back with.
    pub(crate) fn agree(&self, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let expected = [("response_type", "code"), ("client_id", CLIENT), ("code_challenge_method", "S256")];
        assert!(url.as_str().starts_with(&self.base) && expected.iter().all(|(name, value)| asked[*name] == *value), "{url}");
        let mut knobs = self.knobs.lock().unwrap();
        knobs.made += 1;
        let code = format!("code-{}", knobs.made);
        let grant = Grant {
            challenge: asked["code_challenge"].clone(),
            redirect_uri: asked["redirect_uri"].clone(),
            nonce: asked.get("nonce").cloned(),
        };
        knobs.codes.insert(code.clone(), grant);
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]).append_pair("iss", &self.base);
        format!("{}?{}", back.path(), back.query().unwrap())
    }

    fn id_token(&self, knobs: &Knobs, nonce: Option<&str>) -> String {
        let now = NOW / 1_000;
        let mut claims = json!({"iss": self.base, "aud": CLIENT, "sub": "subject-1", "iat": now, "exp": now + 300,
            "nonce": nonce, "email": "Ann@Example.com", "email_verified": true, "name": "Ann"});
        for (name, value) in knobs.claims.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let signed = format!("{}.{}", b64(knobs.header.to_string()), b64(claims.to_string()));
        let by = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap().sign(signed.as_bytes()).as_ref().to_vec();
        let signature = match knobs.signed {
            Signed::Rightly => by(1),
            Signed::ByAnother => by(2),
            Signed::NotAtAll => Vec::new(),
            Signed::BySecret => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{signed}.{}", b64(signature))
    }
}

async fn answer(State(provider): State<Provider>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let mut knobs = provider.knobs.lock().unwrap();
    knobs.asked.push(path.clone());
    let base = &provider.base;
    let bearer = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let by_token = bearer.as_deref() == Some("Bearer access-token");
    let body = match path.as_str() {
        ".well-known/openid-configuration" => {
            let mut metadata = json!({"issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{base}/keys"),
                "userinfo_endpoint": format!("{base}/userinfo"), "authorization_response_iss_parameter_supported": true});
            for (name, value) in knobs.metadata.as_object().unwrap() {
                metadata[name] = value.clone();
            }
            metadata
        }
        "keys" => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": b64(pair.public_key())}]})
        }
        "userinfo" if by_token => knobs.userinfo.clone(),
        "api/v3/user" if by_token => knobs.user.clone(),
        "api/v3/user/emails" if by_token => knobs.emails.clone(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    Json(body).into_response()
}

/// Redeems a code once, for who shows the secret and the challenge's verifier.
async fn token(State(provider): State<Provider>, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let mut knobs = provider.knobs.lock().unwrap();
    knobs.asked.push("token".into());
    if let Some((status, body)) = knobs.token_answer.clone() {
        let location = [(header::LOCATION, format!("{}/userinfo", provider.base))];
        return (StatusCode::from_u16(status).unwrap(), location, body).into_response();
    }
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("clearway:the+client%27s+own+secret"));
    let by_header = headers.get(header::AUTHORIZATION).is_some_and(|value| value.to_str().unwrap() == basic);
    assert!(by_header || form.get("client_secret").is_some_and(|secret| secret == SECRET), "{headers:?}");
    let refused = |status: StatusCode| (status, Json(json!({"error": "invalid_grant"}))).into_response();
    // GitHub refuses with a 200.
    let status = if by_header { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let Some(grant) = knobs.codes.remove(&form["code"]) else { return refused(status) };
    let challenge = b64(digest::digest(&digest::SHA256, form["code_verifier"].as_bytes()));
    if challenge != grant.challenge || form["redirect_uri"] != grant.redirect_uri {
        return refused(status);
    }
    let mut answer = json!({"access_token": "access-token", "token_type": "bearer", "scope": "x"});
    if by_header {
        answer["id_token"] = provider.id_token(&knobs, grant.nonce.as_deref()).into();
    }
    Json(answer).into_response()
}
