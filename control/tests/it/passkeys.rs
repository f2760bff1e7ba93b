//! Passkeys, with an authenticator in this process.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, on_both},
    auth::PASSWORD,
    databases::Engine,
    factors::{code, turned_on},
};

const MINE: &str = "/api/v1/users/me/passkeys";
const FACTOR: &str = "/api/v1/users/me/second-factor";
const SITE: &str = "https://gateway.example.org";

const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// One that says what its knobs say.
pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    credential_id: Vec<u8>,
    user: String,
    origin: String,
    rp_id: String,
    pub(crate) flags: u8,
    counter: u32,
    /// In the place of the challenge that was given out.
    challenge: Option<String>,
}

impl Authenticator {
    pub(crate) fn new(id: u8) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        Self {
            key,
            credential_id: vec![id; 16],
            user: String::new(),
            origin: SITE.into(),
            rp_id: "gateway.example.org".into(),
            flags: PRESENT | VERIFIED,
            counter: 0,
            challenge: None,
        }
    }

    fn client_data(&self, ceremony: &str, options: &Value) -> String {
        let challenge = self.challenge.clone().unwrap_or_else(|| options["challenge"].as_str().unwrap().to_owned());
        json!({"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": false}).to_string()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        [digest(&SHA256, self.rp_id.as_bytes()).as_ref(), &[flags], &self.counter.to_be_bytes()].concat()
    }

    /// What the browser answers to creation options.
    fn make(&mut self, options: &Value) -> Value {
        assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
        self.user = options["user"]["id"].as_str().unwrap().to_owned();
        let point = self.key.public_key().as_ref();
        let cose = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat();
        let length = u16::try_from(self.credential_id.len()).unwrap().to_be_bytes();
        let data = [self.data(self.flags | 0x40).as_slice(), &[9; 16], &length, &self.credential_id, &cose].concat();
        let object =
            [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"[..], &[u8::try_from(data.len()).unwrap()], &data].concat();
        let id = b64(&self.credential_id);
        json!({"id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform", "clientExtensionResults": {},
            "response": {"clientDataJSON": b64(self.client_data("webauthn.create", options)), "attestationObject": b64(object),
                "transports": ["usb", "internal", "new"]}})
    }

    /// What it answers to request options.
    pub(crate) fn answer(&self, options: &Value) -> Value {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.data(self.flags);
        let signed = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        let id = b64(&self.credential_id);
        json!({"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {"clientDataJSON": b64(client_data), "authenticatorData": b64(data), "signature": b64(signature),
                "userHandle": self.user}})
    }
}

pub(crate) fn here(app: TestApp) -> TestApp {
    app.with(|api| api.public_url = SITE.into())
}

async fn post(app: &TestApp, session: &str, path: &str, body: Value) -> Answer {
    app.with_key(session).post(path, &body.to_string()).await
}

async fn options(app: &TestApp, session: &str, code: Option<&str>) -> Value {
    post(app, session, MINE, json!({"password": PASSWORD, "code": code})).await.data().clone()
}

pub(crate) async fn add(app: &TestApp, session: &str, authenticator: &mut Authenticator, code: Option<&str>) -> Answer {
    let made = authenticator.make(&options(app, session, code).await);
    post(app, session, &format!("{MINE}/confirm"), json!({"name": "Phone", "credential": made})).await
}

