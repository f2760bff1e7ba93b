//! OAuth as an application and its person see it, and as those do who would be one of them.

mod attacks;
mod clients;
mod devices;
mod dpop;
mod endings;
mod flow;
mod identity;
mod pushed;
mod registration;
mod sign_in;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    app::{Answer, TestApp},
    auth::{PASSWORD, cookies},
};

const CLIENTS: &str = "/api/v1/oauth/clients";
const REDIRECT: &str = "https://app.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FORM: &str = "application/x-www-form-urlencoded";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", value.bytes().map(|b| format!("%{b:02X}")).collect::<String>()))
        .collect::<Vec<_>>()
        .join("&")
}

/// A person in a browser, and an application of theirs.
struct Stand {
    app: TestApp,
    account: String,
    bearer: String,
    browser: Browser,
    client: String,
    secret: String,
}

/// Somebody who has signed in.
struct Browser {
    cookie: String,
    csrf: String,
    account: String,
}

impl Browser {
    async fn of(app: &TestApp, email: &str) -> Self {
        let signed_in = app.auth("login", &json!({"email": email, "password": PASSWORD, "cookie": true})).await;
        let (name, value, _) = cookies(&signed_in).remove(0);
        let cookie = format!("{name}={value}");
        let who = app.anyone().header("cookie", &cookie).get("/api/v1/auth/user").await;
        let csrf = who.data()["csrf_token"].as_str().unwrap().to_owned();
        let account = who.data()["account_id"].as_str().unwrap().to_owned();
        Self { cookie, csrf, account }
    }
}

impl Stand {
    async fn new(app: TestApp) -> Self {
        let account = app.person("ann@example.com").await;
        let bearer = app.session("ann@example.com").await;
        let browser = Browser::of(&app, "ann@example.com").await;
        let mut stand = Self { app, account, bearer, browser, client: String::new(), secret: String::new() };
        (stand.client, stand.secret) = stand.register(&json!({})).await;
        stand
    }

    /// Registers an application; its id and its secret.
    async fn register(&self, more: &Value) -> (String, String) {
        let mut body = json!({"name": "Example <App>", "redirect_uris": [REDIRECT], "scopes": ["read:keys", "read:stores"]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.app.with_key(&self.bearer).post(CLIENTS, &body.to_string()).await;
        let secret = made.data()["client_secret"].as_str().unwrap_or_default().to_owned();
        (made.id().to_owned(), secret)
    }

    fn request(&self, more: &[(&str, &str)]) -> String {
        let challenge = challenge();
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.client.as_str()),
            ("redirect_uri", REDIRECT),
            ("scope", "read:keys"),
            ("state", "st&ate"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        pairs.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        form(&pairs)
    }

    /// Opens the consent page.
    async fn ask(&self, more: &[(&str, &str)]) -> Answer {
        let path = format!("/oauth/authorize?{}", self.request(more));
        self.app.anyone().header("cookie", &self.browser.cookie).get(&path).await
    }

    /// Sends the consent page's form.
    async fn decide(&self, more: &[(&str, &str)]) -> Answer {
        self.decide_as(&self.browser, more).await
    }

    async fn decide_as(&self, browser: &Browser, more: &[(&str, &str)]) -> Answer {
        let more: Vec<_> = [("csrf_token", browser.csrf.as_str()), ("decision", "allow")]
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(other, _)| other == name))
            .chain(more.iter().copied())
            .collect();
        let client = self.app.anyone().header("cookie", &browser.cookie).header("content-type", FORM);
        client.post("/oauth/authorize", &self.request(&more)).await
    }

    async fn code(&self) -> String {
        redirected(&self.decide(&[]).await)["code"].as_str().unwrap().to_owned()
    }

    async fn token_as(&self, client: &str, secret: &str, pairs: &[(&str, &str)]) -> Answer {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client}:{secret}"));
        let client = self.app.anyone().header("authorization", &format!("Basic {basic}")).header("content-type", FORM);
        client.post("/oauth/token", &form(pairs)).await
    }

    async fn redeem(&self, code: &str, more: &[(&str, &str)]) -> Answer {
        let mut pairs =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
        pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        pairs.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.token_as(&self.client, &self.secret, &pairs).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.token_as(&self.client, &self.secret, &pairs).await
    }

    async fn tokens(&self) -> Answer {
        let answer = self.redeem(&self.code().await, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
        answer
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let client = self.app.anyone().header("content-type", FORM);
        client.header("authorization", &self.basic()).post(path, &form(pairs)).await
    }

    fn basic(&self) -> String {
        let pair = format!("{}:{}", self.client, self.secret);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    async fn is_active(&self, token: &str) -> bool {
        let answer = self.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
        answer.body["active"] == true
    }
}

#[track_caller]
fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name].as_str().unwrap_or_else(|| panic!("{name}: {:#}", answer.body))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, word: &str) {
    assert_eq!((answer.status.as_u16(), answer.body["error"].as_str()), (status, Some(word)), "{:#}", answer.body);
}

/// The parameters that a browser is sent to the application with.
#[track_caller]
fn redirected(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{:#}", answer.body);
    let location = answer.headers["location"].to_str().unwrap();
    let query = location.strip_prefix(&format!("{REDIRECT}?")).unwrap_or_else(|| panic!("{location}"));
    let url = query.split('&').map(|pair| pair.split_once('=').unwrap());
    url.map(|(name, value)| (name.to_owned(), Value::from(value.replace("%26", "&").replace("%3A", ":").replace("%2F", "/"))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A page that leads nowhere.
#[track_caller]
fn stays(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{:#}", answer.body);
    assert!(!answer.headers.contains_key("location") && answer.body.is_string(), "{answer:?}");
}

fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
