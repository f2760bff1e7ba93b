//! The page on which people sign in, whatever way they take.

use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::{FORM, Stand, form, redirected, stays};
use crate::{
    app::{Answer, TestApp, on_both},
    auth::{PASSWORD, cookies},
    factors::{code, turned_on},
    identities::{MINE, Way, away, back, counts, provider::Provider, with_providers},
    passkeys::{self, Authenticator, here},
};

const PAGE: &str = "/oauth/sign-in";
/// Where people come from; nobody looks at it before they are back.
const FROM: &str = "/oauth/authorize?client_id=x&state=a%26b";

fn page_for(return_to: &str) -> String {
    format!("{PAGE}?{}", form(&[("return_to", return_to)]))
}

/// Sends a form of the page, from the page.
async fn send(app: &TestApp, return_to: &str, pairs: &[(&str, &str)]) -> Answer {
    send_from(app, "same-origin", return_to, pairs).await
}

async fn send_from(app: &TestApp, site: &str, return_to: &str, pairs: &[(&str, &str)]) -> Answer {
    let pairs: Vec<_> = [("return_to", return_to)].into_iter().chain(pairs.iter().copied()).collect();
    app.anyone().header("content-type", FORM).header("sec-fetch-site", site).post(PAGE, &form(&pairs)).await
}

/// The way that the page sends a browser on to a provider.
#[track_caller]
fn way(answer: &Answer) -> Way {
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    let url = answer.headers["refresh"].to_str().unwrap().strip_prefix("0;url=").unwrap().to_owned();
    let shown = url.replace('&', "&amp;");
    assert!(html(answer).contains(&format!("href=\"{shown}\"")), "for who is not sent on: {}", html(answer));
    let (name, value, attributes) = cookies(answer).remove(0);
    assert_eq!(attributes, "Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax");
    Way { url, cookie: format!("{name}={value}") }
}

async fn through(app: &TestApp, provider: &Provider, name: &str, return_to: &str) -> Answer {
    let way = way(&send(app, return_to, &[("provider", name)]).await);
    // Its clock is ours.
    let now = app.world.now_ms() / 1_000;
    provider.set(|knobs| (knobs.claims["iat"], knobs.claims["exp"]) = (now.into(), (now + 300).into()));
    back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await
}

#[track_caller]
fn html(answer: &Answer) -> &str {
    answer.body.as_str().unwrap_or_else(|| panic!("{:#}", answer.body))
}

#[track_caller]
fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{:#}", answer.body);
    answer.headers["location"].to_str().unwrap()
}

/// The session's cookie of whoever was let in, and sent back to where they came from.
#[track_caller]
fn let_in(answer: &Answer, return_to: &str) -> String {
    assert_eq!(location(answer), return_to);
    let found = cookies(answer).into_iter().find(|(name, ..)| name == "__Host-clearway_session");
    let (name, value, attributes) = found.expect("a session");
    assert!(attributes.contains("HttpOnly") && attributes.contains("Secure"), "{attributes}");
    format!("{name}={value}")
}

/// A page that lets nobody in.
#[track_caller]
fn shut(answer: &Answer, status: u16) {
    stays(answer, status);
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
}

async fn who(app: &TestApp, session: &str) -> Value {
    app.anyone().header("cookie", session).get("/api/v1/auth/user").await.data()["user"]["email"].clone()
}