/// Ann with a passkey; her session, and the recovery codes.
pub(crate) async fn ann(app: &TestApp) -> (String, Authenticator, Vec<String>) {
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    let mut authenticator = Authenticator::new(1);
    let added = add(app, &session, &mut authenticator, None).await;
    let codes = added.data()["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (session, authenticator, codes)
}

async fn ticket(app: &TestApp) -> (String, Value) {
    let asked = app.login("ann@example.com", PASSWORD).await;
    (asked.data()["ticket"].as_str().unwrap().to_owned(), asked.data()["methods"].clone())
}

/// What a browser is given for a ticket.
async fn for_ticket(app: &TestApp, ticket: &str) -> Value {
    app.auth("second-factor/passkey", &json!({ "ticket": ticket })).await.data().clone()
}

async fn redeem(app: &TestApp, ticket: &str, answer: Value) -> Answer {
    app.auth("second-factor", &json!({"ticket": ticket, "passkey": answer})).await
}

async fn proof(app: &TestApp, session: &str, authenticator: &Authenticator) -> Answer {
    let options = post(app, session, &format!("{FACTOR}/passkey"), json!({})).await.data().clone();
    let answer = authenticator.answer(&options);
    post(app, session, &format!("{FACTOR}/passkey/confirm"), json!({ "credential": answer })).await
}

#[tokio::test]
async fn a_passkey_is_asked_for_after_the_password_and_signs_in() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (session, mut authenticator, codes) = ann(&app).await;
        assert_eq!(codes.len(), 10, "she may lose it");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Your second factor was changed");
        let (first, methods) = ticket(&app).await;
        assert_eq!(methods, json!(["passkey", "recovery_code"]));
        let options = for_ticket(&app, &first).await;
        assert_eq!(options["rpId"], "gateway.example.org");
        assert_eq!(options["allowCredentials"][0]["transports"], json!(["internal", "usb"]));
        let answer = authenticator.answer(&options);
        assert_eq!(redeem(&app, &first, answer.clone()).await.data()["status"], "signed_in");
        redeem(&app, &first, answer.clone()).await.refused(400, "one_time_token_invalid");
        // Neither for another ticket, nor a second time for its own.
        let (second, _) = ticket(&app).await;
        redeem(&app, &second, answer).await.refused(401, "second_factor_invalid");
        let options = for_ticket(&app, &second).await;
        authenticator.origin = "https://evil.example".into();
        redeem(&app, &second, authenticator.answer(&options)).await.refused(401, "second_factor_invalid");
        authenticator.origin = SITE.into();
        assert_eq!(redeem(&app, &second, authenticator.answer(&options)).await.data()["status"], "signed_in");
        // A recovery code stands in, and both at once are refused.
        let (third, _) = ticket(&app).await;
        let both = json!({"ticket": third, "code": codes[0], "passkey": authenticator.answer(&options)});
        app.auth("second-factor", &both).await.refused(400, "validation_error");
        let by_code = app.auth("second-factor", &json!({"ticket": third, "code": codes[0]})).await;
        assert_eq!(by_code.data()["status"], "signed_in");
        let state = app.with_key(&session).get(FACTOR).await;
        assert_eq!(state.data(), &json!({"on": true, "totp": false, "passkeys": 1, "recovery_codes_left": 9}));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_for_this_site_this_person_or_this_challenge_opens_nothing() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (_, mut authenticator, _) = ann(&app).await;
        app.person("eve@example.com").await;
        let eve = app.session("eve@example.com").await;
        let mut hers = Authenticator::new(2);
        add(&app, &eve, &mut hers, None).await.data();
        let tried = async |authenticator: &Authenticator| {
            let (ticket, _) = ticket(&app).await;
            let options = for_ticket(&app, &ticket).await;
            redeem(&app, &ticket, authenticator.answer(&options)).await.refused(401, "second_factor_invalid");
        };
        tried(&hers).await;
        // Her key under Ann's name.
        hers.credential_id = authenticator.credential_id.clone();
        hers.user = authenticator.user.clone();
        tried(&hers).await;
        let changes: [fn(&mut Authenticator); 7] = [
            |a| a.origin = "https://gateway.example.org.evil.example".into(),
            |a| a.rp_id = "example.org".into(),
            |a| a.challenge = Some(b64([0; 32])),
            |a| a.flags = PRESENT,
            |a| a.flags = VERIFIED,
            |a| a.flags = PRESENT | VERIFIED | 8,
            |a| a.user = b64([0; 16]),
        ];
        for change in changes {
            let user = authenticator.user.clone();
            change(&mut authenticator);
            app.world.advance(16 * 60 * 1_000);
            tried(&authenticator).await;
            (authenticator.user, authenticator.origin, authenticator.rp_id) = (user, SITE.into(), "gateway.example.org".into());
            (authenticator.challenge, authenticator.flags) = (None, PRESENT | VERIFIED);
        }
        // Too late.
        let (late, _) = ticket(&app).await;
        let options = for_ticket(&app, &late).await;
        app.world.advance(5 * 60 * 1_000);
        redeem(&app, &late, authenticator.answer(&options)).await.refused(400, "one_time_token_invalid");
        let (ticket, _) = ticket(&app).await;
        redeem(&app, &ticket, authenticator.answer(&options)).await.refused(401, "second_factor_invalid");
        let (right, options) = (ticket.clone(), for_ticket(&app, &ticket).await);
        assert_eq!(redeem(&app, &right, authenticator.answer(&options)).await.data()["status"], "signed_in");
    })
    .await;
}

