//! Applications that register themselves, and whoever would have more by that than they may (RFC 7591, 5).

use std::sync::Arc;

use clearway_config::settings::process::{ClientRegistration, OauthSettings};
use clearway_control::oauth;
use http::StatusCode;
use serde_json::{Value, json};

use super::{CLIENTS, FORM, REDIRECT, Stand, VERIFIER, form, redirected, refused, text};
use crate::app::{Answer, TestApp, on_both};

const TOKENS: &str = "/api/v1/oauth/registration-tokens";
const REGISTER: &str = "/oauth/register";

fn under(app: TestApp, registration: ClientRegistration) -> TestApp {
    let open_scopes = vec!["read:keys".parse().unwrap()];
    app.with(|api| api.oauth = Arc::new(OauthSettings { registration, open_scopes, open_max: 3, ..<_>::default() }))
}

async fn register(stand: &Stand, token: Option<&str>, said: &Value) -> Answer {
    register_from("192.0.2.1", stand, token, said).await
}

async fn register_from(address: &str, stand: &Stand, token: Option<&str>, said: &Value) -> Answer {
    let client = stand.app.anyone().header("x-forwarded-for", address);
    let client = match token {
        Some(token) => client.header("authorization", &format!("Bearer {token}")),
        None => client,
    };
    client.post(REGISTER, &said.to_string()).await
}

/// A token that an account has made; its id and its text.
async fn token(stand: &Stand, more: &Value) -> (String, String) {
    let mut body = json!({"name": "Partners", "scopes": ["read:keys"]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = stand.app.with_key(&stand.bearer).post(TOKENS, &body.to_string()).await;
    (made.id().to_owned(), made.data()["token"].as_str().unwrap().to_owned())
}

fn said() -> Value {
    json!({"client_name": "Registered", "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"]})
}

#[tokio::test]
async fn an_application_registers_itself_by_a_token_as_its_accounts_and_looks_after_itself() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Token)).await;
        let (id, initial) = token(&stand, &json!({"uses": 2})).await;
        let made = register(&stand, Some(&initial), &said()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
        assert_eq!(made.body["scope"], "openid profile email read:keys");
        assert_eq!((&made.body["client_secret_expires_at"], &made.body["response_types"]), (&json!(0), &json!(["code"])));
        let (client, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
        let held = stand.app.with_key(&stand.bearer).get(&format!("{CLIENTS}/{client}")).await;
        assert_eq!((&held.data()["registered_by"], &held.data()["account_id"]), (&json!(id), &json!(stand.account)));

        let page = stand.ask(&[("client_id", client)]).await;
        assert!(!page.body.as_str().unwrap().contains("registered itself"), "its account stands behind it");
        let back = redirected(&stand.decide(&[("client_id", client)]).await);
        let code = back["code"].as_str().unwrap();
        let pairs =
            [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
        let tokens = stand.token_as(client, secret, &pairs).await;
        let access = text(&tokens, "access_token");
        stand.app.with_key(access).get("/api/v1/keys").await.data();

        let (at, manage) = (format!("{REGISTER}/{client}"), text(&made, "registration_access_token"));
        assert!(text(&made, "registration_client_uri").ends_with(&at));
        let read = stand.app.with_key(manage).get(&at).await;
        assert_eq!((read.status, &read.body["client_name"]), (StatusCode::OK, &json!("Registered")));
        assert!(read.body.get("client_secret").is_none(), "of which a hash is all that is kept");
        for wrong in [initial.as_str(), secret, access] {
            refused(&stand.app.with_key(wrong).get(&at).await, 401, "invalid_token");
        }
        refused(&stand.app.with_key(manage).get(&format!("{REGISTER}/{}", stand.client)).await, 401, "invalid_token");
        refused(&stand.app.anyone().delete(&at).await, 401, "invalid_token");
        assert_eq!(stand.app.with_key(manage).delete(&at).await.status, StatusCode::NO_CONTENT);
        refused(&stand.app.with_key(manage).get(&at).await, 401, "invalid_token");
        stand.app.with_key(access).get("/api/v1/keys").await.refused(401, "token_invalid");

        let list = stand.app.with_key(&stand.bearer).get(TOKENS).await;
        assert_eq!((&list.data()["items"][0]["uses"], &list.data()["items"][0]["token"]), (&json!(1), &Value::Null));
        let log = stand.app.with_key(&stand.bearer).get("/api/v1/audit?action=oauth_client.created").await;
        let entries = log.data()["items"].as_array().unwrap();
        assert!(entries.iter().any(|entry| entry["changes"]["registered_by"]["after"] == json!(id)), "{:#}", log.body);
    })
    .await;
}