/// The ticket that the page's form has.
#[track_caller]
fn ticket(answer: &Answer) -> String {
    let page = html(answer);
    let (_, after) = page.split_once("name=\"ticket\" value=\"").unwrap_or_else(|| panic!("{page}"));
    after.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_provider_is_a_button_that_leads_back_to_what_was_asked_for() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let stand = Stand::new(app).await;
        let app = &stand.app;
        let request = format!("/oauth/authorize?{}", stand.request(&[]));
        let device = "/oauth/device?user_code=BCDFGHJK".to_owned();
        for (n, return_to) in [request, device].into_iter().enumerate() {
            let page = app.anyone().get(&page_for(&return_to)).await;
            for (name, title) in [("id", "Example ID"), ("github", "github"), ("other", "other")] {
                let button = format!("<button name=\"provider\" value=\"{name}\">Continue with {title}</button>");
                assert!(html(&page).contains(&button), "{}", html(&page));
            }
            provider.set(|knobs| knobs.claims = json!({"sub": format!("s{n}"), "email": format!("bob{n}@example.com")}));
            let session = let_in(&through(app, &provider, "id", &return_to).await, &return_to);
            assert_eq!(who(app, &session).await, format!("bob{n}@example.com"));
            let there = app.anyone().header("cookie", &session).get(&return_to).await;
            assert!(there.body.is_string() && !there.headers.contains_key("location"), "{there:?}");
        }
        // No button where there is nothing to go to.
        let stand = stand.app.with(|api| api.providers = clearway_control::providers::Providers::default());
        assert!(!html(&stand.anyone().get(&page_for(FROM)).await).contains("Continue with"));
    })
    .await;
}

#[tokio::test]
async fn a_provider_leads_to_nothing_but_pages_of_ours_and_not_for_other_sites() {
    on_both(async |app: TestApp| {
        let (app, _provider, _) = with_providers(app).await;
        for elsewhere in [
            "https://evil.example/",
            "//evil.example/oauth/authorize?",
            "/oauth/authorize",
            "/oauth/authorize?\\evil.example",
            "/oauth/authorize?x#y",
            "/oauth/authorize?\r\nset-cookie: x",
            "/oauth/../evil?",
            "/oauth/sign-in?return_to=x",
            "/portal/",
            "javascript:alert(1)",
            "",
        ] {
            shut(&send(&app, elsewhere, &[("provider", "id")]).await, 400);
            shut(&app.anyone().get(&page_for(elsewhere)).await, 400);
        }
        shut(&send_from(&app, "cross-site", FROM, &[("provider", "id")]).await, 403);
        shut(&send_from(&app, "same-site", FROM, &[("provider", "id")]).await, 403);
        shut(&send(&app, FROM, &[("provider", "nobody")]).await, 404);
        let begun: i64 = app.database.db.query("SELECT count(*) FROM provider_requests").scalar().await.unwrap();
        assert_eq!(begun, 0);
        for _ in 0..60 {
            way(&send(&app, FROM, &[("provider", "id")]).await);
        }
        let locked = send(&app, FROM, &[("provider", "id")]).await;
        shut(&locked, 429);
        assert!(html(&locked).contains("Too many attempts"));
    })
    .await;
}

#[tokio::test]
async fn a_providers_answer_is_for_the_browser_that_went_there_from_the_page() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let attackers = way(&send(&app, FROM, &[("provider", "id")]).await);
        let path = provider.agree(&attackers.url);
        // The attacker's answer, in a browser that never went there, and in one that has.
        let victims = way(&send(&app, FROM, &[("provider", "id")]).await);
        app.anyone().get(&path).await.refused(400, "provider_answer_unknown");
        back(app.anyone(), &victims.cookie, &path).await.refused(400, "provider_answer_unknown");
        assert_eq!(counts(&app).await, (1, 0));
        let session = let_in(&back(app.anyone(), &attackers.cookie, &path).await, FROM);
        assert_eq!(who(&app, &session).await, "ann@example.com");
        back(app.anyone(), &attackers.cookie, &path).await.refused(400, "provider_answer_unknown");
    })
    .await;
}

