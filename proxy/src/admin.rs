//! The operator's listener: `/metrics`, `/health/live`, `/health/ready`. Unauthenticated, so it
//! belongs on a loopback or private address; it says nothing about any account.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// What the listener asks the process.
pub(crate) trait Vitals: Send + Sync + 'static {
    fn metrics(&self) -> String;
    /// Why requests should not be sent here, if they should not.
    fn unready(&self) -> Option<&'static str>;
}

/// Serves until dropped.
pub(crate) async fn serve<V: Vitals>(listener: TcpListener, vitals: Arc<V>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!(error = %e, "metrics listener cannot accept");
                // Out of descriptors: trying again at once would spin.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let vitals = vitals.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), vitals.as_ref());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "metrics connection broke off");
            }
        });
    }
}

fn answer(method: &Method, path: &str, vitals: &dyn Vitals) -> Response<Full<bytes::Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    }
    match path {
        "/metrics" => {
            let mut response = text(StatusCode::OK, vitals.metrics());
            let kind = header::HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
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

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Full<bytes::Bytes>> {
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

        fn unready(&self) -> Option<&'static str> {
            Some("draining")
        }
    }

    #[test]
    fn a_draining_proxy_is_alive_and_not_ready() {
        let status = |path| answer(&Method::GET, path, &Draining).status().as_u16();
        assert_eq!((status("/health/live"), status("/health/ready"), status("/metrics"), status("/")), (200, 503, 200, 404));
        assert_eq!(answer(&Method::POST, "/metrics", &Draining).status(), 405);
    }
}
