//! gRPC from end to end: calls over HTTP/2 on both sides, streamed, with trailers, counted once each.

use std::{net::SocketAddr, sync::mpsc, thread};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    rig::{Rig, key},
    upstream::Upstream,
};

/// A service that sends back every message as it comes, and ends with status 0. Says what each call's headers were.
fn service() -> (SocketAddr, mpsc::Receiver<HeaderMap>) {
    let (heads, seen) = mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, heads.clone()));
            }
        });
    });
    (address, seen)
}

async fn serve(stream: TcpStream, heads: mpsc::Sender<HeaderMap>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        heads.send(request.headers().clone()).unwrap();
        tokio::spawn(echo(request.into_body(), respond));
    }
}

async fn echo(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut send = respond.send_response(head, false).unwrap();
    while let Some(Ok(message)) = body.data().await {
        body.flow_control().release_capacity(message.len()).unwrap();
        send.send_data(message, false).unwrap();
    }
    let trailers = [("grpc-status", "0"), ("grpc-message", "done")];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    send.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
}

fn call(authority: &str) -> Request<()> {
    Request::builder()
        .version(Version::HTTP_2)
        .method(Method::POST)
        .uri(format!("http://{authority}/svc/pkg.Service/Call"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", key(1))
        .body(())
        .unwrap()
}

#[test]
fn messages_stream_both_ways_and_the_status_comes_in_trailers() {
    let (address, seen) = service();
    let routes = format!(
        "[[upstreams]]\nname = \"up\"\naddresses = [\"http://{address}\"]\nprotocol = \"h2\"\n\n\
         [[routes]]\nname = \"svc\"\npath = \"/svc\"\nupstream = \"up\"\nauth = \"key\"\n"
    );
    let rig = Rig::start_with(Upstream::start(), &routes, |_| {});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(rig.proxy().gateway()).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let _connection = tokio::spawn(connection);
        for round in 0..3 {
            let mut send = send.clone().ready().await.unwrap();
            let (answer, mut requests) = send.send_request(call("grpc.test:8443"), false).unwrap();
            // The call is open: its head comes back before anything is sent, and each message before the next one.
            let answer = answer.await.unwrap();
            assert_eq!(
                (answer.status(), answer.headers()["content-type"].as_bytes()),
                (StatusCode::OK, &b"application/grpc"[..])
            );
            let mut answers = answer.into_body();
            for n in 0..4 {
                let message = format!("message {n} of {round}");
                requests.send_data(message.clone().into(), n == 3).unwrap();
                let back = answers.data().await.unwrap().unwrap();
                answers.flow_control().release_capacity(back.len()).unwrap();
                assert_eq!(back, message.as_bytes());
            }
            assert!(answers.data().await.is_none());
            let trailers = answers.trailers().await.unwrap().expect("trailers");
            assert_eq!((trailers["grpc-status"].as_bytes(), trailers["grpc-message"].as_bytes()), (&b"0"[..], &b"done"[..]));
        }
    });
    let head = seen.recv().unwrap();
    assert_eq!((head["te"].as_bytes(), head.get("x-api-key")), (&b"trailers"[..], None));
    assert_eq!(head["x-forwarded-host"], "grpc.test:8443");
    assert_eq!(rig.counted(), 3, "each call once, whatever it streams");
    rig.log_until(|lines| lines.len() == 3);
}
