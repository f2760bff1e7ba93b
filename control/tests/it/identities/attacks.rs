//! What must not work (RFC 9700, 4; OpenID Connect Core 1.0, 16), each tried once.

use serde_json::{Value, json};

use super::{
    AUTH, back, begin, counts, location,
    provider::{Provider, Signed},
    signed_in, through, turned_away, with_providers,
};
use crate::{
    app::{TestApp, on_both},
    databases::Engine,
};

const UNKNOWN: (u16, &str) = (400, "provider_answer_unknown");

/// The path with one parameter's value in the place of its own.
fn with(path: &str, name: &str, value: &str) -> String {
    let (path, query) = path.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((found, _)) if found == name => format!("{name}={value}"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn an_answer_is_good_for_the_browser_that_asked_and_once() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let way = begin(&app, "id").await;
        let path = provider.agree(&way.url);
        // Somebody else's browser, with and without a way of its own (login CSRF).
        let other = begin(&app, "id").await;
        back(app.anyone(), &other.cookie, &path).await.refused(UNKNOWN.0, UNKNOWN.1);
        app.anyone().get(&path).await.refused(UNKNOWN.0, UNKNOWN.1);
        back(app.anyone(), "__Host-clearway_provider=x", &path).await.refused(UNKNOWN.0, UNKNOWN.1);
        // State that nobody gave out, of another form, none, or twice.
        for state in [&"A".repeat(43), "x", ""] {
            back(app.anyone(), &way.cookie, &with(&path, "state", state)).await.refused(UNKNOWN.0, UNKNOWN.1);
        }
        for more in ["&code=another", "&state=another", "&iss=https%3A%2F%2Fevil.example"] {
            back(app.anyone(), &way.cookie, &format!("{path}{more}")).await.refused(UNKNOWN.0, UNKNOWN.1);
        }
        let long = format!("{path}&more={}", "x".repeat(9_000));
        back(app.anyone(), &way.cookie, &long).await.refused(UNKNOWN.0, UNKNOWN.1);
        assert_eq!(provider.asked().iter().filter(|path| *path == "token").count(), 0, "no code went anywhere");
        // None of that has taken it from whom it is for; it is taken once.
        signed_in(&app, &back(app.anyone(), &way.cookie, &path).await).await;
        back(app.anyone(), &way.cookie, &path).await.refused(UNKNOWN.0, UNKNOWN.1);
    })
    .await;
}

#[tokio::test]
async fn two_that_come_back_with_the_same_answer_at_once_are_one() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let way = begin(&app, "id").await;
        let path = provider.agree(&way.url);
        let (one, two) = tokio::join!(back(app.anyone(), &way.cookie, &path), back(app.anyone(), &way.cookie, &path));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 400]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_good_for_ten_minutes() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let way = begin(&app, "id").await;
        let path = provider.agree(&way.url);
        app.world.advance(10 * 60 * 1_000);
        back(app.anyone(), &way.cookie, &path).await.refused(UNKNOWN.0, UNKNOWN.1);
        clearway_control::jobs::sweep_once(&app.api).await;
        let left: i64 = app.database.db.query("SELECT count(*) FROM provider_requests").scalar().await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn a_code_is_never_taken_to_another_provider() {
    on_both(async |app: TestApp| {
        let (app, honest, evil) = with_providers(app).await;
        // Sent to one, and back to the other's address.
        let way = begin(&app, "id").await;
        let path = honest.agree(&way.url).replace("/id/", "/other/");
        back(app.anyone(), &way.cookie, &path).await.refused(UNKNOWN.0, UNKNOWN.1);
        // Said to be another's, or not whose it is where that was promised.
        for iss in ["https://evil.example", &evil.base, ""] {
            let way = begin(&app, "id").await;
            let path = with(&honest.agree(&way.url), "iss", &iss.replace(':', "%3A").replace('/', "%2F"));
            turned_away(&back(app.anyone(), &way.cookie, &path).await, "provider_unusable");
        }
        let way = begin(&app, "id").await;
        let path = honest.agree(&way.url).replace("&iss=", "&issuer=");
        turned_away(&back(app.anyone(), &way.cookie, &path).await, "provider_unusable");
        let asked = [honest.asked(), evil.asked()].concat();
        assert!(!asked.contains(&"token".to_owned()), "{asked:?}");
    })
    .await;
}