#[tokio::test]
async fn what_did_not_work_at_a_provider_is_told_on_the_page_in_words_of_ours() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        let told = async |code: &str, says: &str| {
            let answer = through(&app, &provider, "id", FROM).await;
            assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
            let page = format!("{PAGE}?return_to=%2Foauth%2Fauthorize%3Fclient_id%3Dx%26state%3Da%2526b&error={code}");
            assert_eq!(location(&answer), page);
            let shown = app.anyone().get(&page).await;
            assert!(html(&shown).contains(says) && html(&shown).contains("name=\"password\""), "{}", html(&shown));
        };
        told("identity_unlinked", "An account here has the provider&#39;s address already.").await;
        provider.set(|knobs| knobs.claims = json!({"email_verified": false}));
        told("provider_address_unverified", "The provider vouches for no address of this person").await;
        provider.set(|knobs| knobs.claims = json!({"nonce": "another"}));
        told("provider_unusable", "cannot be believed").await;
        // Who gives up there comes back all the same.
        let way = way(&send(&app, FROM, &[("provider", "id")]).await);
        let path = provider.agree(&way.url).replace("code=", "error=access_denied&x=");
        assert!(location(&back(app.anyone(), &way.cookie, &path).await).ends_with("&error=provider_denied"));
        for word in ["<script>", "evil", "Identity_unlinked"] {
            let page = app.anyone().get(&format!("{}&{}", page_for(FROM), form(&[("error", word)]))).await;
            assert!(page.status.is_success() && !html(&page).contains("role=\"alert\""), "{}", html(&page));
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_has_a_second_factor_is_asked_for_it_on_the_page_after_a_provider() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let (secret, codes) = turned_on(&app).await;
        let asked = app.login("ann@example.com", PASSWORD).await;
        let factor = json!({"ticket": asked.data()["ticket"], "code": codes[0]});
        let session = app.auth("second-factor", &factor).await.data()["session"]["token"].as_str().unwrap().to_owned();
        let wish = json!({"provider": "id", "password": PASSWORD, "code": codes[1]}).to_string();
        let linking = away(&app.with_key(&session).post(MINE, &wish).await);
        back(app.anyone(), &linking.cookie, &provider.agree(&linking.url)).await;

        let come = async || {
            let answer = through(&app, &provider, "id", FROM).await;
            assert_eq!(location(&answer), format!("{PAGE}?return_to=%2Foauth%2Fauthorize%3Fclient_id%3Dx%26state%3Da%2526b"));
            let set = cookies(&answer);
            let (name, value, attributes) = &set[0];
            assert_eq!((set.len(), &**name), (1, "__Host-clearway_ticket"), "nobody is signed in yet");
            assert_eq!(attributes, "Path=/; Max-Age=300; Secure; HttpOnly; SameSite=Lax");
            let page = app.anyone().header("cookie", &format!("{name}={value}")).get(location(&answer)).await;
            let gone = cookies(&page).remove(0);
            assert_eq!((gone.0.as_str(), gone.1.as_str()), ("__Host-clearway_ticket", ""), "it is in the form now");
            page
        };
        let page = come().await;
        assert!(html(&page).contains("Code of your app, or a recovery code") && !html(&page).contains("name=\"password\""));
        let (first, right) = (ticket(&page), code(&secret, app.world.now_ms()));
        let wrong = send(&app, FROM, &[("ticket", &first), ("code", "000000")]).await;
        shut(&wrong, 401);
        assert_eq!(ticket(&wrong), first, "once more");
        shut(&send_from(&app, "cross-site", FROM, &[("ticket", &first), ("code", &right)]).await, 403);
        let session = let_in(&send(&app, FROM, &[("ticket", &first), ("code", &right)]).await, FROM);
        assert_eq!(who(&app, &session).await, "ann@example.com");
        shut(&send(&app, FROM, &[("ticket", &first), ("code", &codes[2])]).await, 400);
        // A recovery code will do, and what has run out will not.
        let second = ticket(&come().await);
        let_in(&send(&app, FROM, &[("ticket", &second), ("code", &codes[2])]).await, FROM);
        let third = ticket(&come().await);
        app.world.advance(5 * 60 * 1_000);
        shut(&send(&app, FROM, &[("ticket", &third), ("code", &codes[3])]).await, 400);
        let late = app.anyone().header("cookie", &format!("__Host-clearway_ticket={third}")).get(&page_for(FROM)).await;
        assert!(html(&late).contains("Begin anew") && html(&late).contains("name=\"password\""), "{}", html(&late));
        // Ten guesses, as everywhere.
        let fourth = ticket(&come().await);
        for _ in 0..10 {
            shut(&send(&app, FROM, &[("ticket", &fourth), ("code", "000000")]).await, 401);
        }
        shut(&send(&app, FROM, &[("ticket", &fourth), ("code", &codes[3])]).await, 429);
    })
    .await;
}

