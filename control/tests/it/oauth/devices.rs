//! Devices without a browser (RFC 8628).

use http::StatusCode;
use serde_json::{Value, json};

use super::{FORM, REDIRECT, Stand, claims, form, refused, stays, text};
use crate::app::{Answer, TestApp, on_both};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A stand whose application is one for devices.
async fn stand(app: TestApp) -> Stand {
    let mut stand = Stand::new(app).await;
    let more = json!({"grant_types": [GRANT, "refresh_token"], "redirect_uris": []});
    (stand.client, stand.secret) = stand.register(&more).await;
    stand
}

impl Stand {
    async fn begin(&self, scope: &str) -> Answer {
        let begun = self.post("/oauth/device_authorization", &[("scope", scope)]).await;
        assert_eq!(begun.status, StatusCode::OK, "{:#}", begun.body);
        begun
    }

    async fn poll(&self, begun: &Answer) -> Answer {
        let pairs = [("grant_type", GRANT), ("device_code", text(begun, "device_code"))];
        self.token_as(&self.client, &self.secret, &pairs).await
    }

    /// As somebody who waits for as long as they were told.
    async fn poll_later(&self, begun: &Answer) -> Answer {
        self.app.world.advance(5_000);
        self.poll(begun).await
    }

    async fn type_in(&self, code: &str) -> Answer {
        let path = format!("/oauth/device?{}", form(&[("user_code", code)]));
        self.app.anyone().header("cookie", &self.browser.cookie).get(&path).await
    }

    async fn answer(&self, code: &str, more: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![("user_code", code), ("csrf_token", self.browser.csrf.as_str()), ("decision", "allow")];
        pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        pairs.extend(more);
        let client = self.app.anyone().header("cookie", &self.browser.cookie).header("content-type", FORM);
        client.post("/oauth/device", &form(&pairs)).await
    }
}

#[tokio::test]
async fn a_device_is_given_tokens_once_after_a_person_has_typed_its_code_and_agreed() {
    on_both(async |app: TestApp| {
        let stand = stand(app).await;
        let begun = stand.begin("openid read:keys").await;
        let code = text(&begun, "user_code").to_owned();
        assert_eq!((&begun.body["expires_in"], &begun.body["interval"]), (&json!(600), &json!(5)));
        assert_eq!(text(&begun, "verification_uri"), "http://127.0.0.1:8080/oauth/device");
        assert_eq!(text(&begun, "verification_uri_complete"), format!("http://127.0.0.1:8080/oauth/device?user_code={code}"));
        refused(&stand.poll(&begun).await, 400, "authorization_pending");

        let nobody = stand.app.anyone().get(&format!("/oauth/device?user_code={code}")).await;
        let location = nobody.headers["location"].to_str().unwrap();
        assert!(location.starts_with("/oauth/sign-in?return_to=%2Foauth%2Fdevice%3Fuser_code%3D"), "{location}");
        assert_eq!(stand.app.anyone().get(location).await.status, StatusCode::OK);
        let page = stand.type_in(&code.to_lowercase().replace('-', " ")).await;
        let html = page.body.as_str().unwrap_or_else(|| panic!("{:#}", page.body));
        assert!(html.contains("Example &lt;App&gt;") && html.contains("See API keys") && html.contains(&code), "{html}");
        assert!(html.contains("only if you have begun it yourself"), "RFC 8628, 5.4");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let done = stand.answer(&code, &[]).await;
        assert_eq!(done.status, StatusCode::OK, "{:#}", done.body);

        let issued = stand.poll_later(&begun).await;
        assert_eq!((issued.status, text(&issued, "scope")), (StatusCode::OK, "openid read:keys"), "{:#}", issued.body);
        assert_eq!(claims(text(&issued, "id_token"))["aud"], json!(stand.client));
        assert_eq!(claims(text(&issued, "access_token"))["account_id"], json!(stand.account));
        assert!(stand.is_active(text(&issued, "access_token")).await);
        assert_eq!(stand.refresh(text(&issued, "refresh_token")).await.status, StatusCode::OK);
        refused(&stand.poll_later(&begun).await, 400, "invalid_grant");
        stays(&stand.type_in(&code).await, 404);

        let begun = stand.begin("read:keys").await;
        stand.answer(text(&begun, "user_code"), &[("decision", "deny")]).await;
        refused(&stand.poll(&begun).await, 400, "access_denied");
        stays(&stand.answer(text(&begun, "user_code"), &[]).await, 404);
        refused(&stand.poll_later(&begun).await, 400, "access_denied");
    })
    .await;
}

