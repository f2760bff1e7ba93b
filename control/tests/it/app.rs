//! The API in this process, and clients of it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use clearway_config::{
    SealingKey,
    settings::{Mode, Plans, Settings, Source, process::Registration},
};
use clearway_control::{
    api,
    app::{self, prepare, start_hub},
    egress::Egress,
    http::Api,
    metrics::Metrics,
    secrets::{Master, Secrets},
    sync::{Clock, Options},
    world::World,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::databases::{self, Engine, TestDb};

/// 2026-11-20T00:00:00Z
pub(crate) const NOW: i64 = 1_795_132_800_000;

const PLANS: &str = r#"
[[plans]]
name = "starter"
title = "Starter"
limits = { per_second = 10, per_day = 10_000, per_month = 100_000, concurrent = 5 }
keys_max = 3
price_monthly = 0
price_annual = 0
currency = "USD"

[[plans]]
name = "enterprise"
title = "Enterprise"
limits = { per_second = 1_000, per_day = 10_000_000, concurrent = 1_000 }
currency = "USD"
"#;

pub(crate) struct TestApp {
    pub(crate) api: Api,
    pub(crate) world: World,
    pub(crate) database: TestDb,
    router: Router,
    admin_key: String,
    pub(crate) admin_password: String,
}

/// Whom a request comes from.
pub(crate) struct Client<'a> {
    app: &'a TestApp,
    headers: HeaderMap,
    peer: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Runs a test against the API over each engine; the one that fails is named in the test's output.
pub(crate) async fn on_both(test: impl AsyncFn(TestApp)) {
    databases::on_both(async |database| test(TestApp::over(database).await).await).await;
}

impl TestApp {
    pub(crate) async fn new(engine: Engine) -> Self {
        Self::over(TestDb::new(engine).await).await
    }

    async fn over(database: TestDb) -> Self {
        let world = World::fixed(NOW, 7);
        let plans = Plans::resolve(&Source::new("plans.toml", PLANS)).unwrap();
        // A world of its own: what is drawn here moves no id in the tests' snapshots.
        let master = Master::Given(SealingKey::new([7; 32]).reveal());
        let secrets = Secrets::load(&database.db, &World::fixed(NOW, 8), &master).await.unwrap();
        let admin = prepare(&database.db, &world, &secrets, &plans, "admin@example.com").await.unwrap().unwrap();
        let clock = Clock::default();
        let options =
            Options { mode: Mode::Available, auth_lease: Duration::from_secs(10), token: [0; 32], clock, name: "here".into() };
        let mut settings = Settings::default();
        let hub = start_hub(&database.db, &world, &secrets, &settings, options).await.unwrap();
        let metrics = Metrics::new();
        let (egress, _outcomes) = Egress::new([0; 32], metrics.clone());
        settings.control.registration = Registration::Open;
        let api = app::api(database.db.clone(), world.clone(), secrets, hub, egress, metrics, &settings);
        let router = api::router(api.clone());
        let admin_password = admin.password.unwrap();
        Self { api, world, database, router, admin_key: admin.key.reveal().to_owned(), admin_password }
    }

    /// With something changed that handlers are given.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Api)) -> Self {
        change(&mut self.api);
        self.router = api::router(self.api.clone());
        self
    }

    /// Without a key.
    pub(crate) fn anyone(&self) -> Client<'_> {
        Client { app: self, headers: HeaderMap::new(), peer: ([127, 0, 0, 1], 40_000).into() }
    }

    pub(crate) fn with_key(&self, key: &str) -> Client<'_> {
        self.anyone().header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn admin(&self) -> Client<'_> {
        self.with_key(&self.admin_key)
    }

    /// What an admin's request carries.
    pub(crate) fn admin_authorization(&self) -> String {
        format!("Bearer {}", self.admin_key)
    }

    /// Opens an account on `starter` and issues a key for it, with these scopes; the account's id and the secret.
    pub(crate) async fn account(&self, scopes: &[&str]) -> (String, String) {
        let account = self.admin().post("/api/v1/admin/accounts", r#"{"name": "Example Ltd"}"#).await;
        let id = account.data()["id"].as_str().unwrap().to_owned();
        let body = serde_json::json!({ "name": "first", "scopes": scopes, "account_id": id });
        let key = self.admin().post("/api/v1/keys", &body.to_string()).await;
        (id, key.secret().to_owned())
    }
}

impl Client<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(crate) fn peer(self, peer: [u8; 4]) -> Self {
        Self { peer: (peer, 40_000).into(), ..self }
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn delete(self, path: &str) -> Answer {
        self.send(Method::DELETE, path, "").await
    }

    pub(crate) async fn post(self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn put(self, path: &str, body: &str) -> Answer {
        self.send(Method::PUT, path, body).await
    }

    /// With a content type where there is a body, unless a header says another.
    pub(crate) async fn send(self, method: Method, path: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        if !body.is_empty() {
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        }
        request.headers_mut().extend(self.headers);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let is_text = parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/"));
        let body = if is_text {
            Value::String(String::from_utf8(bytes.to_vec()).unwrap())
        } else if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("every body is JSON, or text: {bytes:?}"))
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

impl Answer {
    /// The data of an answer that must be good.
    #[track_caller]
    pub(crate) fn data(&self) -> &Value {
        assert!(self.status.is_success(), "{:#}", self.body);
        &self.body["data"]
    }

    #[track_caller]
    pub(crate) fn id(&self) -> &str {
        self.data()["id"].as_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn secret(&self) -> &str {
        self.data()["secret"].as_str().unwrap()
    }

    /// The error's code; empty for a good answer.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["type"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{:#}", self.body);
    }

    /// Status and body for a snapshot. How long it took to tell the proxies is the one thing that is never the same.
    pub(crate) fn shown(&self) -> String {
        let mut body = self.body.clone();
        if let Some(ms) = body.pointer_mut("/data/propagation/ms") {
            *ms = Value::from(0);
        }
        format!("{}\n{}", self.status, pretty(&body))
    }
}

/// With members in alphabetical order, whatever order `serde_json` was built to keep.
pub(crate) fn pretty(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members: BTreeMap<_, _> = members.iter().map(|(name, member)| (name.clone(), sorted(member))).collect();
                Value::Object(members.into_iter().collect())
            }
            Value::Array(values) => values.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    format!("{:#}", sorted(value))
}
