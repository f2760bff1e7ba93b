//! What an application is let do, from the consent page to where it ends.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::json;

use super::{CLIENTS, FORM, REDIRECT, Stand, claims, form, redirected, refused, stays, text};
use crate::{
    app::{TestApp, on_both},
    auth::{PASSWORD, cookies},
};

#[tokio::test]
async fn an_application_is_given_access_by_a_person_who_agrees() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let page = stand.ask(&[]).await;
        assert_eq!(page.status, StatusCode::OK);
        let html = page.body.as_str().unwrap();
        assert!(html.contains("Example &lt;App&gt;") && !html.contains("<App>"), "{html}");
        assert!(html.contains("See API keys") && html.contains(&stand.browser.csrf) && !html.contains("<script"));
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
