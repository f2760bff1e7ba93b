//! Requests that clients push before they send a browser (RFC 9126).

use http::StatusCode;
use serde_json::json;

use super::{FORM, REDIRECT, Stand, form, redirected, refused, stays, text};
use crate::app::{Answer, TestApp, on_both};

const PAR: &str = "/oauth/par";

impl Stand {
    async fn push(&self, more: &[(&str, &str)]) -> Answer {
        let client = self.app.anyone().header("content-type", FORM).header("authorization", &self.basic());
        client.post(PAR, &self.request(more)).await
    }

    /// What the browser carries, and nothing else.
    async fn ask_by(&self, client: &str, request_uri: &str, more: &[(&str, &str)]) -> Answer {
        let pairs: Vec<_> =
            [("client_id", client), ("request_uri", request_uri)].into_iter().chain(more.iter().copied()).collect();
        self.app.anyone().header("cookie", &self.browser.cookie).get(&format!("/oauth/authorize?{}", form(&pairs))).await
    }

    async fn decide_by(&self, request_uri: &str, decision: &str) -> Answer {
        let pairs = [
            ("client_id", self.client.as_str()),
            ("request_uri", request_uri),
            ("csrf_token", &self.browser.csrf),
            ("decision", decision),
        ];
        let client = self.app.anyone().header("cookie", &self.browser.cookie).header("content-type", FORM);
        client.post("/oauth/authorize", &form(&pairs)).await
    }
}

#[tokio::test]
async fn a_pushed_request_is_what_the_client_said_and_is_decided_on_once() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let pushed = stand.push(&[]).await;
        assert_eq!((pushed.status, &pushed.body["expires_in"]), (StatusCode::CREATED, &json!(300)), "{:#}", pushed.body);
        assert_eq!(pushed.headers["cache-control"], "no-store");
        let name = text(&pushed, "request_uri").to_owned();
        let evil = [("redirect_uri", "https://evil.example/"), ("scope", "read:stores"), ("state", "theirs")];
        let page = stand.ask_by(&stand.client, &name, &evil).await;
        assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
        let html = page.body.as_str().unwrap();
        assert!(html.contains("See API keys") && !html.contains("stores") && !html.contains("evil.example"), "{html}");
        let back = redirected(&stand.decide_by(&name, "allow").await);
        assert_eq!(back["state"], "st&ate");
        let issued = stand.redeem(back["code"].as_str().unwrap(), &[]).await;
        assert_eq!((issued.status, text(&issued, "scope")), (StatusCode::OK, "read:keys"));

        // RFC 9126, 7.3.
        stays(&stand.decide_by(&name, "allow").await, 400);
        stays(&stand.ask_by(&stand.client, &name, &[]).await, 400);
        let denied = text(&stand.push(&[]).await, "request_uri").to_owned();
        assert_eq!(redirected(&stand.decide_by(&denied, "deny").await)["error"], "access_denied");
        stays(&stand.decide_by(&denied, "allow").await, 400);
        let both = text(&stand.push(&[]).await, "request_uri").to_owned();
        let (one, other) = tokio::join!(stand.decide_by(&both, "allow"), stand.decide_by(&both, "allow"));
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 400], "of two at once, one");

        let late = text(&stand.push(&[]).await, "request_uri").to_owned();
        let (other, _) = stand.register(&json!({})).await;
        stays(&stand.ask_by(&other, &late, &[]).await, 400);
        stand.app.world.advance(300_000);
        stays(&stand.ask_by(&stand.client, &late, &[]).await, 400);
        for unknown in ["https://elsewhere.example/request.jwt", "urn:ietf:params:oauth:request_uri:x", "x"] {
            stays(&stand.ask_by(&stand.client, unknown, &[]).await, 400);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_where_it_is_pushed() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        for (more, word) in [
            (("redirect_uri", "https://evil.example/"), "invalid_request"),
            (("redirect_uri", ""), "invalid_request"),
            (("scope", "write:keys"), "invalid_scope"),
            (("response_type", "token"), "unsupported_response_type"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("resource", "https://elsewhere.example"), "invalid_target"),
            (("request", "x"), "request_not_supported"),
            (("request_uri", "x"), "invalid_request"),
        ] {
            refused(&stand.push(&[more]).await, 400, word);
        }
        let nobody = stand.app.anyone().header("content-type", FORM).post(PAR, &stand.request(&[])).await;
        refused(&nobody, 401, "invalid_client");
        let (public, _) = stand.register(&json!({"token_endpoint_auth_method": "none", "redirect_uris": [REDIRECT]})).await;
        let by_public = stand.app.anyone().header("content-type", FORM);
        let pushed = by_public.post(PAR, &stand.request(&[("client_id", &public)])).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{:#}", pushed.body);
    })
    .await;
}
