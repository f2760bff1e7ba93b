//! The clients that people use, through a gateway in a process of its own: curl, nghttp, h2load, a gRPC client and a
//! WebSocket client.

use std::process::Command;

use clearway_config::sync::v1::{
    Ack, FromControl, FromProxy, UsageAck, from_control::Message as Down, from_proxy::Message as Up,
};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    upstream::Upstream,
};

mod wire {
    #![expect(clippy::allow_attributes, unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.sync.v1");
}

/// A gateway of one process with these routes, an account's key, and what they belong to.
struct Stand {
    _fleet: Fleet,
    control: Control,
    proxy: Proxy,
    account: String,
    secret: String,
}

impl Stand {
    async fn start(routes: &str) -> Self {
        let fleet = Fleet::new("[sync]\nmode = \"strict\"\n");
        let control = fleet.control();
        let proxy = fleet.proxy("gateway", routes, &control, &control.sync);
        control.attached(1).await;
        let account = control.account("clients", "enterprise").await;
        let (_, secret) = control.key(&account, json!({})).await;
        Self { _fleet: fleet, control, proxy, account, secret }
    }

    fn authority(&self) -> &str {
        self.proxy.url.trim_start_matches("http://")
    }

    /// Waits until control has counted exactly so many requests.
    async fn counted(&self, requests: u64) {
        let path = format!("/api/v1/analytics/usage?account_id={}", self.account);
        eventually("every request to be counted once", async || {
            let usage = self.control.admin(Method::GET, &path, None).await;
            let days = usage["days"].as_array().into_iter().flatten();
            (days.filter_map(|day| day["admitted"].as_u64()).sum::<u64>() == requests).then_some(())
        })
        .await;
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e} (Debian: apt-get install curl nghttp2-client)"));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_and_nghttp_are_answered_over_both_protocols_and_each_request_is_counted_once() {
    let upstream = Upstream::start().await;
    let stand = Stand::start(&upstream.routes()).await;
    let (url, key) = (format!("{}/svc/x", stand.proxy.url), format!("authorization: Bearer {}", stand.secret));
    for protocol in ["--http1.0", "--http1.1", "--http2", "--http2-prior-knowledge"] {
        let answer = run("curl", &["-sS", "-o", "/dev/null", "-w", "%{http_code}", protocol, "-H", &key, &url]);
        assert_eq!(answer, "200", "{protocol}");
    }
    let answer = run("nghttp", &["-v", "--no-dep", "-H", &key, &url]);
    assert!(answer.contains(":status: 200"), "{answer}");
    let refused = run("nghttp", &["-v", "--no-dep", &url]);
    assert!(refused.contains(":status: 401"), "{refused}");
    let load = run("h2load", &["-n", "1000", "-c", "4", "-m", "16", "-H", &key, &url]);
    assert!(load.contains("1000 succeeded, 0 failed, 0 errored") && load.contains("1000 2xx"), "{load}");
    stand.counted(1_005).await;
    assert_eq!(upstream.seen(), 1_005);
}

/// Answers each Ack with its number, and the end with a status of its own.
struct Echo;

#[tonic::async_trait]
impl wire::sync_server::Sync for Echo {
    type AttachStream = ReceiverStream<Result<FromControl, Status>>;

    async fn attach(&self, request: Request<Streaming<FromProxy>>) -> Result<Response<Self::AttachStream>, Status> {
        if request.metadata().get("x-clearway-account-id").is_none() || request.metadata().get("authorization").is_some() {
            return Err(Status::internal("the gateway says who calls, and keeps the credential"));
        }
        let (to, answers) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut calls = request.into_inner();
            while let Some(Ok(FromProxy { message: Some(Up::Ack(Ack { revision, .. })) })) = calls.next().await {
                let answer = FromControl { message: Some(Down::UsageAck(UsageAck { sequence: revision })) };
                if to.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            let _ = to.send(Err(Status::out_of_range("no more"))).await;
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_streams_both_ways_and_is_told_the_status_of_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let service = listener.local_addr().expect("a bound port");
    let server = tonic::transport::Server::builder().add_service(wire::sync_server::SyncServer::new(Echo));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let stand = Stand::start(&format!(
        "[[upstreams]]\nname = \"grpc\"\naddresses = [\"http://{service}\"]\nprotocol = \"h2\"\n\n\
         [[routes]]\nname = \"grpc\"\npath = \"/clearway.sync.v1.Sync\"\nupstream = \"grpc\"\nauth = \"key\"\n"
    ))
    .await;
    let endpoint = tonic::transport::Endpoint::from_shared(stand.proxy.url.clone()).expect("an address");
    let mut client = wire::sync_client::SyncClient::new(endpoint.connect().await.expect("the gateway listens"));

    let (calls, to_send) = mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(to_send));
    let bearer = format!("Bearer {}", stand.secret).parse().expect("a key is ASCII");
    request.metadata_mut().insert("authorization", bearer);
    let mut answers = client.attach(request).await.expect("a stream").into_inner();
    for revision in 1..=3 {
        let call = FromProxy { message: Some(Up::Ack(Ack { revision, ..Ack::default() })) };
        calls.send(call).await.expect("the stream is open");
        let answer = answers.next().await.expect("an answer to each message").expect("a message");
        assert_eq!(answer.message, Some(Down::UsageAck(UsageAck { sequence: revision })));
    }
    drop(calls);
    let end = answers.next().await.expect("an end").expect_err("a status");
    assert_eq!((end.code(), end.message()), (Code::OutOfRange, "no more"));

    let (_calls, to_send) = mpsc::channel(1);
    let mut nothing = client.attach(ReceiverStream::new(to_send)).await.expect("an answer in trailers").into_inner();
    let refused = nothing.next().await.expect("an end").expect_err("a call without a key");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    stand.counted(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_client_talks_through_the_gateway_and_is_counted_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let service = listener.local_addr().expect("a bound port");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.expect("an upgrade");
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let stand = Stand::start(&format!(
        "[[upstreams]]\nname = \"ws\"\naddresses = [\"http://{service}\"]\n\n\
         [[routes]]\nname = \"ws\"\npath = \"/ws\"\nupstream = \"ws\"\nauth = \"key\"\n"
    ))
    .await;
    let request = || format!("ws://{}/ws", stand.authority()).into_client_request().expect("an address");
    let refused = tokio_tungstenite::connect_async(request()).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("a client without a key got in") };
    assert_eq!(answer.status(), 401);

    let mut with_key = request();
    with_key.headers_mut().insert("authorization", format!("Bearer {}", stand.secret).parse().expect("a key is ASCII"));
    let (mut socket, answer) = tokio_tungstenite::connect_async(with_key).await.expect("an upgrade");
    assert!(answer.headers().contains_key("x-request-id"), "{answer:?}");
    for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.expect("an open socket");
        assert_eq!(socket.next().await.expect("an echo").expect("a message"), message);
    }
    socket.send(Message::Ping("are you there".into())).await.expect("an open socket");
    assert_eq!(socket.next().await.expect("an answer").expect("a message"), Message::Pong("are you there".into()));
    socket.close(None).await.expect("an open socket");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))), "the service says goodbye too");
    stand.counted(1).await;
}