/// RFC 7592, 2.2: all of it is replaced, and by that nobody gets more than the application has.
#[tokio::test]
async fn an_application_replaces_its_registration_and_never_by_more_than_it_has() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Token)).await;
        let (_, initial) = token(&stand, &json!({"uses": 2, "scopes": ["read:keys", "read:stores"]})).await;
        let made = register(&stand, Some(&initial), &said()).await;
        let other = register(&stand, Some(&initial), &said()).await;
        let (client, manage) = (text(&made, "client_id"), text(&made, "registration_access_token"));
        let at = format!("{REGISTER}/{client}");
        let new = |more: &Value| {
            let mut new = json!({"client_id": client, "client_name": "Renamed", "redirect_uris": ["https://new.example/back"],
                "grant_types": ["authorization_code"], "scope": "read:keys", "dpop_bound_access_tokens": true});
            for (name, value) in more.as_object().unwrap() {
                new[name] = value.clone();
            }
            new.to_string()
        };
        let put = async |token: &str, body: &str| stand.app.with_key(token).put(&at, body).await;
        for (more, word) in [
            (json!({"client_id": other.body["client_id"]}), "invalid_client_metadata"),
            (json!({"client_id": null}), "invalid_client_metadata"),
            (json!({"client_secret": other.body["client_secret"]}), "invalid_client_metadata"),
            (json!({"client_secret": "chosen"}), "invalid_client_metadata"),
            (json!({"client_secret": 1}), "invalid_client_metadata"),
            (json!({"registration_access_token": manage}), "invalid_client_metadata"),
            (json!({"registration_client_uri": "https://evil.example/"}), "invalid_client_metadata"),
            (json!({"client_secret_expires_at": 0}), "invalid_client_metadata"),
            (json!({"client_id_issued_at": 0}), "invalid_client_metadata"),
            (json!({"token_endpoint_auth_method": "none"}), "invalid_client_metadata"),
            (json!({"grant_types": ["authorization_code", "client_credentials"]}), "invalid_client_metadata"),
            (json!({"jwks_uri": "https://keys.example/"}), "invalid_client_metadata"),
            (json!({"redirect_uris": []}), "invalid_redirect_uri"),
            (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
        ] {
            refused(&put(manage, &new(&more)).await, 400, word);
        }
        refused(&put(manage, "[]").await, 400, "invalid_client_metadata");
        let good = new(&json!({"client_secret": made.body["client_secret"]}));
        for wrong in [initial.as_str(), text(&made, "client_secret"), text(&other, "registration_access_token")] {
            refused(&put(wrong, &good).await, 401, "invalid_token");
        }
        refused(&stand.app.anyone().put(&at, &good).await, 401, "invalid_token");
        let read = stand.app.with_key(manage).get(&at).await;
        assert_eq!(read.body["client_name"], "Registered", "no refusal has changed anything");

        let changed = put(manage, &good).await;
        assert_eq!(changed.status, StatusCode::OK, "{:#}", changed.body);
        assert_eq!((&changed.body["client_name"], &changed.body["client_id"]), (&json!("Renamed"), &json!(client)));
        assert_eq!(changed.body["scope"], "openid profile email read:keys");
        assert_eq!(changed.body["grant_types"], json!(["authorization_code"]));
        assert_eq!(changed.body["registration_access_token"], manage);
        assert!(changed.body.get("client_secret").is_none());
        assert_eq!(stand.app.with_key(manage).get(&at).await.body, changed.body);
        let old_address = stand.ask(&[("client_id", client)]).await;
        assert_eq!(old_address.status, StatusCode::BAD_REQUEST, "nobody is sent there any more");

        let wider = json!({"scope": "read:keys read:stores admin:platform", "dpop_bound_access_tokens": false});
        let wider = put(manage, &new(&wider)).await;
        assert_eq!(wider.body["scope"], "openid profile email read:keys", "what it has given away is away");
        assert_eq!(wider.body["dpop_bound_access_tokens"], true);
        refused(
            &put(manage, &new(&json!({"grant_types": ["authorization_code", "refresh_token"]}))).await,
            400,
            "invalid_client_metadata",
        );

        let by_hand = format!("{CLIENTS}/{client}");
        stand.app.with_key(&stand.bearer).put(&by_hand, r#"{"scopes": [], "disabled": true}"#).await.data();
        assert_eq!(put(manage, &new(&json!({}))).await.body["scope"], "openid profile email", "nor what was taken from it");
        let held = stand.app.with_key(&stand.bearer).get(&format!("{CLIENTS}/{client}")).await;
        assert_eq!(held.data()["disabled"], true, "{:#}", held.body);

        let log = stand.app.with_key(&stand.bearer).get("/api/v1/audit?action=oauth_client.updated").await;
        let entries = log.data()["items"].as_array().unwrap();
        assert!(entries.iter().any(|entry| entry["changes"]["name"]["after"] == "Renamed"), "{:#}", log.body);
    })
    .await;
}