#[tokio::test]
async fn a_counter_that_does_not_go_up_is_refused_and_stands_in_the_log() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (_, mut authenticator, _) = ann(&app).await;
        let tried = async |authenticator: &Authenticator| {
            let (ticket, _) = ticket(&app).await;
            let options = for_ticket(&app, &ticket).await;
            redeem(&app, &ticket, authenticator.answer(&options)).await
        };
        // One that does not count is taken as it is.
        tried(&authenticator).await.data();
        authenticator.counter = 7;
        tried(&authenticator).await.data();
        for counter in [7, 6, 0] {
            authenticator.counter = counter;
            tried(&authenticator).await.refused(401, "second_factor_invalid");
        }
        let log = app.admin().get("/api/v1/audit?limit=100&action=passkey.refused").await;
        let entries = log.data()["items"].as_array().unwrap().clone();
        let changes = &entries[0]["changes"];
        assert_eq!(
            (entries.len(), &changes["counter_known"]["after"], &changes["counter_shown"]["after"]),
            (3, &json!(7), &json!(0))
        );
        authenticator.counter = 8;
        tried(&authenticator).await.data();
    })
    .await;
}

#[tokio::test]
async fn a_passkey_signs_in_by_itself() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (_, mut authenticator, _) = ann(&app).await;
        let options = app.auth("passkey", &json!({})).await.data().clone();
        assert_eq!(options["allowCredentials"], json!([]));
        let answer = authenticator.answer(&options);
        let signed_in = app.auth("passkey/confirm", &json!({ "passkey": answer })).await;
        assert_eq!(
            (&signed_in.data()["status"], &signed_in.data()["user"]["email"]),
            (&json!("signed_in"), &json!("ann@example.com"))
        );
        app.auth("passkey/confirm", &json!({ "passkey": answer })).await.refused(401, "second_factor_invalid");
        // Whose it is the authenticator has to say.
        let options = app.auth("passkey", &json!({})).await.data().clone();
        let mut silent = authenticator.answer(&options);
        silent["response"].as_object_mut().unwrap().remove("userHandle");
        app.auth("passkey/confirm", &json!({ "passkey": silent })).await.refused(401, "second_factor_invalid");
        // A challenge for a ticket is none for whoever comes, and the other way round.
        let (ticket, _) = ticket(&app).await;
        let options = for_ticket(&app, &ticket).await;
        let answer = json!({ "passkey": authenticator.answer(&options) });
        app.auth("passkey/confirm", &answer).await.refused(401, "second_factor_invalid");
        authenticator.flags = PRESENT;
        let options = app.auth("passkey", &json!({})).await.data().clone();
        let unverified = json!({ "passkey": authenticator.answer(&options) });
        app.auth("passkey/confirm", &unverified).await.refused(401, "second_factor_invalid");
    })
    .await;
}

