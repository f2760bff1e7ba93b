//! The operator's listener: `/metrics`, `/health/live`, `/health/ready`, `/status` and `/status.json`, and
//! `POST /cache/purge?route=NAME`.
//! Unauthenticated, so it belongs on a loopback or private address; it names keys and accounts by id, and
//! shows nothing that could be used in their stead.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    descriptors::{self, Spares},
    gateway::random,
    metrics::openmetrics,
    status::{self, Page, Status},
};

/// Connections that can be taken when the process has no file descriptors left.
const SPARES: usize = 8;

/// What the listener asks the process.
pub(crate) trait Vitals: Send + Sync + 'static {
    fn metrics(&self) -> String;
    /// The same as OpenMetrics, with exemplars.
    fn open_metrics(&self) -> String;
    /// Gives out nothing any more that is kept of this route; says how many answers that were. `None`: there is none.
    fn purge(&self, route: &str) -> Option<usize>;
    /// Takes a while; never called twice at a time.
    fn status(&self) -> Status;
    /// Why requests should not be sent here, if they should not.
    fn unready(&self) -> Option<&'static str>;
}

/// Serves until dropped.
pub(crate) async fn serve<V: Vitals>(listener: TcpListener, vitals: Arc<V>) {
    // Whoever asks in a flood waits for itself, and not for the threads that keep the ledger.
    let one_at_a_time = Arc::new(Semaphore::new(1));
    let mut spares = Spares::hold(SPARES);
    loop {
        // What a connection was given is had back when it has ended.
        spares.restore();
        let mut accepted = listener.accept().await;
        if accepted.as_ref().is_err_and(descriptors::are_used_up) && spares.let_go() {
            accepted = listener.accept().await;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!(error = %e, "metrics listener cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (vitals, one_at_a_time) = (vitals.clone(), one_at_a_time.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (vitals, one_at_a_time) = (vitals.clone(), one_at_a_time.clone());
                async move {
                    let (method, path) = (request.method(), request.uri().path());
                    if matches!(*method, Method::GET | Method::HEAD) && path == "/status.json" {
                        return Ok(status_document(vitals, &one_at_a_time).await);
                    }
                    if path == "/cache/purge" {
                        return Ok(purge(&request, vitals.as_ref()));
                    }
                    Ok::<_, Infallible>(answer(method, path, request.headers(), vitals.as_ref()))
                }
            });
            let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "metrics connection broke off");
            }
        });
    }
}

type Answer = Response<Full<bytes::Bytes>>;

fn answer(method: &Method, path: &str, headers: &HeaderMap, vitals: &dyn Vitals) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    }
    match path {
        "/metrics" => {
            let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let (kind, body) = match accepted.any(openmetrics::is_accepted) {
                true => (openmetrics::CONTENT_TYPE, vitals.open_metrics()),
                false => ("text/plain; version=0.0.4", vitals.metrics()),
            };
            let mut response = text(StatusCode::OK, body);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
            response
        }
        "/status" => {
            let Page { html, policy } = status::page(random());
            let mut response = text(StatusCode::OK, html);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("visible characters"));
            for_one_reader(headers);
            response
        }
        "/health/live" => text(StatusCode::OK, "ok\n"),
        "/health/ready" => match vitals.unready() {
            None => text(StatusCode::OK, "ok\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn purge<B>(request: &Request<B>, vitals: &dyn Vitals) -> Answer {
    if *request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    }
    // A page in the operator's browser could ask for it too.
    if request.headers().contains_key(header::ORIGIN) {
        return text(StatusCode::FORBIDDEN, "not for pages\n");
    }
    match request.uri().query().and_then(|query| query.strip_prefix("route=")).map(|route| vitals.purge(route)) {
        Some(Some(answers)) => text(StatusCode::OK, format!("{answers}\n")),
        Some(None) => text(StatusCode::NOT_FOUND, "no such route\n"),
        None => text(StatusCode::BAD_REQUEST, "route=NAME is missing\n"),
    }
}

async fn status_document<V: Vitals>(vitals: Arc<V>, one_at_a_time: &Semaphore) -> Answer {
    let _turn = one_at_a_time.acquire().await;
    // It walks the ledger, which is no work for a thread that others wait for.
    let document = tokio::task::spawn_blocking(move || serde_json::to_vec(&vitals.status())).await;
    let Ok(Ok(document)) = document else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be gathered\n");
    };
    let mut response = text(StatusCode::OK, document);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for_one_reader(response.headers_mut());
    response
}

/// Not for caches, and not for the pages of other sites.
fn for_one_reader(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Draining;

    impl Vitals for Draining {
        fn metrics(&self) -> String {
            "up 1\n".into()
        }

        fn open_metrics(&self) -> String {
            "up 1\n# EOF\n".into()
        }

        fn purge(&self, route: &str) -> Option<usize> {
            (route == "orders").then_some(3)
        }

        fn status(&self) -> Status {
            unreachable!("it is asked for elsewhere")
        }

        fn unready(&self) -> Option<&'static str> {
            Some("draining")
        }
    }

    fn asked(path: &str, accept: &'static str) -> Answer {
        let headers = [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
        answer(&Method::GET, path, &headers, &Draining)
    }

    #[test]
    fn a_draining_proxy_is_alive_and_not_ready() {
        let status = |path| asked(path, "*/*").status().as_u16();
        assert_eq!((status("/health/live"), status("/health/ready"), status("/metrics"), status("/")), (200, 503, 200, 404));
        assert_eq!(answer(&Method::POST, "/metrics", &HeaderMap::new(), &Draining).status(), 405);
    }

    #[test]
    fn a_purge_is_a_post_for_a_route_and_not_for_pages() {
        let purged = |method: &str, target: &str, origin: bool| {
            let mut request = Request::builder().method(method).uri(target);
            if origin {
                request = request.header(header::ORIGIN, "https://evil.example");
            }
            purge(&request.body(()).unwrap(), &Draining).status().as_u16()
        };
        assert_eq!(purged("POST", "/cache/purge?route=orders", false), 200);
        assert_eq!(purged("POST", "/cache/purge?route=other", false), 404);
        assert_eq!(purged("POST", "/cache/purge", false), 400);
        assert_eq!(purged("GET", "/cache/purge?route=orders", false), 405);
        assert_eq!(purged("POST", "/cache/purge?route=orders", true), 403);
    }

    #[test]
    fn exemplars_are_for_scrapers_that_can_read_them() {
        let kind = |accept| asked("/metrics", accept).headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        assert_eq!(kind("*/*"), "text/plain; version=0.0.4");
        assert_eq!(kind("application/openmetrics-text;version=1.0.0,text/plain;q=0.3"), openmetrics::CONTENT_TYPE);
    }

    #[test]
    fn the_status_page_is_kept_from_caches_and_frames() {
        let page = asked("/status", "text/html");
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-store");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let again = asked("/status", "text/html");
        assert_ne!(again.headers()[header::CONTENT_SECURITY_POLICY], policy, "a nonce is used once");
    }
}