#[tokio::test]
async fn nothing_registers_itself_unless_the_settings_say_so() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (_, initial) = token(&stand, &json!({})).await;
        for shown in [None, Some(initial.as_str())] {
            assert_eq!(register(&stand, shown, &said()).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(stand.app.with_key(&initial).get(&format!("{REGISTER}/{}", stand.client)).await.status, 404);
        let metadata = stand.app.anyone().get("/.well-known/openid-configuration").await;
        assert!(metadata.body.get("registration_endpoint").is_none());
    })
    .await;
}

/// RFC 7591, 3: a token is good as often and as long as it says, and for what it says.
#[tokio::test]
async fn a_token_to_register_by_is_good_for_no_more_than_it_says() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Token)).await;
        let metadata = stand.app.anyone().get("/.well-known/openid-configuration").await;
        assert!(text(&metadata, "registration_endpoint").ends_with(REGISTER));
        let (_, once) = token(&stand, &json!({"lifetime": 60})).await;
        for shown in [None, Some(""), Some("clwi_x"), Some(&*once.replace("clwi_", "clwm_")), Some(&*stand.bearer)] {
            let answer = register(&stand, shown, &said()).await;
            refused(&answer, 401, "invalid_token");
            assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
        }
        for (more, word) in [
            (json!({"grant_types": ["client_credentials"]}), "invalid_client_metadata"),
            (json!({"grant_types": ["refresh_token"]}), "invalid_client_metadata"),
            (json!({"jwks_uri": "https://keys.example/"}), "invalid_client_metadata"),
            (json!({"token_endpoint_auth_method": "private_key_jwt"}), "invalid_client_metadata"),
            (json!({"redirect_uris": ["https://app.example/#x"]}), "invalid_redirect_uri"),
            (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
            (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        ] {
            let mut said = said();
            for (name, value) in more.as_object().unwrap() {
                said[name] = value.clone();
            }
            let answer = register_from("192.0.2.2", &stand, Some(&once), &said).await;
            refused(&answer, 400, word);
        }
        refused(&stand.app.with_key(&once).post(REGISTER, "[]").await, 400, "invalid_client_metadata");
        let good = said();
        let both = tokio::join!(register(&stand, Some(&once), &good), register(&stand, Some(&once), &good));
        let statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
        assert!(statuses == [201, 401] || statuses == [401, 201], "a refusal used nothing up, and once is once: {statuses:?}");

        let (_, late) = token(&stand, &json!({"lifetime": 60})).await;
        stand.app.world.advance(60_000);
        refused(&register(&stand, Some(&late), &said()).await, 401, "invalid_token");
        let (id, gone) = token(&stand, &json!({})).await;
        stand.app.with_key(&stand.bearer).delete(&format!("{TOKENS}/{id}")).await.data();
        refused(&register(&stand, Some(&gone), &said()).await, 401, "invalid_token");
    })
    .await;
}