#[tokio::test]
async fn a_passkey_is_made_for_this_site_by_a_challenge_of_this_session_once() {
    on_both(async |app: TestApp| {
        let app = here(app);
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let other = app.session("ann@example.com").await;
        post(&app, &session, MINE, json!({"password": "not the password"})).await.refused(401, "credentials_invalid");
        let confirm = async |session: &str, made: &Value| {
            post(&app, session, &format!("{MINE}/confirm"), json!({"name": "Phone", "credential": made})).await
        };
        let changes: [fn(&mut Authenticator); 6] = [
            |a| a.origin = "https://evil.example".into(),
            |a| a.rp_id = "evil.example".into(),
            |a| a.challenge = Some(b64([0; 32])),
            |a| a.flags = PRESENT,
            |a| a.flags = VERIFIED,
            |a| a.flags = PRESENT | VERIFIED | 16,
        ];
        for change in changes {
            let mut wrong = Authenticator::new(1);
            change(&mut wrong);
            let made = wrong.make(&options(&app, &session, None).await);
            confirm(&session, &made).await.refused(400, "passkey_invalid");
        }
        let mut authenticator = Authenticator::new(1);
        let made = authenticator.make(&options(&app, &session, None).await);
        confirm(&other, &made).await.refused(400, "passkey_invalid");
        confirm(&session, &made).await.data();
        confirm(&session, &made).await.refused(400, "passkey_invalid");
        let held = app.with_key(&session).get(MINE).await;
        assert_eq!(held.data()["items"].as_array().unwrap().len(), 1);
        for malformed in [json!({}), json!("x"), json!({"response": {"clientDataJSON": "=", "attestationObject": ""}})] {
            confirm(&session, &malformed).await.refused(400, "validation_error");
        }
    })
    .await;
}

#[tokio::test]
async fn what_takes_a_code_takes_a_passkey_that_was_just_shown_once() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (session, authenticator, codes) = ann(&app).await;
        post(&app, &session, MINE, json!({ "password": PASSWORD })).await.refused(401, "second_factor_invalid");
        let shown = proof(&app, &session, &authenticator).await;
        let code = shown.data()["code"].as_str().unwrap().to_owned();
        let mut second = Authenticator::new(2);
        let added = add(&app, &session, &mut second, Some(&code)).await;
        assert_eq!(added.data()["recovery_codes"], Value::Null, "those there are stay");
        post(&app, &session, MINE, json!({"password": PASSWORD, "code": code})).await.refused(401, "second_factor_invalid");
        // Too late, and somebody else's.
        let late = proof(&app, &session, &authenticator).await.data()["code"].as_str().unwrap().to_owned();
        app.world.advance(5 * 60 * 1_000);
        post(&app, &session, MINE, json!({"password": PASSWORD, "code": late})).await.refused(401, "second_factor_invalid");

        let held = app.with_key(&session).get(MINE).await.data()["items"].as_array().unwrap().clone();
        let id = |n: usize| held[n]["id"].as_str().unwrap();
        let path = format!("{MINE}/{}", id(0));
        let renamed = app.with_key(&session).send(Method::PATCH, &path, r#"{"name": "Laptop"}"#).await;
        assert_eq!(renamed.data()["name"], "Laptop");
        let remove = async |id: &str, code: &str| {
            let body = json!({"password": PASSWORD, "code": code}).to_string();
            app.with_key(&session).send(Method::DELETE, &format!("{MINE}/{id}"), &body).await
        };
        app.person("eve@example.com").await;
        let eve = app.session("eve@example.com").await;
        app.with_key(&eve).send(Method::PATCH, &path, r#"{"name": "x"}"#).await.refused(404, "not_found");
        let body = json!({ "password": PASSWORD }).to_string();
        app.with_key(&eve).send(Method::DELETE, &path, &body).await.refused(404, "not_found");
        assert_eq!(remove(id(0), &codes[0]).await.data()["items"].as_array().unwrap().len(), 1);
        assert_eq!(remove(id(1), &codes[1]).await.data()["items"], json!([]));
        let state = app.with_key(&session).get(FACTOR).await;
        assert_eq!(state.data(), &json!({"on": false, "totp": false, "passkeys": 0, "recovery_codes_left": 0}));
        assert_eq!(app.login("ann@example.com", PASSWORD).await.data()["status"], "signed_in");
    })
    .await;
}