#[tokio::test]
async fn a_code_of_another_way_is_refused_by_its_verifier() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        for name in ["id", "github"] {
            let (attackers, victims) = (begin(&app, name).await, begin(&app, name).await);
            let attackers = provider.agree(&attackers.url);
            let code = attackers.split("code=").nth(1).unwrap().split('&').next().unwrap();
            let path = with(&provider.agree(&victims.url), "code", code);
            turned_away(&back(app.anyone(), &victims.cookie, &path).await, "provider_answer_unknown");
        }
        assert_eq!(counts(&app).await, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_way_lets_nobody_in() {
    let (app, provider, other) = with_providers(TestApp::new(Engine::Sqlite).await).await;
    let now = crate::app::NOW / 1_000;
    for claims in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"iss": other.base}),
        json!({"iss": null}),
        json!({"aud": "another client"}),
        json!({"aud": null}),
        json!({"aud": []}),
        json!({"aud": ["clearway", "another client"]}),
        json!({"aud": ["clearway", "another client"], "azp": "another client"}),
        json!({"azp": "another client"}),
        json!({"exp": now - 61}),
        json!({"exp": null}),
        json!({"iat": now - 700}),
        json!({"iat": now + 120, "exp": now + 300}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "ä"}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": 17}),
    ] {
        provider.set(|knobs| knobs.claims = claims.clone());
        let answer = through(&app, &provider, "id").await;
        assert_eq!(location(&answer), "/portal/keys#error=provider_unusable", "{claims}");
    }
    for (header, signed) in [
        (json!({"alg": "none"}), Signed::NotAtAll),
        (json!({"alg": "none", "kid": "one"}), Signed::Rightly),
        (json!({"alg": "EdDSA", "kid": "one"}), Signed::NotAtAll),
        (json!({"alg": "HS256", "kid": "one"}), Signed::BySecret),
        (json!({"alg": "EdDSA", "kid": "one"}), Signed::ByAnother),
        (json!({"alg": "EdDSA", "kid": "two"}), Signed::Rightly),
        (json!({"alg": "ES256", "kid": "one"}), Signed::Rightly),
        (json!({"alg": "EdDSA", "kid": "one", "typ": "at+jwt"}), Signed::Rightly),
        (json!({"alg": "EdDSA", "kid": "one", "crit": ["b64"]}), Signed::Rightly),
    ] {
        provider.set(|knobs| (knobs.claims, knobs.header, knobs.signed) = (json!({}), header.clone(), signed));
        let answer = through(&app, &provider, "id").await;
        assert_eq!(location(&answer), "/portal/keys#error=provider_unusable", "{header}");
    }
    assert_eq!(counts(&app).await, (1, 0));
    provider.set(|knobs| (knobs.header, knobs.signed) = (json!({"alg": "EdDSA"}), Signed::Rightly));
    provider.set(|knobs| knobs.claims = json!({"aud": ["another client", "clearway"], "azp": "clearway"}));
    signed_in(&app, &through(&app, &provider, "id").await).await;
}

