//! What is asked, by whom, and how long it may take.

use std::{fmt, time::Duration};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    control::Control,
    seed::{self, People},
};

/// Any read.
const READ: Duration = Duration::from_millis(50);
/// Searching the catalogue, also while somebody types.
const SEARCH: Duration = Duration::from_millis(20);

type Make = Box<dyn Fn(&Caller, usize) -> RequestBuilder + Send + Sync>;

pub(super) struct Call {
    pub(super) what: String,
    pub(super) at_most: Option<Duration>,
    make: Make,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("what", &self.what).finish_non_exhaustive()
    }
}

/// Who calls: an admin of whoever runs the service.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    url: String,
    admin_key: String,
    session: String,
    platform: String,
    /// A client of OAuth: its id and its secret.
    oauth: (String, String),
}

impl Caller {
    pub(super) async fn sign_in(control: &Control, people: &People) -> Result<Self, String> {
        let mut caller = Self {
            client: Client::new(),
            url: control.url.clone(),
            admin_key: control.admin_key.clone(),
            session: String::new(),
            platform: people.platform.to_string(),
            oauth: Default::default(),
        };
        let signed_in = caller.answer(caller.login(0)).await?;
        caller.session = word(&signed_in["data"]["session"], "token")?;
        let body = json!({
            "name": "bench", "grant_types": ["client_credentials"], "scopes": ["read:stores"],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        let made = caller.answer(caller.request(Method::POST, "/api/v1/oauth/clients", 1).json(&body)).await?;
        caller.oauth = (word(&made["data"], "client_id")?, word(&made["data"], "client_secret")?);
        Ok(caller)
    }

    /// By the session, acting for the account of that person; 0 is whoever runs the service.
    fn request(&self, method: Method, path: &str, person: usize) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match person {
            0 => request.bearer_auth(&self.session).header("X-Clearway-Account", &self.platform),
            _ => request.bearer_auth(&self.admin_key),
        }
    }

    fn login(&self, person: usize) -> RequestBuilder {
        let body = json!({"email": seed::email(person), "password": seed::PASSWORD});
        self.client.post(format!("{}/api/v1/auth/login", self.url)).json(&body)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, String> {
        let answer = request.send().await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| e.to_string())?;
        if !status.is_success() {
            return Err(format!("{status} {}", text.chars().take(300).collect::<String>()));
        }
        serde_json::from_str(&text).map_err(|_| format!("{status} without JSON"))
    }

    /// Makes the call and reads the answer whole, which has to be a success.
    pub(super) async fn make(&mut self, call: &Call, nth: usize) -> Result<(), String> {
        let answer = (call.make)(self, nth).send().await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|e| e.to_string())?;
        if status.is_success() {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        Err(format!("{status} {said}"))
    }
}

fn word(object: &Value, name: &str) -> Result<String, String> {
    object[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name} in {object}"))
}

fn get(what: &str, at_most: Duration, path: impl Fn(usize) -> String + Send + Sync + 'static) -> Call {
    let make: Make = Box::new(move |caller, nth| caller.request(Method::GET, &path(nth), 0));
    Call { what: what.to_owned(), at_most: Some(at_most), make }
}

/// Every read of the document that needs nothing to be named, as the admin; and those that are asked for most, with names,
/// far down a list, and searching.
pub(super) async fn reads(caller: &Caller) -> Result<Vec<Call>, String> {
    let document = caller.answer(caller.request(Method::GET, "/api/v1/openapi.json", 0)).await?;
    let paths = document["paths"].as_object().ok_or("a document without paths")?;
    let plain = paths.iter().filter(|(path, operations)| operations.get("get").is_some() && !path.contains('{'));
    let mut calls = Vec::new();
    for (path, _) in plain.filter(|(path, _)| path.starts_with("/api/")) {
        // What needs something said besides (a search's words) is below.
        if caller.answer(caller.request(Method::GET, path, 0)).await.is_ok() {
            let named = path.clone();
            calls.push(get(&format!("GET {path}"), READ, move |_| named.clone()));
        }
    }
    calls.extend([
        get("GET /api/v1/keys/{id}", READ, |nth| format!("/api/v1/keys/{}", seed::key(nth * 97))),
        get("GET /api/v1/keys?account_id= of 10,000 keys", READ, |_| {
            format!("/api/v1/keys?account_id={}&limit=100", seed::account(1))
        }),
        get("GET /api/v1/keys?account_id=&offset=9,900", READ, |_| {
            format!("/api/v1/keys?account_id={}&limit=100&offset=9900", seed::account(1))
        }),
        get("GET /api/v1/admin/users/{id}", READ, |nth| format!("/api/v1/admin/users/{}", seed::user(nth * 97))),
        get("GET /api/v1/admin/users?search= an address", READ, |nth| {
            format!("/api/v1/admin/users?search=person{:07}", nth * 97)
        }),
        get("GET /api/v1/admin/users?search= a part of a name", READ, |nth| {
            format!("/api/v1/admin/users?search=rson+{}", nth * 97)
        }),
        get("GET /api/v1/admin/accounts/{id}", READ, |nth| format!("/api/v1/admin/accounts/{}", seed::account(nth * 97))),
        get("GET /api/v1/apps/{slug}", READ, |nth| format!("/api/v1/apps/app-{}", nth * 7)),
        get("GET /api/v1/apps?q= two words", SEARCH, |nth| {
            format!("/api/v1/apps?q={}+{}", seed::word(nth * 7), &seed::word(nth * 13)[..2])
        }),
        get("GET /api/v1/apps?q= two words, popular", SEARCH, |nth| {
            format!("/api/v1/apps?q={}+{}&sort=popular", seed::word(nth * 7), &seed::word(nth * 13)[..2])
        }),
        get("GET /api/v1/apps?q= a word of every app", SEARCH, |_| "/api/v1/apps?q=reliable".to_owned()),
        get("GET /api/v1/apps/suggestions?q= a letter", SEARCH, |nth| {
            format!("/api/v1/apps/suggestions?q={}", &seed::word(nth)[..1])
        }),
        get("GET /api/v1/apps/suggestions?q= three letters", SEARCH, |nth| {
            format!("/api/v1/apps/suggestions?q={}", &seed::word(nth)[..3])
        }),
    ]);
    Ok(calls)
}

/// What changes something, and what costs time on purpose.
pub(super) fn acts() -> Vec<Call> {
    let act = |what: &str, make: Make| Call { what: what.to_owned(), at_most: None, make };
    vec![
        act("sign in (argon2id)", Box::new(|caller, nth| caller.login(100 + nth))),
        act("a token by client credentials", {
            Box::new(|caller, _| {
                let (id, secret) = &caller.oauth;
                caller
                    .client
                    .post(format!("{}/oauth/token", caller.url))
                    .basic_auth(id, Some(secret))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body("grant_type=client_credentials&scope=read%3Astores")
            })
        }),
        act("install an app", {
            Box::new(|caller, nth| {
                let body = json!({"app": format!("app-{nth}")});
                caller.request(Method::POST, "/api/v1/apps/install", 0).json(&body)
            })
        }),
        act("make a key", {
            Box::new(|caller, nth| {
                let body = json!({"name": format!("bench {nth}"), "scopes": []});
                caller.request(Method::POST, "/api/v1/keys", 0).json(&body)
            })
        }),
    ]
}