#[tokio::test]
async fn an_app_and_passkeys_stand_beside_each_other() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (secret, codes) = turned_on(&app).await;
        let asked = app.login("ann@example.com", PASSWORD).await;
        let ticket = asked.data()["ticket"].as_str().unwrap();
        let session = app.auth("second-factor", &json!({"ticket": ticket, "code": codes[0]})).await;
        let session = session.data()["session"]["token"].as_str().unwrap().to_owned();
        let mut authenticator = Authenticator::new(1);
        let now = code(&secret, app.world.now_ms());
        assert_eq!(add(&app, &session, &mut authenticator, Some(&now)).await.data()["recovery_codes"], Value::Null);
        let methods = app.login("ann@example.com", PASSWORD).await.data()["methods"].clone();
        assert_eq!(methods, json!(["totp", "passkey", "recovery_code"]));
        let off = json!({"password": PASSWORD, "code": codes[1]});
        let left = post(&app, &session, &format!("{FACTOR}/disable"), off).await;
        assert_eq!(left.data(), &json!({"on": true, "totp": false, "passkeys": 1, "recovery_codes_left": 8}));
    })
    .await;
}

#[tokio::test]
async fn a_person_has_twenty_at_most_and_none_twice() {
    let app = here(TestApp::new(Engine::Sqlite).await);
    let (session, authenticator, _) = ann(&app).await;
    let mut last = None;
    for id in 2..=20 {
        let code = proof(&app, &session, &authenticator).await.data()["code"].as_str().unwrap().to_owned();
        let mut another = Authenticator::new(id);
        add(&app, &session, &mut another, Some(&code)).await.data();
        last = Some(another);
    }
    let code = proof(&app, &session, &authenticator).await.data()["code"].as_str().unwrap().to_owned();
    post(&app, &session, MINE, json!({"password": PASSWORD, "code": code})).await.refused(409, "object_limit_reached");
    app.person("eve@example.com").await;
    let eve = app.session("eve@example.com").await;
    add(&app, &eve, &mut last.unwrap(), None).await.refused(400, "passkey_invalid");
}

#[tokio::test]
async fn there_are_none_where_browsers_have_none() {
    let app = TestApp::new(Engine::Sqlite).await;
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    post(&app, &session, MINE, json!({ "password": PASSWORD })).await.refused(409, "passkeys_unavailable");
    app.auth("passkey", &json!({})).await.refused(409, "passkeys_unavailable");
}

#[tokio::test]
async fn passkeys_are_exported_and_erased_with_their_person_and_no_secret_is_stored() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (session, authenticator, codes) = ann(&app).await;
        let shown = proof(&app, &session, &authenticator).await;
        let code = shown.data()["code"].as_str().unwrap().to_owned();
        let hashes: Vec<(Vec<u8>,)> = app.database.db.query("SELECT hash FROM passkey_challenges").all().await.unwrap();
        assert!(hashes.iter().all(|(hash,)| !hash.windows(43).any(|window| window == code.as_bytes())));
        let export = app.with_key(&session).get("/api/v1/users/me/export").await;
        assert_eq!(
            (&export.data()["passkeys"][0]["name"], &export.data()["second_factor"]["passkeys"]),
            (&json!("Phone"), &json!(1))
        );
        let body = json!({"password": PASSWORD, "code": codes[0]}).to_string();
        app.with_key(&session).send(Method::DELETE, "/api/v1/users/me", &body).await.data();
        let mut left = BTreeMap::new();
        left.insert("passkeys", app.database.db.query("SELECT count(*) FROM passkeys").scalar::<i64>().await.unwrap());
        left.insert("challenges", app.database.db.query("SELECT count(*) FROM passkey_challenges").scalar().await.unwrap());
        assert!(left.values().all(|rows| *rows == 0), "{left:?}");
    })
    .await;
}
