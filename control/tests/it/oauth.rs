//! OAuth as an application and its person see it, and as those do who would be one of them: RFC 9700's attacks by name.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    app::{Answer, TestApp, on_both},
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
    cookie: String,
    csrf: String,
    client: String,
    secret: String,
}

impl Stand {
    async fn new(app: TestApp) -> Self {
        let account = app.person("ann@example.com").await;
        let bearer = app.session("ann@example.com").await;
        let body = json!({"email": "ann@example.com", "password": PASSWORD, "cookie": true});
        let signed_in = app.auth("login", &body).await;
        let (name, value, _) = cookies(&signed_in).remove(0);
        let cookie = format!("{name}={value}");
        let who = app.anyone().header("cookie", &cookie).get("/api/v1/auth/user").await;
        let csrf = who.data()["csrf_token"].as_str().unwrap().to_owned();
        let mut stand = Self { app, account, bearer, cookie, csrf, client: String::new(), secret: String::new() };
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
        self.app.anyone().header("cookie", &self.cookie).get(&path).await
    }

    /// Sends the consent page's form.
    async fn decide(&self, more: &[(&str, &str)]) -> Answer {
        let more: Vec<_> = [("csrf_token", self.csrf.as_str()), ("decision", "allow")]
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(other, _)| other == name))
            .chain(more.iter().copied())
            .collect();
        let client = self.app.anyone().header("cookie", &self.cookie).header("content-type", FORM);
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
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.client, self.secret));
        client.header("authorization", &format!("Basic {basic}")).post(path, &form(pairs)).await
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

#[tokio::test]
async fn an_application_is_given_access_by_a_person_who_agrees() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let page = stand.ask(&[]).await;
        assert_eq!(page.status, StatusCode::OK);
        let html = page.body.as_str().unwrap();
        assert!(html.contains("Example &lt;App&gt;") && !html.contains("<App>"), "{html}");
        assert!(html.contains("See API keys") && html.contains(&stand.csrf) && !html.contains("<script"));
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self' https://app.example", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");

        let back = redirected(&stand.decide(&[]).await);
        assert_eq!((&back["state"], &back["iss"]), (&json!("st&ate"), &json!("http://127.0.0.1:8080")));
        let answer = stand.redeem(back["code"].as_str().unwrap(), &[]).await;
        assert_eq!((answer.status, text(&answer, "token_type"), text(&answer, "scope")), (StatusCode::OK, "Bearer", "read:keys"));
        assert_eq!((&answer.body["expires_in"], &answer.headers["cache-control"]), (&json!(3_600), &"no-store".parse().unwrap()));
        assert!(text(&answer, "refresh_token").starts_with("clwr_") && answer.body.get("state").is_none());
        let said = claims(text(&answer, "access_token"));
        assert_eq!(
            (&said["iss"], &said["client_id"], &said["account_id"]),
            (&back["iss"], &json!(stand.client), &json!(stand.account))
        );
        assert!(said["sub"].as_str().unwrap().starts_with("user_") && said["aud"] == said["iss"]);
        assert!(stand.is_active(text(&answer, "access_token")).await && stand.is_active(text(&answer, "refresh_token")).await);

        let denied = redirected(&stand.decide(&[("decision", "deny")]).await);
        assert_eq!((&denied["error"], &denied["iss"]), (&json!("access_denied"), &back["iss"]));
        let grants = stand.app.with_key(&stand.bearer).get("/api/v1/oauth/grants").await;
        let grant = grants.data()["items"][0].clone();
        assert_eq!((grants.data()["items"].as_array().unwrap().len(), &grant["client_id"]), (1, &json!(stand.client)));
        stand.app.with_key(&stand.bearer).delete(&format!("/api/v1/oauth/grants/{}", grant["id"].as_str().unwrap())).await.data();
        assert!(!stand.is_active(text(&answer, "access_token")).await);
        refused(&stand.refresh(text(&answer, "refresh_token")).await, 400, "invalid_grant");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_asked_to_and_comes_back_here_only() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let path = format!("/oauth/authorize?{}", stand.request(&[]));
        let away = stand.app.anyone().get(&path).await;
        let location = away.headers["location"].to_str().unwrap().to_owned();
        assert!(away.status == StatusCode::SEE_OTHER && location.starts_with("/oauth/sign-in?return_to=%2Foauth%2Fauthorize%3F"));
        assert_eq!(stand.app.anyone().get(&location).await.status, StatusCode::OK);
        for elsewhere in [
            "https://evil.example/",
            "//evil.example/oauth/authorize?",
            "/oauth/authorize",
            "/\\evil.example",
            "/oauth/authorize?\\",
            "",
        ] {
            stays(&stand.app.anyone().get(&format!("/oauth/sign-in?{}", form(&[("return_to", elsewhere)]))).await, 400);
        }
        let sign_in = async |password: &str, site: &str| {
            let client = stand.app.anyone().header("content-type", FORM).header("sec-fetch-site", site);
            let body = form(&[("return_to", &path), ("email", "ann@example.com"), ("password", password)]);
            client.post("/oauth/sign-in", &body).await
        };
        stays(&sign_in("not it", "same-origin").await, 401);
        stays(&sign_in(PASSWORD, "cross-site").await, 403);
        let signed_in = sign_in(PASSWORD, "same-origin").await;
        assert_eq!((signed_in.status, signed_in.headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, path.as_str()));
        let (name, value, attributes) = cookies(&signed_in).remove(0);
        assert!(attributes.contains("HttpOnly") && attributes.contains("Secure"));
        let page = stand.app.anyone().header("cookie", &format!("{name}={value}")).get(&path).await;
        assert_eq!(page.status, StatusCode::OK);
        let silent = stand.ask(&[("prompt", "none")]).await;
        assert_eq!(redirected(&silent)["error"], "consent_required");
    })
    .await;
}