#[tokio::test]
async fn a_provider_that_answers_badly_is_left_alone() {
    let (app, provider, _) = with_providers(TestApp::new(Engine::Sqlite).await).await;
    let asks_back = |answer: Option<(u16, Vec<u8>)>| provider.set(|knobs| knobs.token_answer = answer);
    for answer in [
        (200, vec![b' '; 300 * 1024]),
        (200, b"{}".to_vec()),
        (200, b"access_token=x&token_type=bearer".to_vec()),
        (200, br#"{"access_token": "access-token", "token_type": "bearer"}"#.to_vec()),
        (307, Vec::new()),
        (302, Vec::new()),
        (500, b"<html>".to_vec()),
    ] {
        asks_back(Some(answer));
        provider.asked();
        turned_away(&through(&app, &provider, "id").await, "provider_unusable");
        assert!(!provider.asked().contains(&"userinfo".to_owned()), "no redirect is followed");
    }
    asks_back(Some((400, br#"{"error": "invalid_grant", "error_description": "x"}"#.to_vec())));
    turned_away(&through(&app, &provider, "id").await, "provider_answer_unknown");
    asks_back(None);
    let way = begin(&app, "id").await;
    let path = with(&provider.agree(&way.url), "code", "x").replace("code=x", "error=access_denied&error_description=x");
    turned_away(&back(app.anyone(), &way.cookie, &path).await, "provider_denied");
}

#[tokio::test]
async fn metadata_that_lead_elsewhere_are_not_believed() {
    for metadata in [
        json!({"issuer": "https://evil.example"}),
        json!({"authorization_endpoint": "javascript:alert(1)"}),
        json!({"authorization_endpoint": "http://evil.example/"}),
        json!({"token_endpoint": "http://192.0.2.1/token"}),
        json!({"token_endpoint": "https://user:secret@evil.example/token"}),
        json!({"jwks_uri": "file:///etc/passwd"}),
        json!({"userinfo_endpoint": "http://127.0.0.1.example/"}),
        json!({"token_endpoint": Value::Null}),
    ] {
        let (app, provider, _) = with_providers(TestApp::new(Engine::Sqlite).await).await;
        provider.set(|knobs| knobs.metadata = metadata.clone());
        let refused = app.anyone().post(&format!("{AUTH}/id"), "{}").await;
        assert_eq!((refused.status.as_u16(), refused.code()), (502, "provider_unusable"), "{metadata}");
        assert!(!refused.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn a_browser_is_led_back_to_pages_of_ours_only() {
    let (app, _, _) = with_providers(TestApp::new(Engine::Sqlite).await).await;
    for to in ["https://evil.example/", "//evil.example/portal/", "/portal/../x", "/portal/\\evil", "/api/v1/keys", "/portal/#x"]
    {
        let body = json!({ "return_to": to }).to_string();
        app.anyone().post(&format!("{AUTH}/id"), &body).await.refused(400, "validation_error");
    }
}

#[tokio::test]
async fn another_sites_page_begins_nothing_and_nobody_begins_for_ever() {
    on_both(async |app: TestApp| {
        let (app, _provider, _): (_, Provider, _) = with_providers(app).await;
        let path = format!("{AUTH}/id");
        app.anyone().header("sec-fetch-site", "cross-site").post(&path, "{}").await.refused(403, "csrf_token_invalid");
        for _ in 0..60 {
            app.anyone().post(&path, "{}").await.data();
        }
        app.anyone().post(&path, "{}").await.refused(429, "sign_in_locked");
        app.anyone().header("x-forwarded-for", "192.0.2.9").post(&path, "{}").await.data();
    })
    .await;
}

#[tokio::test]
async fn nothing_that_is_stored_of_a_way_finishes_it() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let way = begin(&app, "id").await;
        let asked: Vec<(Vec<u8>, Vec<u8>)> =
            app.database.db.query("SELECT hash, browser FROM provider_requests").all().await.unwrap();
        let path = provider.agree(&way.url);
        let state = path.split("state=").nth(1).unwrap().split('&').next().unwrap();
        let (_, cookie) = way.cookie.split_once('=').unwrap();
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!(asked.len(), 1);
        assert!(!holds(&asked[0].0, state) && !holds(&asked[0].1, cookie));
    })
    .await;
}
