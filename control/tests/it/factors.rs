//! The second factor.

use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, on_both},
    auth::PASSWORD,
};

const FACTOR: &str = "/api/v1/users/me/second-factor";

/// What an app shows now: RFC 6238, written once more.
pub(crate) fn code(secret: &str, now_ms: i64) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<bool> = secret
        .bytes()
        .map(|c| digits.iter().position(|digit| *digit == c).unwrap())
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1 == 1))
        .collect();
    let seed: Vec<u8> = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |n, bit| n << 1 | u8::from(*bit))).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &seed);
    let tag = ring::hmac::sign(&key, &(now_ms / 30_000).to_be_bytes());
    let from = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[from..from + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

async fn ask(app: &TestApp, session: &str, path: &str, body: Value) -> Answer {
    app.with_key(session).post(&format!("{FACTOR}{path}"), &body.to_string()).await
}

/// Ann, who has turned it on: the app's secret and the recovery codes.
pub(crate) async fn turned_on(app: &TestApp) -> (String, Vec<String>) {
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    ask(app, &session, "", json!({"password": "not the password"})).await.refused(401, "credentials_invalid");
    let begun = ask(app, &session, "", json!({ "password": PASSWORD })).await;
    let secret = begun.data()["secret"].as_str().unwrap().to_owned();
    assert!(begun.data()["uri"].as_str().unwrap().contains(&secret));
    app.session("ann@example.com").await;
    let confirm = |code: &str| json!({"password": PASSWORD, "code": code});
    ask(app, &session, "/confirm", confirm("000000")).await.refused(401, "second_factor_invalid");
    let on = ask(app, &session, "/confirm", confirm(&code(&secret, app.world.now_ms()))).await;
    let codes = on.data()["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    app.world.advance(30_000);
    (secret, codes)
}

async fn ticket(app: &TestApp) -> String {
    let asked = app.login("ann@example.com", PASSWORD).await;
    assert_eq!((&asked.data()["status"], asked.data().get("session")), (&json!("second_factor_required"), None));
    asked.data()["ticket"].as_str().unwrap().to_owned()
}

async fn redeem(app: &TestApp, ticket: &str, code: &str) -> Answer {
    app.auth("second-factor", &json!({"ticket": ticket, "code": code})).await
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_password_and_after_the_link_and_taken_once() {
    on_both(async |app: TestApp| {
        let (secret, _) = turned_on(&app).await;
        let first = ticket(&app).await;
        redeem(&app, &first, "000000").await.refused(401, "second_factor_invalid");
        let right = code(&secret, app.world.now_ms());
        let signed_in = redeem(&app, &first, &right).await;
        assert_eq!(signed_in.data()["status"], "signed_in");
        redeem(&app, &first, &right).await.refused(400, "one_time_token_invalid");
        redeem(&app, &ticket(&app).await, &right).await.refused(401, "second_factor_invalid");

        app.auth("sign-in-link", &json!({"email": "ann@example.com"})).await.data();
        let (_, link) = app.mailed("ann@example.com").await.unwrap();
        let followed = app.auth("sign-in-link/confirm", &json!({ "token": link })).await;
        assert_eq!(followed.data()["status"], "second_factor_required");
        let late = ticket(&app).await;
        app.world.advance(5 * 60 * 1_000);
        redeem(&app, &late, &code(&secret, app.world.now_ms())).await.refused(400, "one_time_token_invalid");
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_stands_in_once_and_others_take_their_place() {
    on_both(async |app: TestApp| {
        let (_, codes) = turned_on(&app).await;
        assert_eq!(codes.len(), 10);
        let signed_in = redeem(&app, &ticket(&app).await, &codes[0].to_uppercase()).await;
        let session = signed_in.data()["session"]["token"].as_str().unwrap().to_owned();
        redeem(&app, &ticket(&app).await, &codes[0]).await.refused(401, "second_factor_invalid");
        let state = app.with_key(&session).get(FACTOR).await;
        assert_eq!(state.data(), &json!({"on": true, "totp": true, "passkeys": 0, "recovery_codes_left": 9}));
        let confirmed = |code: &str| json!({"password": PASSWORD, "code": code});
        let fresh = ask(&app, &session, "/recovery-codes", confirmed(&codes[1])).await;
        redeem(&app, &ticket(&app).await, &codes[2]).await.refused(401, "second_factor_invalid");
        ask(&app, &session, "/disable", confirmed(&codes[2])).await.refused(401, "second_factor_invalid");
        let code = fresh.data()["recovery_codes"][0].as_str().unwrap();
        assert_eq!(ask(&app, &session, "/disable", confirmed(code)).await.data()["on"], false);
        assert_eq!(app.login("ann@example.com", PASSWORD).await.data()["status"], "signed_in");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Your second factor was changed");
    })
    .await;
}

#[tokio::test]
async fn codes_cannot_be_tried_for_long() {
    on_both(async |app: TestApp| {
        let (secret, _) = turned_on(&app).await;
        for _ in 0..10 {
            redeem(&app, &ticket(&app).await, "000000").await.refused(401, "second_factor_invalid");
        }
        let locked = redeem(&app, &ticket(&app).await, &code(&secret, app.world.now_ms())).await;
        locked.refused(429, "sign_in_locked");
    })
    .await;
}

#[tokio::test]
async fn whoever_has_a_session_and_the_password_cannot_try_codes_for_long_either() {
    on_both(async |app: TestApp| {
        let (secret, _) = turned_on(&app).await;
        let code = code(&secret, app.world.now_ms());
        let signed_in = redeem(&app, &ticket(&app).await, &code).await;
        let session = signed_in.data()["session"]["token"].as_str().unwrap().to_owned();
        let off = |code: &str| json!({"password": PASSWORD, "code": code});
        ask(&app, &session, "/disable", off(&code)).await.refused(401, "second_factor_invalid");
        for _ in 0..9 {
            ask(&app, &session, "/disable", off("000000")).await.refused(401, "second_factor_invalid");
        }
        ask(&app, &session, "/recovery-codes", off("000000")).await.refused(429, "sign_in_locked");
        assert_eq!(app.with_key(&session).get(FACTOR).await.data()["on"], true);
    })
    .await;
}

#[tokio::test]
async fn a_code_that_two_show_at_once_is_taken_from_one() {
    on_both(async |app: TestApp| {
        let (secret, codes) = turned_on(&app).await;
        for code in [code(&secret, app.world.now_ms()), codes[0].clone()] {
            let (one, two) = (ticket(&app).await, ticket(&app).await);
            let (one, two) = tokio::join!(redeem(&app, &one, &code), redeem(&app, &two, &code));
            let mut statuses = [one.status.as_u16(), two.status.as_u16()];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 401]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_seed_is_sealed_and_codes_are_kept_as_hashes() {
    on_both(async |app: TestApp| {
        let (secret, codes) = turned_on(&app).await;
        let rows: Vec<(Vec<u8>,)> = app.database.db.query("SELECT seed FROM totp_factors").all().await.unwrap();
        let hashes: Vec<(Vec<u8>,)> = app.database.db.query("SELECT hash FROM recovery_codes").all().await.unwrap();
        let held = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!((rows.len(), hashes.len()), (1, 10));
        assert!(rows[0].0.len() > 20 && !held(&rows[0].0, &secret));
        assert!(hashes.iter().all(|(hash,)| hash.len() == 32 && codes.iter().all(|code| !held(hash, code))));
        let log = app.admin().get("/api/v1/audit?limit=100").await.body.to_string();
        assert!(!log.contains(&secret) && codes.iter().all(|code| !log.contains(code.as_str())));
    })
    .await;
}

#[tokio::test]
async fn the_page_that_applications_send_people_to_asks_for_the_code_too() {
    on_both(async |app: TestApp| {
        let (secret, _) = turned_on(&app).await;
        let to = "/oauth/authorize?client_id=x";
        let send = async |fields: Vec<(&str, &str)>| {
            let escaped = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("&{name}={}", escaped(value))).collect();
            let client = app.anyone().header("content-type", "application/x-www-form-urlencoded");
            client.post("/oauth/sign-in", &format!("return_to={}{}", escaped(to), fields.concat())).await
        };
        let asked = send(vec![("email", "ann@example.com"), ("password", PASSWORD)]).await;
        let page = asked.body.as_str().unwrap();
        assert!(asked.status == 200 && !asked.headers.contains_key("set-cookie"), "{page}");
        let (_, rest) = page.split_once("name=\"ticket\" value=\"").unwrap();
        let ticket = rest.split_once('"').unwrap().0;
        let wrong = send(vec![("ticket", ticket), ("code", "000000")]).await;
        assert!(wrong.status == 401 && wrong.body.as_str().unwrap().contains(ticket), "{:?}", wrong.body);
        let right = code(&secret, app.world.now_ms());
        let signed_in = send(vec![("ticket", ticket), ("code", &right)]).await;
        assert_eq!((signed_in.status.as_u16(), signed_in.headers["location"].to_str().unwrap()), (303, to));
        let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("__Host-clearway_session="));
        assert!(send(vec![("ticket", ticket), ("code", &right)]).await.status.is_client_error());
    })
    .await;
}