/// RFC 9700, 4.1 and 4.11.
#[tokio::test]
async fn redirect_tricks_and_open_redirects_send_nobody_anywhere() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        for redirect in [
            "https://evil.example/callback",
            "https://app.example/callback/",
            "https://app.example/callback?x=1",
            "https://app.example/callback/../evil",
            "https://app.example/Callback",
            "https://app.example.evil.example/callback",
            "https://app.example@evil.example/callback",
            "https://app.example/callback#x",
            "http://app.example/callback",
            "https://app.example/callback%2f",
            "javascript:alert(1)",
            "",
        ] {
            stays(&stand.ask(&[("redirect_uri", redirect)]).await, 400);
            stays(&stand.decide(&[("redirect_uri", redirect)]).await, 400);
        }
        stays(&stand.ask(&[("client_id", "client_0000000000000000000000")]).await, 400);
        stays(&stand.ask(&[("client_id", "x")]).await, 400);
        for fault in [("scope", "write:keys"), ("response_type", "token"), ("code_challenge", "")] {
            let away = stand.app.anyone().get(&format!("/oauth/authorize?{}", stand.request(&[fault]))).await;
            let location = away.headers["location"].to_str().unwrap();
            assert!(location.starts_with("/oauth/sign-in?"), "a link to us leads nobody elsewhere: {location}");
        }
        let twice = format!("/oauth/authorize?{}&redirect_uri=https%3A%2F%2Fevil.example", stand.request(&[]));
        stays(&stand.app.anyone().header("cookie", &stand.cookie).get(&twice).await, 400);
        for uris in [json!(["http://app.example/"]), json!(["https://*.app.example/"]), json!(["javascript:alert(1)"]), json!([])]
        {
            let body = json!({"name": "x", "redirect_uris": uris, "scopes": ["read:keys"]});
            stand.app.with_key(&stand.bearer).post(CLIENTS, &body.to_string()).await.refused(400, "validation_error");
        }
    })
    .await;
}

