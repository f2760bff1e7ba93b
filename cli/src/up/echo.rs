//! The demo's upstream: answers with what reached it, so that one sees what the gateway adds and takes away.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Fatal;

/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Listens on a free loopback port until the process ends.
pub(super) async fn start() -> Result<SocketAddr, Fatal> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| Fatal::new(format!("the demo's echo service: {e}")))?;
    let address = listener.local_addr().map_err(|e| Fatal::new(format!("the demo's echo service: {e}")))?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let serve =
                        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(answer));
                    tokio::spawn(async move {
                        // A connection that breaks off is the client's affair.
                        let _ = serve.await;
                    });
                }
                // Out of descriptors, most likely: give others the time to close theirs.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes) else {
        let refused = Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(Full::default());
        return Ok(refused.unwrap_or_default());
    };
    let headers: BTreeMap<&str, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let seen = json!({
        "message": "This is what reached the upstream.",
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let mut text = format!("{seen:#}");
    text.push('\n');
    let answer = Response::builder().header("content-type", "application/json").body(Full::from(text));
    Ok(answer.unwrap_or_default())
}
