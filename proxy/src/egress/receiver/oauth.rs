//! Access tokens for receivers that ask for them: the client credentials grant (RFC 6749, 4.4).
//!
//! A token is fetched once, however many attempts wait for it, kept until shortly before its end, and fetched anew when
//! the receiver refuses it. The authorization server's URL is its webhook owner's choice as the receiver's is, so it is
//! asked through the same guard, and no redirect of it is followed either.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clearway_config::egress::v1::Failure;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::target::Target;
use crate::egress::{
    post::{self, Poster, failure::Failed},
    reach::Clock,
};
use crate::snapshot::webhooks::Timeouts;

/// Bytes of a token's answer at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a token is taken for good whose server does not say.
const LIFE: Duration = Duration::from_secs(300);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token that ends this soon is fetched anew, or in the last quarter of a shorter life.
const BEFORE_END: Duration = Duration::from_secs(30);
/// For so long those that come after a failure share it: a server that is down is not asked by everybody in turn.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// Who this process is to an authorization server, and the token that it has.
pub(crate) struct OauthClient {
    target: Target,
    /// The form's body, and Authorization where the secret is not in the form.
    form: Bytes,
    authorization: Option<HeaderValue>,
    held: ArcSwapOption<Token>,
    /// Held by whoever fetches; with it the last failure.
    fetching: Mutex<Option<(Instant, String)>>,
}

pub(crate) struct Token {
    value: HeaderValue,
    until: Instant,
}

impl Token {
    /// Of Authorization.
    pub(in crate::egress) fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// What an authorization server answers (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// Some servers write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl OauthClient {
    pub(crate) fn new(target: Target, client_id: &str, secret: &str, scope: Option<&str>, secret_in_body: bool) -> Self {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = scope {
            form.append_pair("scope", scope);
        }
        let mut authorization = None;
        if secret_in_body {
            form.append_pair("client_id", client_id).append_pair("client_secret", secret);
        } else {
            // RFC 6749, 2.3.1: encoded as in a form before they are put together.
            let both = STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret)));
            let mut value = HeaderValue::try_from(format!("Basic {both}")).expect("base64 is visible ASCII");
            value.set_sensitive(true);
            authorization = Some(value);
        }
        Self { target, form: form.finish().into(), authorization, held: ArcSwapOption::empty(), fetching: Mutex::new(None) }
    }

    /// The token that is held, or a new one.
    pub(in crate::egress) async fn token(&self, poster: &Poster, timeouts: Timeouts) -> Result<Arc<Token>, Failed> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let mut failed = self.fetching.lock().await;
        if let Some(token) = self.current() {
            return Ok(token);
        }
        if let Some((at, why)) = &*failed
            && at.elapsed() < FAILED_FOR
        {
            return Err(Failed::new(Failure::Oauth, why.clone()));
        }
        match self.fetch(poster, timeouts).await {
            Ok(token) => {
                let token = Arc::new(token);
                *failed = None;
                self.held.store(Some(token.clone()));
                Ok(token)
            }
            Err(why) => {
                let why = format!("no access token: {why}");
                *failed = Some((Instant::now(), why.clone()));
                Err(Failed::new(Failure::Oauth, why))
            }
        }
    }

    /// The receiver does not take it (any more).
    pub(in crate::egress) fn refused(&self, token: &Arc<Token>) {
        // Another attempt may have fetched its successor already.
        self.held.rcu(|held| held.clone().filter(|held| !Arc::ptr_eq(held, token)));
    }

    /// The last one that was fetched, if it has not been refused.
    pub(in crate::egress) fn held(&self) -> Option<Arc<Token>> {
        self.held.load_full()
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.held().filter(|token| Instant::now() < token.until)
    }

    async fn fetch(&self, poster: &Poster, timeouts: Timeouts) -> Result<Token, String> {
        let asked = Instant::now();
        let answer = poster.egress.exchange(&poster.pool, (&self.target, None), Clock::start(timeouts), || self.request()).await;
        let answer = answer.map_err(|failed| failed.reason)?;
        if answer.head.status != StatusCode::OK {
            return Err(format!("the authorization server answered {}", answer.head.status.as_u16()));
        }
        let body = post::whole(answer.body, ANSWER_BYTES_MAX).await?;
        // What is wrong with it may quote it.
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| "the authorization server's answer is none")?;
        granted.token(asked)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.form.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

impl Granted {
    fn token(self, asked: Instant) -> Result<Token, String> {
        if !self.token_type.eq_ignore_ascii_case("bearer") {
            return Err("the access token is of a type that is not known".to_owned());
        }
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.access_token))
            .map_err(|_| "the access token is none that a header can carry".to_owned())?;
        value.set_sensitive(true);
        let life = match self.expires_in {
            None => LIFE,
            Some(Seconds::Number(seconds)) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            Some(Seconds::Text(text)) => text.parse().map_or(LIFE, Duration::from_secs),
        };
        let life = life.min(LIFE_MAX);
        Ok(Token { value, until: asked + (life - BEFORE_END.min(life / 4)) })
    }
}

impl std::fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthClient").field("target", &self.target.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(json: &str) -> Option<Duration> {
        let asked = Instant::now();
        let granted = serde_json::from_str::<Granted>(json).ok()?;
        Some(granted.token(asked).ok()?.until - asked)
    }

    #[test]
    fn a_token_is_good_until_shortly_before_its_end() {
        for (expires_in, seconds) in [
            ("", 270),
            (r#","expires_in":3600"#, 3570),
            (r#","expires_in":"3600""#, 3570),
            (r#","expires_in":40"#, 30),
            (r#","expires_in":0"#, 0),
            (r#","expires_in":-5"#, 0),
            (r#","expires_in":1e300"#, 0),
        ] {
            let json = format!(r#"{{"access_token":"a","token_type":"Bearer"{expires_in}}}"#);
            assert_eq!(life(&json), Some(Duration::from_secs(seconds)), "{json}");
        }
        assert_eq!(life(r#"{"access_token":"a","token_type":"mac"}"#), None);
        assert_eq!(life(r#"{"access_token":"a\n","token_type":"bearer"}"#), None);
    }

    #[test]
    fn a_client_authenticates_by_header_or_in_the_form() {
        let target = || Target::parse("https://auth.example/token").unwrap();
        let header = OauthClient::new(target(), "a:b", "s p", Some("x y"), false);
        assert_eq!(header.form, "grant_type=client_credentials&scope=x+y");
        let basic = header.authorization.unwrap();
        let text = STANDARD.decode(basic.as_bytes().strip_prefix(b"Basic ").unwrap()).unwrap();
        assert_eq!(text, b"a%3Ab:s+p");
        let form = OauthClient::new(target(), "a", "s", None, true);
        assert!(form.authorization.is_none());
        assert_eq!(form.form, "grant_type=client_credentials&client_id=a&client_secret=s");
    }
}
