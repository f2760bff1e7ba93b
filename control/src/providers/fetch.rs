//! Requests to a provider: over TLS, bounded in time and size and in how many there are at once, and never redirected.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use http::StatusCode;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use tokio::sync::Semaphore;
use url::{Host, Url};

/// Bytes in an answer at most. The largest are documents of keys.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Of one request, with its answer's body.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Requests to one provider at once.
const AT_ONCE: usize = 32;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("too many requests at once")]
    Busy,
    #[error("{0} is not over TLS")]
    Unsafe(String),
    #[error("no answer")]
    Failed(#[source] reqwest::Error),
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

#[derive(Debug)]
pub(super) struct Fetcher {
    client: reqwest::Client,
    /// Whether this machine is asked without TLS, for trying out.
    plain: bool,
    slots: Arc<Semaphore>,
}

impl Fetcher {
    pub(super) fn new(plain: bool, authorities: Option<&[u8]>) -> Result<Self, String> {
        // Reqwest takes the process's provider; that it is there already is no fault.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("clearway");
        if let Some(pem) = authorities {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|why| why.to_string())?;
            builder = builder.tls_certs_only(authorities);
        }
        let client = builder.build().map_err(|why| why.to_string())?;
        Ok(Self { client, plain, slots: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// An address that secrets may be sent to, and browsers.
    pub(super) fn checked(&self, url: &str) -> Result<Url, FetchError> {
        let refused = || FetchError::Unsafe(url.chars().take(200).collect());
        let url = Url::parse(url).map_err(|_| refused())?;
        let here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let fine = url.scheme() == "https" || self.plain && url.scheme() == "http" && here;
        if fine && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(refused()) }
    }

    /// What is there, which must be JSON and a 200.
    pub(super) async fn get(&self, url: &Url, bearer: Option<&str>, accept: &'static str) -> Result<Vec<u8>, FetchError> {
        let mut request = http::Request::get(url.as_str()).header(http::header::ACCEPT, accept);
        if let Some(token) = bearer {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.send(request.body(Vec::new())?).await?;
        if answer.status() == StatusCode::OK { Ok(answer.into_body()) } else { Err(FetchError::Status(answer.status())) }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let _slot = self.slots.try_acquire().map_err(|_| FetchError::Busy)?;
        self.checked(&request.uri().to_string())?;
        let request = reqwest::Request::try_from(request).map_err(FetchError::Failed)?;
        let mut answer = self.client.execute(request).await.map_err(|why| FetchError::Failed(why.without_url()))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|why| FetchError::Failed(why.without_url()))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(http::Response::builder().status(status).body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
