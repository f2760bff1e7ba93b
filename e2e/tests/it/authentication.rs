//! Callers that are no keys: tokens of an issuer whose keys change and fail, and anonymous requests.

use std::time::{Duration, Instant, SystemTime};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    issuer::{Issuer, token, token_named},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";
const AUDIENCE: &str = "https://api.example.com";
const ISSUER: &str = "https://login.example.com";
/// How soon after a fetch an unknown key has them fetched again.
const REFETCH_AFTER: Duration = Duration::from_secs(2);

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn claims(account: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-7", "org": account, "scope": "read:orders",
        "iat": now_s(), "exp": now_s() + 600,
    })
}

fn routes(upstream: &Upstream, jwks_url: &str) -> String {
    let url = &upstream.url;
    format!(
        r#"
[[upstreams]]
name = "svc"
addresses = ["{url}"]

[[issuers]]
name = "login"
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
jwks_url = "{jwks_url}"
algorithms = ["EdDSA"]
account_claim = "org"
refetch_after = "2s"

[[routes]]
name = "svc"
path = "/svc"
upstream = "svc"
auth = ["key", "jwt"]
scopes = ["read:orders"]

[[routes]]
name = "public"
path = "/public"
upstream = "svc"
auth = ["jwt", "anonymous"]
anonymous = {{ per_day = 2 }}
"#
    )
}

struct Stand {
    _fleet: Fleet,
    upstream: Upstream,
    issuer: Issuer,
    control: Control,
    proxy: Proxy,
    account: String,
    client: reqwest::Client,
}

async fn stand() -> Stand {
    let fleet = Fleet::new(SETTINGS);
    let (upstream, issuer) = (Upstream::start().await, Issuer::start(&[1]).await);
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &routes(&upstream, &issuer.jwks_url), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("tokens", "enterprise").await;
    let stand = Stand { _fleet: fleet, upstream, issuer, control, proxy, account, client: crate::client() };
    let good = token(1, &claims(&stand.account));
    eventually("the account and the issuer's keys", async || (stand.ask("/svc", &good).await.status() == 200).then_some(()))
        .await;
    stand
}

