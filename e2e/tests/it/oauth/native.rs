//! Applications in Rust, by the crates `oauth2` and `openidconnect`.

use std::process::Command;

use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl, HttpRequest, HttpResponse,
    IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType},
};
use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

use super::{libraries::Published, say};
use crate::{fleet::word, up::root};

const REDIRECT: &str = "https://app.example/callback";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Somebody at a browser which knows the gateway's certificate, and follows no redirect by itself.
struct Person {
    http: Client,
    issuer: String,
    cookie: String,
}

impl Person {
    async fn sign_in(published: &Published) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = std::fs::read(published.certificate()).expect("the gateway has made it");
        let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        let http = Client::builder().tls_certs_only([certificate]).redirect(reqwest::redirect::Policy::none());
        let http = http.no_proxy().build().expect("a client");
        let ready = &published.up.ready;
        let login = json!({"email": word(ready, "admin_email"), "password": word(ready, "admin_password"), "cookie": true});
        let answer = http.post(format!("{}/api/v1/auth/login", published.issuer)).json(&login).send().await.expect("an answer");
        let cookies = answer.headers().get_all(header::SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let cookie = cookies.filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ");
        Self { http, issuer: published.issuer.clone(), cookie }
    }

    /// Opens a page that asks, and sends its form with a yes.
    async fn decides(&self, url: &str) -> reqwest::Response {
        let page = self.http.get(url).header(header::COOKIE, &self.cookie).send().await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
        let page = page.text().await.expect("a page");
        let fields = page.split("<input type=\"hidden\" name=\"").skip(1).map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"").expect("a value");
            (name, rest.split_once('"').expect("an end").0.replace("&amp;", "&"))
        });
        let form: Vec<(&str, String)> = fields.chain([("decision", "allow".to_owned())]).collect();
        let at = url.split('?').next().expect("a path");
        let body = self.http.post(at).header(header::COOKIE, &self.cookie).header(header::ORIGIN, &self.issuer);
        let encoded = reqwest::Url::parse_with_params("x:/", &form).expect("a query");
        let body = body.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        body.body(encoded.query().expect("a query").to_owned()).send().await.expect("an answer")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crate_oauth2_takes_every_answer() {
    let published = Published::start();
    let person = Person::sign_in(&published).await;
    let at = |path: &str| format!("{}{path}", published.issuer);
    let app = json!({"name": "By oauth2", "redirect_uris": [REDIRECT], "scopes": ["read:keys"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials", DEVICE]});
    let made = person.http.post(at("/api/v1/oauth/clients")).bearer_auth(word(&published.up.ready, "admin_key")).json(&app);
    let made: Value = made.send().await.expect("an answer").json().await.expect("JSON");
    let metadata: Value = person
        .http
        .get(at("/.well-known/oauth-authorization-server"))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let endpoint = |name: &str| word(&metadata, &format!("{name}_endpoint"));
    let client = BasicClient::new(ClientId::new(word(&made["data"], "client_id")))
        .set_client_secret(ClientSecret::new(word(&made["data"], "client_secret")))
        .set_auth_uri(AuthUrl::new(endpoint("authorization")).expect("a URL"))
        .set_token_uri(TokenUrl::new(endpoint("token")).expect("a URL"))
        .set_revocation_url(RevocationUrl::new(endpoint("revocation")).expect("a URL"))
        .set_introspection_url(IntrospectionUrl::new(endpoint("introspection")).expect("a URL"))
        .set_device_authorization_url(DeviceAuthorizationUrl::new(endpoint("device_authorization")).expect("a URL"))
        .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).expect("a URL"));
    let send = async |request: HttpRequest| -> Result<HttpResponse, reqwest::Error> {
        let answer = person.http.execute(reqwest::Request::try_from(request)?).await?;
        let mut response = HttpResponse::new(Vec::new());
        (*response.status_mut(), *response.headers_mut()) = (answer.status(), answer.headers().clone());
        *response.body_mut() = answer.bytes().await?.into();
        Ok(response)
    };
    let http = |request| Box::pin(send(request));

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let asked = client.authorize_url(CsrfToken::new_random).add_scope(Scope::new("read:keys".into()));
    let (url, state) = asked.set_pkce_challenge(challenge).url();
    let back = person.decides(url.as_str()).await;
    let location = back.headers()[header::LOCATION].to_str().expect("an address").parse::<reqwest::Url>().expect("an address");
    let said = |name: &str| location.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned());
    assert_eq!((said("state").as_deref(), said("iss")), (Some(state.secret().as_str()), Some(published.issuer.clone())));
    let code = AuthorizationCode::new(said("code").expect("a code"));
    let tokens = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&http).await.expect("tokens");

    let refresh = tokens.refresh_token().expect("a refresh token");
    let refreshed = client.exchange_refresh_token(refresh).request_async(&http).await.expect("tokens");
    let keys =
        person.http.get(at("/api/v1/keys")).bearer_auth(refreshed.access_token().secret()).send().await.expect("an answer");
    assert_eq!(keys.status(), StatusCode::OK);
    let active = async || client.introspect(refreshed.access_token()).request_async(&http).await.expect("an answer").active();
    assert!(active().await);
    let end = client.revoke_token(refreshed.refresh_token().expect("a refresh token").into()).expect("over TLS");
    end.request_async(&http).await.expect("an answer");
    assert!(!active().await);
    let ended = client.exchange_refresh_token(refresh).request_async(&http).await.expect_err("a refusal");
    let oauth2::RequestTokenError::ServerResponse(refusal) = &ended else { panic!("{ended}") };
    assert_eq!(refusal.error(), &BasicErrorResponseType::InvalidGrant);

    let alone = client.exchange_client_credentials().add_scope(Scope::new("read:keys".into()));
    assert!(alone.request_async(&http).await.expect("tokens").refresh_token().is_none());

    let begun = client.exchange_device_code().add_scope(Scope::new("read:keys".into()));
    let device: StandardDeviceAuthorizationResponse = begun.request_async(&http).await.expect("a code");
    let page = device.verification_uri_complete().expect("an address").secret();
    assert_eq!(person.decides(page).await.status(), StatusCode::OK);
    let given = client.exchange_device_access_token(&device).request_async(&http, tokio::time::sleep, None).await;
    assert!(given.expect("tokens").refresh_token().is_some());
    published.up.stop().await;
}

/// It is a package of its own: what it needs, a second set of verifiers among it, is in nothing that is tested here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crate_openidconnect_signs_somebody_in_and_takes_no_id_token_of_anything_else() {
    let published = Published::start();
    let (package, built) = (root().join("e2e/clients/openidconnect/Cargo.toml"), root().join("target/clients"));
    let mut application = Command::new(env!("CARGO"));
    application.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(package).arg("--target-dir").arg(built);
    let certificate = published.certificate();
    let steps = say(application, &published.up, &published.issuer, &[("CLEARWAY_CA_FILE", &certificate)]);
    let all = json!([
        "discovery",
        "jwks",
        "code",
        "id_token",
        "userinfo",
        "refresh",
        "another nonce",
        "another audience",
        "another issuer",
        "another key"
    ]);
    assert_eq!(steps, all);
    published.up.stop().await;
}