/// Nobody gives an application by a token what they could not give it by hand.
#[tokio::test]
async fn a_token_to_register_by_gives_no_more_than_its_maker_has_and_is_its_accounts_own() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Token)).await;
        let (_, key) = stand.app.account(&["read:apps", "write:apps"]).await;
        let by_itself = json!({"name": "x", "scopes": ["write:keys"], "grant_types": ["client_credentials"]});
        stand.app.with_key(&key).post(TOKENS, &by_itself.to_string()).await.refused(403, "scope_missing");
        let admin = json!({"name": "x", "scopes": ["admin:platform"]});
        stand.app.admin().post(TOKENS, &admin.to_string()).await.refused(400, "validation_error");
        let (id, initial) = token(&stand, &json!({"grant_types": ["client_credentials"]})).await;
        stand.app.with_key(&key).delete(&format!("{TOKENS}/{id}")).await.refused(404, "not_found");
        assert_eq!(stand.app.with_key(&key).get(TOKENS).await.data()["items"], json!([]));

        let worker = json!({"client_name": "Worker", "grant_types": ["client_credentials"], "scope": "read:keys write:keys"});
        let made = register(&stand, Some(&initial), &worker).await;
        let pairs = [("grant_type", "client_credentials")];
        let tokens = stand.token_as(text(&made, "client_id"), text(&made, "client_secret"), &pairs).await;
        assert_eq!(tokens.body["scope"], "read:keys");
    })
    .await;
}

/// RFC 7591, 5: of somebody whom nobody knows people are told so, and they fill nothing up.
#[tokio::test]
async fn what_anyone_may_register_acts_for_people_alone_who_are_told_and_goes_where_nobody_wants_it() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Open)).await;
        for grant in ["client_credentials", "urn:ietf:params:oauth:grant-type:device_code"] {
            let mut said = said();
            said["grant_types"] = json!([grant]);
            refused(&register(&stand, None, &said).await, 400, "invalid_client_metadata");
        }
        let mut wide = said();
        wide["scope"] = json!("openid read:keys write:keys admin:platform");
        wide["token_endpoint_auth_method"] = json!("none");
        let used = register(&stand, None, &wide).await;
        assert_eq!(used.body["scope"], "openid profile email read:keys");
        assert!(used.body.get("client_secret").is_none());
        let client = text(&used, "client_id");
        stand.app.with_key(&stand.bearer).get(&format!("{CLIENTS}/{client}")).await.refused(404, "not_found");
        assert_eq!(stand.app.admin().get(&format!("{CLIENTS}/{client}")).await.data()["registered_by"], "anyone");
        let page = stand.ask(&[("client_id", client)]).await;
        assert!(page.body.as_str().unwrap().contains("has registered itself"), "{}", page.body);
        let code = redirected(&stand.decide(&[("client_id", client)]).await)["code"].as_str().unwrap().to_owned();
        let pairs = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let tokens = stand.app.anyone().header("content-type", FORM).post("/oauth/token", &form(&pairs)).await;
        assert_eq!(tokens.body["scope"], "read:keys", "{:#}", tokens.body);

        let unused = register(&stand, None, &said()).await;
        register(&stand, None, &said()).await;
        refused(&register(&stand, None, &said()).await, 429, "temporarily_unavailable");
        stand.app.world.advance(24 * 3_600 * 1_000 + 1);
        let (db, world, secrets) = (&stand.app.api.db, &stand.app.world, &stand.app.api.secrets);
        oauth::sweep(db, world, secrets).await.unwrap();
        let gone = stand.app.with_key(text(&unused, "registration_access_token"));
        refused(&gone.get(&format!("{REGISTER}/{}", text(&unused, "client_id"))).await, 401, "invalid_token");
        let kept = stand.app.with_key(text(&used, "registration_access_token"));
        assert_eq!(kept.get(&format!("{REGISTER}/{client}")).await.status, StatusCode::OK, "somebody lets it act");
    })
    .await;
}

#[tokio::test]
async fn one_address_registers_ten_applications_in_a_minute_and_tries_thirty_tokens() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(under(app, ClientRegistration::Token)).await;
        for _ in 0..10 {
            refused(&register(&stand, Some("clwi_x"), &said()).await, 401, "invalid_token");
        }
        refused(&register(&stand, Some("clwi_x"), &said()).await, 429, "temporarily_unavailable");
        let elsewhere = stand.app.anyone().header("x-forwarded-for", "192.0.2.99");
        refused(&elsewhere.post(REGISTER, &said().to_string()).await, 401, "invalid_token");
    })
    .await;
}