/// RFC 9700, 2.1.1 and 4.8.2: neither left out, nor weakened, nor answered by what does not fit.
#[tokio::test]
async fn pkce_can_neither_be_left_out_nor_downgraded() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        for more in [
            &[("code_challenge", ""), ("code_challenge_method", "")][..],
            &[("code_challenge_method", "")],
            &[("code_challenge_method", "plain")],
            &[("code_challenge_method", "s256")],
            &[("code_challenge", "short")],
        ] {
            assert_eq!(redirected(&stand.ask(more).await)["error"], "invalid_request", "{more:?}");
        }
        refused(&stand.redeem(&stand.code().await, &[("code_verifier", "")]).await, 400, "invalid_request");
        for wrong in [challenge(), VERIFIER.replace('d', "e"), "x".into()] {
            let code = stand.code().await;
            refused(&stand.redeem(&code, &[("code_verifier", &wrong)]).await, 400, "invalid_grant");
            refused(&stand.redeem(&code, &[]).await, 400, "invalid_grant");
        }
    })
    .await;
}

/// RFC 9700, 4.5 and RFC 6749, 4.1.2.
#[tokio::test]
async fn a_code_that_is_shown_twice_ends_all_that_came_of_it() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let code = stand.code().await;
        let first = stand.redeem(&code, &[]).await;
        assert!(stand.is_active(text(&first, "access_token")).await);
        refused(&stand.redeem(&code, &[]).await, 400, "invalid_grant");
        assert!(!stand.is_active(text(&first, "access_token")).await);
        refused(&stand.refresh(text(&first, "refresh_token")).await, 400, "invalid_grant");
        let log = stand.app.with_key(&stand.bearer).get("/api/v1/audit?action=oauth_grant.revoked").await;
        assert_eq!(log.data()["items"][0]["changes"]["revoked_for"]["after"], "code_replayed", "{:#}", log.body);

        let late = stand.code().await;
        stand.app.world.advance(61_000);
        refused(&stand.redeem(&late, &[]).await, 400, "invalid_grant");
    })
    .await;
}

/// RFC 9700, 4.5: a stolen code is of no use to another client, and stays its own client's.
#[tokio::test]
async fn a_code_is_its_own_clients_and_its_own_redirects() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (other, other_secret) = stand.register(&json!({})).await;
        let code = stand.code().await;
        let pairs =
            [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
        refused(&stand.token_as(&other, &other_secret, &pairs).await, 400, "invalid_grant");
        let answer = stand.redeem(&code, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "a stranger ended nothing: {:#}", answer.body);
        refused(&stand.redeem(&stand.code().await, &[("redirect_uri", "https://app.example/other")]).await, 400, "invalid_grant");
        let refresh = text(&answer, "refresh_token");
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        refused(&stand.token_as(&other, &other_secret, &pairs).await, 400, "invalid_grant");
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{other}:{other_secret}"));
        let as_other = stand.app.anyone().header("content-type", FORM).header("authorization", &format!("Basic {basic}"));
        assert_eq!(as_other.post("/oauth/revoke", &form(&[("token", refresh)])).await.status, StatusCode::OK);
        assert!(stand.is_active(refresh).await, "another client revokes nothing");
        let as_other = stand.app.anyone().header("content-type", FORM).header("authorization", &format!("Basic {basic}"));
        assert_eq!(as_other.post("/oauth/introspect", &form(&[("token", refresh)])).await.body, json!({"active": false}));
    })
    .await;
}

