//! Signing in with Clearway: OpenID Connect as an application sees it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Browser, FORM, Stand, claims, form, redirected, refused, text};
use crate::{
    app::{Answer, TestApp, on_both},
    auth::{PASSWORD, cookies},
};

const USERINFO: &str = "/oauth/userinfo";

async fn signed_in(stand: &Stand, more: &[(&str, &str)]) -> Answer {
    let code = redirected(&stand.decide(more).await)["code"].as_str().unwrap().to_owned();
    let answer = stand.redeem(&code, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    answer
}

#[tokio::test]
async fn an_application_is_told_who_signs_in_as_far_as_they_agreed() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let asked = &[("scope", "read:keys email openid offline_access"), ("nonce", "n-0S6_WzA2Mj")];
        let page = stand.ask(asked).await;
        let html = page.body.as_str().unwrap();
        assert!(html.contains("Know that it is you") && html.contains("Know your address") && !html.contains("Know your name"));
        stand.app.world.advance(5_000);
        let issued = signed_in(&stand, asked).await;
        assert_eq!(text(&issued, "scope"), "openid email read:keys");
        let said = claims(text(&issued, "id_token"));
        let access = text(&issued, "access_token");
        let now_s = stand.app.world.now_ms() / 1_000;
        assert_eq!((&said["aud"], &said["nonce"]), (&json!(stand.client), &json!("n-0S6_WzA2Mj")));
        assert_eq!((&said["iss"], &said["sub"]), (&claims(access)["iss"], &claims(access)["sub"]));
        assert_eq!(said["at_hash"], URL_SAFE_NO_PAD.encode(&Sha256::digest(access)[..16]));
        assert_eq!((&said["iat"], &said["exp"]), (&json!(now_s), &json!(now_s + 600)));
        let auth_time = said["auth_time"].as_i64().unwrap();
        assert!((now_s - 6..now_s).contains(&auth_time), "when they signed in, not when they agreed: {auth_time}, {now_s}");
        assert!(said.get("email").is_none(), "that is for whoever holds the access token");

        let who = stand.app.with_key(access).get(USERINFO).await;
        let told = json!({"sub": said["sub"], "email": "ann@example.com", "email_verified": true});
        assert_eq!((who.status, &who.body, &who.headers["cache-control"]), (StatusCode::OK, &told, &"no-store".parse().unwrap()));
        assert_eq!(stand.app.with_key(access).post(USERINFO, "").await.body, told);
        let refreshed = stand.refresh(text(&issued, "refresh_token")).await;
        assert!(refreshed.body.get("id_token").is_none());
        let access = text(&refreshed, "access_token");
        assert_eq!(stand.app.with_key(access).get(USERINFO).await.body, told);
        let pairs = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&refreshed, "refresh_token")),
            ("scope", "openid read:keys"),
        ];
        let narrow = stand.token_as(&stand.client, &stand.secret, &pairs).await;
        let who = stand.app.with_key(text(&narrow, "access_token")).get(USERINFO).await;
        assert_eq!(who.body, json!({"sub": said["sub"]}));
        let pairs =
            [("grant_type", "refresh_token"), ("refresh_token", text(&narrow, "refresh_token")), ("scope", "openid profile")];
        refused(&stand.token_as(&stand.client, &stand.secret, &pairs).await, 400, "invalid_scope");

        let only = signed_in(&stand, &[("scope", "openid profile")]).await;
        assert_eq!(text(&only, "scope"), "openid profile", "nothing is added to what was asked for");
        let access = text(&only, "access_token");
        assert_eq!(stand.app.with_key(access).get(USERINFO).await.body["name"], "Ann");
        stand.app.with_key(access).get("/api/v1/keys").await.refused(403, "scope_missing");
        assert_eq!(redirected(&stand.ask(&[("scope", "email")]).await)["error"], "invalid_scope");
        let alone = [("grant_type", "client_credentials"), ("scope", "openid")];
        let (client, secret) = stand.register(&json!({"grant_types": ["client_credentials"], "redirect_uris": []})).await;
        refused(&stand.token_as(&client, &secret, &alone).await, 400, "invalid_scope");
    })
    .await;
}

