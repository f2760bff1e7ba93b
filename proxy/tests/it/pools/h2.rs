//! Upstreams that speak HTTP/2 by prior knowledge, as gRPC servers do, and gRPC's health check.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{ask, fake::Fake, picking::up, rig_of, served_by};
use crate::{client::Answer, rig::eventually};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

/// An HTTP/2 server without TLS: repeats what it was sent, and says how it is.
#[derive(Debug, Clone)]
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU8>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it arrived.
#[derive(Debug)]
struct Seen {
    version: Version,
    authority: String,
    path: String,
    body: Bytes,
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

impl Server {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), status: Arc::new(AtomicU8::new(SERVING)), seen: Arc::default() };
        let served = server.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let served = served.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let served = served.clone();
                            async move { served.answer(request).await }
                        });
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        server
    }

    fn target(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        let path = head.uri.path().to_owned();
        self.seen.lock().unwrap().push(Seen { version: head.version, authority, path, body: body.clone() });
        let message =
            if head.uri.path() == HEALTH { Bytes::from(vec![0, 0, 0, 0, 2, 8, self.status.load(Relaxed)]) } else { body };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
        let answer = Response::builder().header("content-type", "application/grpc");
        Ok(answer.body(StreamBody::new(futures_util::stream::iter(frames)).boxed()).unwrap())
    }

    fn checks(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path == HEALTH).map(|seen| seen.body.clone()).collect()
    }
}

/// A body without its chunks.
fn whole(answer: &Answer) -> Vec<u8> {
    if answer.header("transfer-encoding").is_none() {
        return answer.body.clone();
    }
    let (mut left, mut whole) = (answer.body.as_slice(), Vec::new());
    while let Some(end) = left.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&left[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&left[end + 2..end + 2 + size]);
        left = &left[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

#[test]
fn requests_reach_an_http_2_upstream_whole_and_their_answers_come_back() {
    let server = Server::start();
    let rig = rig_of(&[server.target()], "protocol = \"h2\"");
    let large = "x".repeat(300_000);
    for body in ["", "small", &large] {
        let answer = ask(&rig, "POST", "/p/Service/Method", &["Content-Type: application/grpc", "TE: trailers"], body);
        assert_eq!((answer.status, whole(&answer).len()), (200, body.len()));
    }
    for Seen { version, authority, path, .. } in server.seen.lock().unwrap().iter() {
        assert_eq!((*version, authority.as_str(), path.as_str()), (Version::HTTP_2, "api.example.com", "/p/Service/Method"));
    }
}

#[test]
fn many_requests_at_once_share_connections_and_are_not_mixed_up() {
    let server = Server::start();
    let rig = rig_of(&[server.target()], "protocol = \"h2\"");
    thread::scope(|scope| {
        for n in 0..8 {
            let rig = &rig;
            scope.spawn(move || {
                for m in 0..20 {
                    let body = format!("{n}-{m}");
                    assert_eq!(whole(&ask(rig, "POST", "/p/a", &[], &body)), body.as_bytes());
                }
            });
        }
    });
}

#[test]
fn a_grpc_check_asks_for_its_service_and_follows_what_it_says() {
    let (one, two) = (Server::start(), Server::start());
    let words = "protocol = \"h2\"\n\
        health = { kind = \"grpc\", service = \"orders.v1\", interval = \"20ms\", healthy = 1, unhealthy = 2 }";
    let rig = rig_of(&[one.target(), two.target()], words);
    eventually("checks", || (one.checks().len() > 2 && two.checks().len() > 2).then_some(()));
    assert_eq!(one.checks()[0], Bytes::from_static(b"\0\0\0\0\x0b\x0a\x09orders.v1"));
    two.status.store(NOT_SERVING, Relaxed);
    eventually("two to be out", || (up(&rig) == 1).then_some(()));
    two.status.store(SERVING, Relaxed);
    eventually("two to be back", || (up(&rig) == 2).then_some(()));
}

#[test]
fn a_grpc_check_of_what_does_not_speak_http_2_fails() {
    let (server, plain) = (Server::start(), Fake::start("plain"));
    let words = "health = { kind = \"grpc\", interval = \"20ms\", timeout = \"200ms\", unhealthy = 1 }";
    let rig = rig_of(&[server.target(), plain.target()], words);
    eventually("the plain one to be out", || (up(&rig) == 1).then_some(()));
    let rig = rig_of(&[plain.target()], words);
    eventually("it to be out", || (up(&rig) == 0).then_some(()));
    assert_eq!(served_by(&rig, "/p/a", &[]), "plain", "the only one is asked all the same");
}