/// RFC 9700, 4.14.2, and the rule for answers that are lost.
#[tokio::test]
async fn two_refreshes_at_once_are_given_the_same_and_a_replay_ends_the_family() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let first = stand.tokens().await;
        let token = text(&first, "refresh_token");
        let (one, other) = tokio::join!(stand.refresh(token), stand.refresh(token));
        assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK), "{:#} {:#}", one.body, other.body);
        assert_eq!(text(&one, "refresh_token"), text(&other, "refresh_token"));
        assert_eq!(text(&one, "access_token"), text(&other, "access_token"));
        let next = stand.refresh(text(&one, "refresh_token")).await;
        assert!(stand.is_active(text(&next, "access_token")).await);
        refused(&stand.refresh(token).await, 400, "invalid_grant");
        assert!(!stand.is_active(text(&next, "access_token")).await, "the family has ended");
        refused(&stand.refresh(text(&next, "refresh_token")).await, 400, "invalid_grant");

        // Unused successors, but too late, or once too often.
        for (wait, times) in [(60_000, 0), (0, 1)] {
            let begun = stand.tokens().await;
            let token = text(&begun, "refresh_token");
            let next = stand.refresh(token).await;
            for _ in 0..times {
                assert_eq!(stand.refresh(token).await.status, StatusCode::OK);
            }
            stand.app.world.advance(wait);
            refused(&stand.refresh(token).await, 400, "invalid_grant");
            refused(&stand.refresh(text(&next, "refresh_token")).await, 400, "invalid_grant");
        }
    })
    .await;
}

/// RFC 9700, 4.7: nobody agrees by a form that another site sent.
#[tokio::test]
async fn consent_cannot_be_forged() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stays(&stand.decide(&[("csrf_token", "")]).await, 403);
        stays(&stand.decide(&[("csrf_token", "x")]).await, 403);
        let body = stand.request(&[("csrf_token", &stand.csrf), ("decision", "allow")]);
        let from_elsewhere = stand.app.anyone().header("cookie", &stand.cookie).header("sec-fetch-site", "cross-site");
        stays(&from_elsewhere.header("content-type", FORM).post("/oauth/authorize", &body).await, 403);
        let nobody = stand.app.anyone().header("content-type", FORM).post("/oauth/authorize", &body).await;
        stays(&nobody, 403);
        let by_bearer = stand.app.with_key(&stand.bearer).header("content-type", FORM).post("/oauth/authorize", &body).await;
        stays(&by_bearer, 403);
        assert_eq!(redirected(&stand.decide(&[("decision", "")]).await)["error"], "access_denied", "only a yes is a yes");
        let none = stand.app.with_key(&stand.bearer).get("/api/v1/oauth/grants").await;
        assert_eq!(none.data()["items"], json!([]));
    })
    .await;
}

/// RFC 9700, 4.4 and RFC 9207: every answer, good or bad, says who it is from.
#[tokio::test]
async fn every_answer_to_an_application_names_its_issuer() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let metadata = stand.app.anyone().get("/.well-known/oauth-authorization-server").await;
        let issuer = metadata.body["issuer"].clone();
        assert_eq!(metadata.body["authorization_response_iss_parameter_supported"], true);
        assert_eq!(metadata.body["code_challenge_methods_supported"], json!(["S256"]));
        for answer in [
            stand.decide(&[]).await,
            stand.decide(&[("decision", "deny")]).await,
            stand.ask(&[("response_type", "token")]).await,
            stand.ask(&[("scope", "write:keys")]).await,
            stand.ask(&[("scope", "admin:platform")]).await,
            stand.ask(&[("request", "x")]).await,
            stand.ask(&[("resource", "https://elsewhere.example")]).await,
        ] {
            let back = redirected(&answer);
            assert_eq!((&back["iss"], &back["state"]), (&issuer, &json!("st&ate")));
        }
        let keys = stand.app.anyone().get("/oauth/jwks").await;
        assert_eq!((keys.body["keys"].as_array().unwrap().len(), keys.body["keys"][0].get("d")), (1, None));
    })
    .await;
}

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

