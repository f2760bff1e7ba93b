//! Those who would be the application, or its person: RFC 9700's attacks by name.

use base64::Engine as _;
use http::StatusCode;
use serde_json::json;

use super::{CLIENTS, FORM, REDIRECT, Stand, VERIFIER, challenge, form, redirected, refused, stays, text};
use crate::app::{TestApp, on_both};

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
        stays(&stand.app.anyone().header("cookie", &stand.browser.cookie).get(&twice).await, 400);
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
        let body = stand.request(&[("csrf_token", &stand.browser.csrf), ("decision", "allow")]);
        let from_elsewhere = stand.app.anyone().header("cookie", &stand.browser.cookie).header("sec-fetch-site", "cross-site");
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