/// RFC 8725, 3.11, and RFC 9700, 4.10: what says who somebody is gives no access, and what gives access does not say it.
#[tokio::test]
async fn an_id_token_is_no_access_token_and_neither_is_believed_unsigned() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let issued = signed_in(&stand, &[("scope", "openid read:keys")]).await;
        let (id_token, access) = (text(&issued, "id_token"), text(&issued, "access_token"));
        let typ = |jwt: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').next().unwrap()).unwrap()).unwrap()
        };
        assert_eq!((&typ(id_token)["typ"], &typ(access)["typ"]), (&json!("JWT"), &json!("at+jwt")));
        assert_eq!((&typ(id_token)["alg"], &typ(id_token)["kid"]), (&json!("ES256"), &typ(access)["kid"]));
        stand.app.with_key(id_token).get("/api/v1/keys").await.refused(401, "token_invalid");
        assert!(!stand.is_active(id_token).await);
        let challenged = async |token: &str, status: u16, challenge: &str| {
            let answer = stand.app.with_key(token).get(USERINFO).await;
            let said = answer.headers["www-authenticate"].to_str().unwrap();
            assert_eq!(answer.status.as_u16(), status, "{said}");
            assert!(said.contains(challenge), "{said}");
        };
        challenged(id_token, 401, "invalid_token").await;
        let mut parts: Vec<_> = access.split('.').map(str::to_owned).collect();
        parts[0] = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        parts[2] = String::new();
        challenged(&parts.join("."), 401, "invalid_token").await;
        challenged(text(&stand.tokens().await, "access_token"), 403, "insufficient_scope").await;
        challenged(&stand.bearer, 401, "invalid_token").await;
        assert_eq!(stand.app.anyone().get(USERINFO).await.headers["www-authenticate"], "Bearer");
        assert_eq!(stand.post("/oauth/revoke", &[("token", access)]).await.status, StatusCode::OK);
        challenged(access, 401, "invalid_token").await;
    })
    .await;
}

#[tokio::test]
async fn whoever_must_have_signed_in_lately_is_asked_to_once_more_and_only_once() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stand.app.world.advance(120_000);
        let openid = |more: (&'static str, &'static str)| [("scope", "openid"), more];
        assert_eq!(stand.ask(&openid(("max_age", "600"))).await.status, StatusCode::OK);
        assert_eq!(stand.ask(&openid(("prompt", "consent"))).await.status, StatusCode::OK);
        assert_eq!(stand.decide(&openid(("max_age", "60"))).await.status, StatusCode::FORBIDDEN);
        let silent = |more: (&'static str, &'static str)| [("scope", "openid"), ("prompt", "none"), more];
        assert_eq!(redirected(&stand.ask(&silent(("max_age", "60"))).await)["error"], "login_required");
        assert_eq!(redirected(&stand.ask(&silent(("max_age", "600"))).await)["error"], "consent_required");
        let nobody = stand.app.anyone().get(&format!("/oauth/authorize?{}", stand.request(&openid(("prompt", "none"))))).await;
        assert_eq!(redirected(&nobody)["error"], "login_required");
        for wrong in [("prompt", "none login"), ("max_age", "soon"), ("max_age", "-1")] {
            assert_eq!(redirected(&stand.ask(&openid(wrong)).await)["error"], "invalid_request", "{wrong:?}");
        }
        for more in [("prompt", "login"), ("max_age", "60"), ("max_age", "0")] {
            stand.app.world.advance(120_000);
            let away = stand.ask(&openid(more)).await;
            let location = away.headers["location"].to_str().unwrap();
            let query = location.strip_prefix("/oauth/sign-in?").unwrap_or_else(|| panic!("{more:?}: {location}"));
            let (_, back) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to").unwrap();
            let again = stand.app.anyone().header("cookie", &stand.browser.cookie).get(&back).await;
            assert_eq!(again.status, StatusCode::SEE_OTHER, "the session from before is not enough");
            stand.app.world.advance(30_000);
            let body = form(&[("return_to", &back), ("email", "ann@example.com"), ("password", PASSWORD)]);
            let client = stand.app.anyone().header("content-type", FORM).header("sec-fetch-site", "same-origin");
            let signed_in = client.post("/oauth/sign-in", &body).await;
            assert_eq!(signed_in.headers["location"], &*back);
            let (name, value, _) = cookies(&signed_in).remove(0);
            let cookie = format!("{name}={value}");
            stand.app.world.advance(90_000);
            let page = stand.app.anyone().header("cookie", &cookie).get(&back).await;
            assert_eq!(page.status, StatusCode::OK, "{more:?}: {:#}", page.body);
            let who = stand.app.anyone().header("cookie", &cookie).get("/api/v1/auth/user").await;
            let csrf = who.data()["csrf_token"].as_str().unwrap().to_owned();
            let browser = Browser { cookie, csrf, account: String::new() };
            let sent = back.split_once("clearway_sent_at=").unwrap().1;
            let decided = stand.decide_as(&browser, &[("scope", "openid"), more, ("clearway_sent_at", sent)]).await;
            let code = redirected(&decided)["code"].as_str().unwrap().to_owned();
            let said = claims(text(&stand.redeem(&code, &[]).await, "id_token"));
            let now_s = stand.app.world.now_ms() / 1_000;
            let ago = now_s - said["auth_time"].as_i64().unwrap();
            assert!((85..=95).contains(&ago), "when they signed in again: {ago}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_relying_party_finds_all_that_it_needs() {
    on_both(async |app: TestApp| {
        let found = app.anyone().get("/.well-known/openid-configuration").await;
        assert_eq!(found.body, app.anyone().get("/.well-known/oauth-authorization-server").await.body);
        // OpenID Connect Discovery 1.0, 3: what must be there.
        for name in [
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "jwks_uri",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ] {
            assert!(found.body.get(name).is_some(), "{name}");
        }
        assert_eq!(found.body["request_uri_parameter_supported"], false, "which would be true if it were not said");
        assert!(found.body["scopes_supported"].as_array().unwrap().contains(&json!("openid")));
    })
    .await;
}