impl Stand {
    async fn ask(&self, path: &str, bearer: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.proxy.url)).bearer_auth(bearer);
        request.send().await.expect("the gateway answers")
    }

    async fn error(&self, path: &str, bearer: &str) -> (u16, String) {
        let answer = self.ask(path, bearer).await;
        let status = answer.status();
        assert!(status != StatusCode::UNAUTHORIZED || answer.headers().contains_key("www-authenticate"));
        let body: Value = answer.json().await.expect("JSON");
        (status.as_u16(), body["error"]["type"].as_str().expect("an error").to_owned())
    }

    fn logged(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.proxy.dir.join("access.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_stands_for_its_account_and_what_it_uses_is_what_is_shown() {
    let stand = stand().await;
    let arrived = stand.upstream.last().to_ascii_lowercase();
    assert!(arrived.contains("x-clearway-subject: user-7") && arrived.contains("x-clearway-plan: enterprise"), "{arrived}");
    assert!(!arrived.contains("authorization") && !arrived.contains("x-clearway-key-id"), "{arrived}");

    let (_, key) = stand.control.key(&stand.account, json!({ "scopes": ["read:orders"] })).await;
    eventually("the key", async || (stand.ask("/svc", &key).await.status() == 200).then_some(())).await;
    let (good, other_account) = (claims(&stand.account), claims("acct_0000000000000000000009"));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(1, &claims)
    };
    for (bearer, wanted) in [
        (token(1, &other_account), (403, "token_account_unknown")),
        (with("exp", json!(now_s() - 60)), (401, "token_expired")),
        (with("aud", json!("other")), (401, "token_audience")),
        (with("iss", json!("https://elsewhere.example")), (401, "token_issuer_unknown")),
        (with("scope", json!("read:else")), (403, "scope_missing")),
        (token_named(2, "1", &good), (401, "token_invalid")),
        ("a.b.c".to_owned(), (401, "token_malformed")),
        ("clw_live_x".to_owned(), (401, "key_malformed")),
    ] {
        assert_eq!(stand.error("/svc", &bearer).await, (wanted.0, wanted.1.to_owned()));
    }

    let seen = stand.upstream.seen();
    let usage = eventually("the usage to be shown", async || {
        let path = format!("/api/v1/analytics/usage?account_id={}", stand.account);
        let usage = stand.control.admin(Method::GET, &path, None).await;
        (usage["total"] == json!(seen)).then_some(usage)
    })
    .await;
    assert_eq!(usage["keys"][0]["admitted"], json!(1), "the rest came by tokens: {usage}");
    let lines = eventually("the log", async || Some(stand.logged()).filter(|lines| lines.len() as u64 >= seen + 8)).await;
    let by_token: Vec<_> = lines.iter().filter(|line| line["auth"] == "jwt" && line["admitted"] == true).collect();
    assert_eq!(by_token.len() as u64, seen - 1);
    assert!(by_token.iter().all(|line| line["subject"] == "user-7" && line["account_id"] == json!(stand.account)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_may_change_its_keys_and_fail_and_cannot_be_made_to_answer_more_than_it_should() {
    let stand = stand().await;
    let old = token(1, &claims(&stand.account));
    stand.issuer.publish(&[1, 2]);
    let new = token(2, &claims(&stand.account));
    eventually("the new key, which the first token with it has fetched", async || {
        (stand.ask("/svc", &new).await.status() == 200).then_some(())
    })
    .await;
    assert_eq!(stand.ask("/svc", &old).await.status(), 200);

    stand.issuer.set_broken(true);
    let (before, began) = (stand.issuer.fetches(), Instant::now());
    for n in 0..200 {
        let invented = token_named(3, &format!("invented-{n}"), &claims(&stand.account));
        assert_eq!(stand.error("/svc", &invented).await, (401, "token_key_unknown".to_owned()));
    }
    assert_eq!(stand.ask("/svc", &old).await.status(), 200, "the last keys stay while the issuer is broken");
    let allowed = 1 + began.elapsed().as_secs() / REFETCH_AFTER.as_secs();
    let fetched = stand.issuer.fetches() - before;
    assert!(fetched <= allowed, "{fetched} fetches for 200 invented keys in {:?}", began.elapsed());

    stand.issuer.set_broken(false);
    stand.issuer.publish(&[2]);
    eventually("the old key to be gone, once somebody asks for one", async || {
        let _ = stand.ask("/svc", &token_named(3, "again", &claims(&stand.account))).await;
        (stand.ask("/svc", &old).await.status() == 401).then_some(())
    })
    .await;
    assert_eq!(stand.ask("/svc", &new).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_request_is_limited_by_its_address_and_a_wrong_credential_is_not_anonymous() {
    let stand = stand().await;
    let url = format!("{}/public", stand.proxy.url);
    let ask = async || stand.client.get(&url).send().await.expect("the gateway answers");
    let first = ask().await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["x-ratelimit-remaining"], "1");
    assert!(first.headers()["ratelimit-policy"].to_str().expect("ASCII").starts_with("\"address-day\";q=2;w=86400"));
    let arrived = stand.upstream.last().to_ascii_lowercase();
    assert!(!arrived.contains("x-clearway-account-id"), "{arrived}");

    for (bearer, code) in [("clw_live_x", "credential_not_accepted"), ("a.b.c", "token_malformed")] {
        assert_eq!(stand.error("/public", bearer).await, (401, code.to_owned()));
    }
    assert_eq!(ask().await.status(), 200, "what was refused has cost nothing");
    let refused = ask().await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!((&body["error"]["type"], &body["error"]["details"]["subject"]), (&json!("quota_exceeded"), &json!("address")));
    assert_eq!(stand.ask("/public", &token(1, &claims(&stand.account))).await.status(), 200, "a token is not limited by address");
}