/// Ann's passkey signs in at the page.
async fn by_passkey(app: &TestApp, authenticator: &Authenticator, return_to: &str) -> Answer {
    let options = app.auth("passkey", &json!({})).await.data().clone();
    send(app, return_to, &[("passkey", &authenticator.answer(&options).to_string())]).await
}

#[tokio::test]
async fn a_passkey_signs_in_on_the_page() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (_, mut authenticator, _) = passkeys::ann(&app).await;
        let page = app.anyone().get(&page_for(FROM)).await;
        assert!(html(&page).contains("id=\"passkey\" data-ask=\"/api/v1/auth/passkey\" hidden>"), "{}", html(&page));
        let session = let_in(&by_passkey(&app, &authenticator, FROM).await, FROM);
        assert_eq!(who(&app, &session).await, "ann@example.com");
        // Once, for this site, by a person that the authenticator has verified, and not by way of another site.
        let options = app.auth("passkey", &json!({})).await.data().clone();
        let answer = authenticator.answer(&options).to_string();
        shut(&send_from(&app, "cross-site", FROM, &[("passkey", &answer)]).await, 403);
        let_in(&send(&app, FROM, &[("passkey", &answer)]).await, FROM);
        shut(&send(&app, FROM, &[("passkey", &answer)]).await, 401);
        for garbage in ["x", "{}", "[]", "null", "{\"rawId\": 1}"] {
            shut(&send(&app, FROM, &[("passkey", garbage)]).await, 401);
        }
        authenticator.flags = 1;
        shut(&by_passkey(&app, &authenticator, FROM).await, 401);
        shut(&by_passkey(&app, &Authenticator::new(9), FROM).await, 401);
        shut(&send(&app, "https://evil.example/", &[("passkey", &answer)]).await, 400);
    })
    .await;
}

#[tokio::test]
async fn a_passkey_is_the_second_factor_on_the_page() {
    on_both(async |app: TestApp| {
        let app = here(app);
        let (_, authenticator, codes) = passkeys::ann(&app).await;
        let by_password = [("email", "ann@example.com"), ("password", PASSWORD)];
        let page = send(&app, FROM, &by_password).await;
        shut(&page, 200);
        let first = ticket(&page);
        assert!(html(&page).contains("A recovery code</label>"), "she has no app: {}", html(&page));
        assert!(html(&page).contains("data-ask=\"/api/v1/auth/second-factor/passkey\""));
        let ask = async |ticket: &str| app.auth("second-factor/passkey", &json!({ "ticket": ticket })).await.data().clone();
        let answer = authenticator.answer(&ask(&first).await).to_string();
        let wrong = send(&app, FROM, &[("ticket", &first), ("passkey", "{}")]).await;
        shut(&wrong, 401);
        assert_eq!(ticket(&wrong), first);
        // Neither alone, nor for another ticket.
        shut(&send(&app, FROM, &[("passkey", &answer)]).await, 401);
        let second = ticket(&send(&app, FROM, &by_password).await);
        let answer = authenticator.answer(&ask(&first).await).to_string();
        shut(&send(&app, FROM, &[("ticket", &second), ("passkey", &answer)]).await, 401);
        let answer = authenticator.answer(&ask(&first).await).to_string();
        let session = let_in(&send(&app, FROM, &[("ticket", &first), ("passkey", &answer)]).await, FROM);
        assert_eq!(who(&app, &session).await, "ann@example.com");
        let_in(&send(&app, FROM, &[("ticket", &second), ("code", &codes[0])]).await, FROM);
    })
    .await;
}