#[tokio::test]
async fn an_application_in_its_own_account_needs_nobody_and_gets_no_more_than_its_maker() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let alone = json!({"grant_types": ["client_credentials"], "redirect_uris": []});
        let (client, secret) = stand.register(&alone).await;
        let ask = [("grant_type", "client_credentials"), ("scope", "read:stores")];
        let issued = stand.token_as(&client, &secret, &ask).await;
        assert_eq!((issued.status, text(&issued, "scope")), (StatusCode::OK, "read:stores"), "{:#}", issued.body);
        assert_eq!(
            (claims(text(&issued, "access_token"))["sub"].as_str(), issued.body.get("refresh_token")),
            (Some(&*client), None)
        );
        refused(
            &stand.token_as(&client, &secret, &[("grant_type", "client_credentials"), ("scope", "write:keys")]).await,
            400,
            "invalid_scope",
        );
        refused(&stand.token_as(&stand.client, &stand.secret, &ask).await, 400, "unauthorized_client");
        refused(&stand.token_as(&client, &secret, &[("grant_type", "password")]).await, 400, "unsupported_grant_type");
        let (_, key) = stand.app.account(&["write:apps"]).await;
        let greedy = json!({"name": "x", "grant_types": ["client_credentials"], "scopes": ["write:keys"]});
        stand.app.with_key(&key).post(CLIENTS, &greedy.to_string()).await.refused(403, "scope_missing");
        let ruler = json!({"name": "x", "redirect_uris": [REDIRECT], "scopes": ["admin:platform"]});
        stand.app.admin().post(CLIENTS, &ruler.to_string()).await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn what_is_switched_off_ends_at_once_and_does_not_come_back() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let issued = stand.tokens().await;
        let one = text(&issued, "access_token");
        assert_eq!(stand.post("/oauth/revoke", &[("token", one)]).await.status, StatusCode::OK);
        assert!(!stand.is_active(one).await && stand.is_active(text(&issued, "refresh_token")).await);
        let refreshed = stand.refresh(text(&issued, "refresh_token")).await;
        assert!(stand.is_active(text(&refreshed, "access_token")).await);
        assert_eq!(stand.post("/oauth/revoke", &[("token", text(&refreshed, "refresh_token"))]).await.status, StatusCode::OK);
        assert!(!stand.is_active(text(&refreshed, "access_token")).await);
        assert_eq!(stand.post("/oauth/revoke", &[("token", "unknown")]).await.status, StatusCode::OK);

        let issued = stand.tokens().await;
        let at = format!("{CLIENTS}/{}", stand.client);
        stand.app.with_key(&stand.bearer).put(&at, r#"{"disabled": true}"#).await.data();
        refused(&stand.refresh(text(&issued, "refresh_token")).await, 401, "invalid_client");
        stays(&stand.ask(&[]).await, 400);
        stand.app.with_key(&stand.bearer).put(&at, r#"{"disabled": false}"#).await.data();
        assert!(!stand.is_active(text(&issued, "access_token")).await);
        refused(&stand.refresh(text(&issued, "refresh_token")).await, 400, "invalid_grant");
        let anew = stand.tokens().await;
        assert!(stand.is_active(text(&anew, "access_token")).await);
        stand.app.with_key(&stand.bearer).delete(&at).await.data();
        stand.app.with_key(&stand.bearer).get(&at).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn an_application_does_what_it_was_let_and_the_log_names_it() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let access = text(&stand.tokens().await, "access_token").to_owned();
        let keys = stand.app.with_key(&access).get("/api/v1/keys").await;
        assert_eq!(keys.status, StatusCode::OK, "{:#}", keys.body);
        stand.app.with_key(&access).post("/api/v1/keys", r#"{"name": "x"}"#).await.refused(403, "scope_missing");
        stand.app.with_key(&access).get("/api/v1/auth/user").await.refused(403, "sign_in_required");
        stand.app.with_key(&access[..access.len() - 4]).get("/api/v1/keys").await.refused(401, "token_invalid");
        let mut parts: Vec<_> = access.split('.').map(str::to_owned).collect();
        parts[0] = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        parts[2] = String::new();
        stand.app.with_key(&parts.join(".")).get("/api/v1/keys").await.refused(401, "token_invalid");
        assert_eq!(stand.post("/oauth/revoke", &[("token", &access)]).await.status, StatusCode::OK);
        stand.app.with_key(&access).get("/api/v1/keys").await.refused(401, "token_invalid");
        let late = text(&stand.tokens().await, "access_token").to_owned();
        stand.app.world.advance(3_601_000);
        stand.app.with_key(&late).get("/api/v1/keys").await.refused(401, "token_invalid");
    })
    .await;
}
