//! Three HTTP stacks that nobody here wrote, each answering with what it makes of a request.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::script::{NODE, PYTHON, Script};

/// A request as a stack has read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Echo {
    pub(super) stack: String,
    pub(super) method: String,
    /// The Host header.
    pub(super) host: String,
    /// As received.
    pub(super) target: String,
    /// As the stack's usual interface gives it.
    pub(super) path: String,
    /// With its escapes resolved; none where they are not UTF-8.
    pub(super) decoded: Option<String>,
    /// As the stack's usual interface gives it; empty where there is none.
    pub(super) query: String,
    pub(super) request_id: String,
}

/// Names of the stacks, in the order in which they are asked.
pub(super) const NAMES: [&str; 3] = ["hyper", "node", "python"];

/// All three, listening until this is dropped.
#[derive(Debug)]
pub(super) struct Stacks {
    /// By the order of [`NAMES`].
    pub(super) urls: [String; 3],
    _scripts: [Script; 2],
}

impl Stacks {
    pub(super) async fn start() -> Self {
        let (node, node_url) = Script::start(&NODE, "upstreams/node.mjs", &[]);
        let (python, python_url) = Script::start(&PYTHON, "upstreams/python.py", &[]);
        Self { urls: [hyper().await, node_url, python_url], _scripts: [node, python] }
    }
}

async fn hyper() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    url
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let uri = request.uri();
    let echo = Echo {
        stack: "hyper".to_owned(),
        method: request.method().to_string(),
        host: header("host").unwrap_or_default(),
        target: uri.to_string(),
        path: uri.path().to_owned(),
        decoded: decoded(uri.path()),
        query: uri.query().unwrap_or_default().to_owned(),
        request_id: header("x-request-id").unwrap_or_default(),
    };
    Ok(Response::new(Full::new(serde_json::to_vec(&echo).expect("strings are JSON").into())))
}

fn decoded(path: &str) -> Option<String> {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