/// RFC 8628, 3.5.
#[tokio::test]
async fn a_device_that_asks_too_often_slows_down_and_one_that_is_late_begins_anew() {
    on_both(async |app: TestApp| {
        let stand = stand(app).await;
        let begun = stand.begin("read:keys").await;
        refused(&stand.poll(&begun).await, 400, "authorization_pending");
        refused(&stand.poll(&begun).await, 400, "slow_down");
        refused(&stand.poll_later(&begun).await, 400, "slow_down");
        stand.app.world.advance(10_000);
        refused(&stand.poll_later(&begun).await, 400, "authorization_pending");
        stand.app.world.advance(600_000);
        stays(&stand.type_in(text(&begun, "user_code")).await, 404);
        refused(&stand.poll(&begun).await, 400, "expired_token");

        let (other, other_secret) = stand.register(&json!({"grant_types": [GRANT], "redirect_uris": []})).await;
        let begun = stand.begin("read:keys").await;
        stand.answer(text(&begun, "user_code"), &[]).await;
        let pairs = [("grant_type", GRANT), ("device_code", text(&begun, "device_code"))];
        refused(&stand.token_as(&other, &other_secret, &pairs).await, 400, "invalid_grant");
        let (one, two) = tokio::join!(stand.poll(&begun), stand.poll(&begun));
        let statuses = [one.status.as_u16(), two.status.as_u16()];
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "of two at once, one: {statuses:?}");
    })
    .await;
}

/// RFC 8628, 5.1, and RFC 9700, 4.7.
#[tokio::test]
async fn codes_of_devices_can_be_neither_guessed_nor_agreed_to_by_another_site() {
    on_both(async |app: TestApp| {
        let stand = stand(app).await;
        let begun = stand.begin("read:keys").await;
        let code = text(&begun, "user_code").to_owned();
        stays(&stand.answer(&code, &[("csrf_token", "x")]).await, 403);
        let body = form(&[("user_code", &code), ("csrf_token", &stand.browser.csrf), ("decision", "allow")]);
        let from_elsewhere = stand.app.anyone().header("cookie", &stand.browser.cookie).header("sec-fetch-site", "cross-site");
        stays(&from_elsewhere.header("content-type", FORM).post("/oauth/device", &body).await, 403);
        stays(&stand.answer(&code, &[("account_id", "acct_0000000000000000000000")]).await, 403);
        let elsewhere = stand.app.anyone().get("/oauth/sign-in?return_to=%2Foauth%2Fdevices%3F").await;
        stays(&elsewhere, 400);
        for _ in 0..29 {
            stays(&stand.type_in("BBBB-BBBB").await, 404);
        }
        stays(&stand.type_in(&code).await, 429);
        stand.app.world.advance(3_600_000);
        let later = text(&stand.begin("read:keys").await, "user_code").to_owned();
        assert_eq!(stand.type_in(&later).await.status, StatusCode::OK);

        let (browser_app, secret) = stand.register(&json!({"redirect_uris": [REDIRECT]})).await;
        let other = Stand { client: browser_app, secret, ..stand };
        refused(&other.post("/oauth/device_authorization", &[]).await, 400, "unauthorized_client");
        let metadata = other.app.anyone().get("/.well-known/oauth-authorization-server").await;
        assert!(metadata.body["grant_types_supported"].as_array().unwrap().contains(&Value::from(GRANT)));
    })
    .await;
}