#[tokio::test]
async fn the_page_runs_no_script_but_its_file_and_none_where_there_is_no_use_for_it() {
    on_both(async |app: TestApp| {
        let (app, ..) = with_providers(app).await;
        let policy = |answer: &Answer| answer.headers["content-security-policy"].to_str().unwrap().to_owned();
        // This one has an address for a name: there are no passkeys.
        let without = app.anyone().get(&page_for(FROM)).await;
        assert!(!html(&without).contains("<script") && !html(&without).contains("passkey"), "{}", html(&without));
        assert!(!policy(&without).contains("script-src") && policy(&without).starts_with("default-src 'none'"));
        let app = here(app);
        let with = app.anyone().get(&page_for(FROM)).await;
        assert_eq!(html(&with).matches("<script").count(), 1);
        assert!(html(&with).contains("<script src=\"/oauth/sign-in.js\" defer></script>"), "{}", html(&with));
        let policy = policy(&with);
        for part in
            ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.split("; ").any(|found| found == part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let script = app.anyone().get("/oauth/sign-in.js").await;
        assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(script.headers["x-content-type-options"], "nosniff");
        assert!(html(&script).contains("navigator.credentials.get"));
    })
    .await;
}

#[tokio::test]
async fn whoever_must_sign_in_anew_does_so_by_whatever_way_they_take() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(here(app)).await;
        let (_, authenticator, _) = passkeys::ann(&app).await;
        provider.set(|knobs| knobs.claims = json!({"email": "bob@example.com"}));
        let first = let_in(&through(&app, &provider, "id", FROM).await, FROM);
        let by = async |way: &str, return_to: &str| match way {
            "provider" => through(&app, &provider, "id", return_to).await,
            _ => by_passkey(&app, &authenticator, return_to).await,
        };
        let made = json!({"name": "Example", "redirect_uris": [super::REDIRECT], "scopes": ["read:keys"]}).to_string();
        let client = app.admin().post(super::CLIENTS, &made).await.id().to_owned();
        let challenge = super::challenge();
        let request = |more: (&str, &str)| {
            let pairs = [("response_type", "code"), ("client_id", &*client), ("redirect_uri", super::REDIRECT), more];
            let pkce = [("code_challenge", &*challenge), ("code_challenge_method", "S256"), ("scope", "openid")];
            format!("/oauth/authorize?{}", form(&[&pairs[..], &pkce].concat()))
        };
        for more in [("prompt", "login"), ("max_age", "60")] {
            for name in ["provider", "passkey"] {
                app.world.advance(120_000);
                let asks = async |session: &str, path: &str| app.anyone().header("cookie", session).get(path).await;
                let sent = asks(&first, &request(more)).await;
                let query = location(&sent).strip_prefix("/oauth/sign-in?").unwrap();
                let (_, return_to) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to").unwrap();
                // The session from before is not enough, and the page is no way around it.
                assert!(location(&asks(&first, &return_to).await).starts_with("/oauth/sign-in?"), "{more:?}");
                app.world.advance(30_000);
                let session = let_in(&by(name, &return_to).await, &return_to);
                let page = asks(&session, &return_to).await;
                assert_eq!(page.status, StatusCode::OK, "{more:?} {name}: {:#}", page.body);
                let silent = redirected(&asks(&first, &request(("prompt", "none"))).await)["error"].clone();
                assert_eq!(silent, "consent_required", "who does not have to is not asked");
            }
            // Whoever is signed in at the provider is asked there, too.
            for (name, word) in [("id", "login"), ("github", "select_account")] {
                let url = Url::parse(&way(&send(&app, &request(more), &[("provider", name)]).await).url).unwrap();
                assert_eq!(url.query_pairs().find(|(name, _)| name == "prompt").map(|(_, word)| word).as_deref(), Some(word));
            }
        }
        let plain = way(&send(&app, &request(("state", "x")), &[("provider", "id")]).await);
        assert!(!plain.url.contains("prompt="), "{}", plain.url);
    })
    .await;
}
