//! A new process takes over from the running one, again and again and under load: no request fails, none is
//! counted twice or not at all, and what has been revoked stays revoked. Where the new one cannot, nothing has been.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clearway_filters::quota::Now;
use clearway_proxy::ledger::{Ledger, Opened, Subject};
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    eventually,
    fleet::{Control, Fleet, Process, Proxy},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"strict\"\n[gateway.tls]\nself_signed = true\n";

/// Clients that send as fast as they are answered, and note what went wrong.
#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Load {
    fn note(&self, who: &str, answer: Result<StatusCode, String>) {
        match answer {
            Ok(StatusCode::OK) => drop(self.served.fetch_add(1, Ordering::SeqCst)),
            Ok(StatusCode::TOO_MANY_REQUESTS) => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
            other => self.failures.lock().expect("no client panics").push(format!("{who}: {other:?}")),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    async fn served_more(&self, by: u64) {
        let target = self.served.load(Ordering::SeqCst) + by;
        eventually("requests to be served", async || (self.served.load(Ordering::SeqCst) >= target).then_some(())).await;
    }

    /// By a client that keeps its connection and takes no second chance.
    async fn kept(self, address: String, secret: String) {
        let mut connection = None;
        while !self.stopped() {
            let answer = self.once(&address, &secret, &mut connection).await;
            self.note("kept", answer);
        }
    }

    async fn once(&self, address: &str, secret: &str, connection: &mut Option<TcpStream>) -> Result<StatusCode, String> {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(address).await.map_err(|e| format!("connect: {e}"))?,
        };
        let (status, head) = ask(&mut stream, secret, "").await?;
        if !head.contains("connection: close") {
            *connection = Some(stream);
        }
        Ok(status)
    }

    async fn fresh(self, address: String, secret: String) {
        while !self.stopped() {
            let answer = match TcpStream::connect(&address).await {
                Ok(mut stream) => ask(&mut stream, &secret, "Connection: close\r\n").await.map(|(status, _)| status),
                Err(e) => Err(format!("connect: {e}")),
            };
            self.note("fresh", answer);
        }
    }

    async fn pooled(self, who: &'static str, client: Client, url: String, secret: String) {
        while !self.stopped() {
            let answer = client.get(&url).bearer_auth(&secret).send().await;
            self.note(who, answer.map(|answer| answer.status()).map_err(|e| format!("{e:?}")));
        }
    }
}

/// One request and its whole answer; its head in lower case.
async fn ask(stream: &mut TcpStream, secret: &str, more: &str) -> Result<(StatusCode, String), String> {
    let request = format!("GET /svc/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {secret}\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| format!("write: {e}"))?;
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let body = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = body.ok_or_else(|| format!("no length in {head}"))?;
            if read.len() >= end + 4 + body {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
                return Ok((status, head));
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) => return Err(format!("ended after {} bytes", read.len())),
            Ok(_) => {}
            Err(e) => return Err(format!("read: {e}")),
        }
    }
}

fn client(of: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().timeout(Duration::from_secs(20)).danger_accept_invalid_certs(true);
    of(builder).build().expect("a client")
}

/// The ledger's own counts, read after its process has ended: accounts and keys, each summed.
fn counted(proxy: &Proxy) -> (u64, u64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let now = Now::at(u64::try_from(now).expect("before the year 584 million"));
    let Opened { ledger, interrupted } = Ledger::open(&proxy.dir.join("proxy"), &now).expect("the ledger opens");
    assert!(interrupted.is_empty(), "nothing is left in flight");
    let totals = ledger.totals(1_000);
    let sum = |of_account: bool| {
        let of_kind = totals.iter().filter(|total| matches!(total.subject, Subject::Account(_)) == of_account);
        of_kind.map(|total| total.admitted).sum()
    };
    (sum(true), sum(false))
}

fn sum(rows: &Value) -> u64 {
    rows.as_array().into_iter().flatten().map(|row| row["admitted"].as_u64().expect("a count")).sum()
}

/// Makes keys, sees them accepted, revokes them and sees them refused, over and over. The number of requests served.
async fn revoke_over_and_over(load: Load, control: Arc<Control>, url: String, account: String) -> u64 {
    let (client, url) = (client(|builder| builder), format!("{url}/svc/x"));
    let mut served = 0;
    while !load.stopped() {
        let (id, secret) = control.key(&account, json!({})).await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while status(&client, &url, &secret).await != 200 {
            assert!(Instant::now() < deadline, "a new key is accepted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        served += 1;
        control.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
        assert_eq!(status(&client, &url, &secret).await, 401, "a revoke that was answered holds");
    }
    served
}

async fn status(client: &Client, url: &str, secret: &str) -> u16 {
    client.get(url).bearer_auth(secret).send().await.expect("the gateway answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_follow_each_other_under_load_and_no_request_fails() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let mut proxy =
        fleet.proxy_with("gateway", &upstream.routes(), &control, &control.sync, &[("--gateway-tls-addr", "127.0.0.1:0")]);
    control.attached(1).await;
    let control = Arc::new(control);
    let (url, tls) = (proxy.url.clone(), proxy.encrypted.clone().expect("an encrypted gateway"));
    let address = url.strip_prefix("http://").expect("a plain address").to_owned();
    let key_of = async |plan: &str| {
        let account = control.account(plan, plan).await;
        let secret = control.key(&account, json!({})).await.1;
        (account, secret)
    };
    let ((_, busy), (tight_account, tight), (_, starter)) =
        (key_of("enterprise").await, key_of("tight").await, key_of("starter").await);
    let revoked = control.account("revoked", "enterprise").await;

    let (load, mut clients) = (Load::default(), JoinSet::new());
    for secret in [&busy, &busy, &tight] {
        clients.spawn(load.clone().kept(address.clone(), secret.clone()));
    }
    clients.spawn(load.clone().fresh(address.clone(), busy.clone()));
    let (plain, encrypted) = (format!("{url}/svc/x"), format!("{tls}/svc/x"));
    for (who, client, url) in [
        ("encrypted", client(ClientBuilder::http1_only), &encrypted),
        ("encrypted h2", client(|builder| builder), &encrypted),
        ("h2", client(ClientBuilder::http2_prior_knowledge), &plain),
    ] {
        clients.spawn(load.clone().pooled(who, client, url.clone(), busy.clone()));
    }
    let revoker = tokio::spawn(revoke_over_and_over(load.clone(), control.clone(), url.clone(), revoked));

    // What one process begins and another one's clients outlast.
    let slow: Vec<_> = [&plain, &plain, &encrypted, &encrypted, &plain]
        .into_iter()
        .map(|url| {
            let request = client(|builder| builder).get(url.replace("/x", "/slow/starter")).bearer_auth(&starter);
            tokio::spawn(async move { request.send().await.expect("an answer").status().as_u16() })
        })
        .collect();
    let streamed = client(|builder| builder).get(format!("{url}/svc/stream")).bearer_auth(&busy).send().await.expect("an answer");
    let mut socket = TcpStream::connect(&address).await.expect("the gateway listens");
    let upgrade = format!(
        "GET /svc/socket HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {busy}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    socket.write_all(upgrade.as_bytes()).await.expect("the gateway reads");
    let mut begun = [0; 4096];
    let read = socket.read(&mut begun).await.expect("the gateway answers");
    assert!(begun[..read].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&begun[..read]));
    eventually("the slow requests to arrive", async || (upstream.slow() == 5).then_some(())).await;

    let mut before: Vec<Process> = Vec::new();
    for round in 0_u8..4 {
        load.served_more(150).await;
        before.push(proxy.upgrade(&[]).unwrap_or_else(|log| panic!("upgrade {round} failed: {log}")));
        let mut sixth = TcpStream::connect(&address).await.expect("the gateway listens");
        let (status, _) = ask(&mut sixth, &starter, "").await.expect("an answer");
        assert_eq!(status, 429, "what another process still serves counts");
        socket.write_all(&[round]).await.expect("the socket lives");
        let mut echo = [0];
        socket.read_exact(&mut echo).await.expect("the socket lives");
        assert_eq!(echo, [round]);
    }
    load.served_more(100).await;
    eventually("the tight plan's day to be used up", async || (load.refused.load(Ordering::SeqCst) > 0).then_some(())).await;
    upstream.release_slow();
    for request in slow {
        assert_eq!(request.await.expect("no panic"), 200);
    }
    let mut free = TcpStream::connect(&address).await.expect("the gateway listens");
    let (status, _) = ask(&mut free, &starter, "Connection: close\r\n").await.expect("an answer");
    assert_eq!(status, 200, "what has ended is not counted any more");
    let text = streamed.text().await.expect("the stream goes on to its end");
    assert!(text.ends_with("wordend"), "{text}");
    drop(socket);

    load.stop.store(true, Ordering::SeqCst);
    while clients.join_next().await.is_some() {}
    let of_revoked = revoker.await.expect("a revoke that was answered holds");
    assert_eq!(*load.failures.lock().expect("no client panics"), Vec::<String>::new());
    for mut process in before {
        assert_eq!(process.ended().await, Some(0));
    }
    // The slow ones, the one after them, the stream and the socket.
    let served = load.served.load(Ordering::SeqCst) + of_revoked + 5 + 1 + 2;
    eventually("a day to be reported that has admitted its limit exactly, whoever decided", async || {
        let usage = control.admin(Method::GET, &format!("/api/v1/analytics/usage?account_id={tight_account}"), None).await;
        (sum(&usage["days"]) == 200).then_some(())
    })
    .await;
    proxy.process.signal("TERM");
    assert_eq!(proxy.process.ended().await, Some(0));
    let lines = proxy.admitted_in_access_log();
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "no request is logged twice");
    assert_eq!((lines.len() as u64, counted(&proxy)), (served, (served, served)));
    assert_eq!(upstream.seen(), served, "what is admitted reaches the upstream once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_of_webhooks_find_the_new_process_where_the_old_one_was() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let url = format!("{}/webhooks/wh_0000000000000000000001", proxy.egress);
    let post = async || client(|builder| builder).post(&url).body("{}").send().await.expect("an answer").status().as_u16();
    assert_eq!(post().await, 401);
    let mut resting = TcpStream::connect(url.split('/').nth(2).expect("an address")).await.expect("it listens");
    let mut before = proxy.upgrade(&[]).unwrap_or_else(|log| panic!("upgrade failed: {log}"));
    assert_eq!(resting.read(&mut [0]).await.unwrap_or_default(), 0, "what rests is let go of, not handed on");
    assert_eq!(post().await, 401);
    assert_eq!(before.ended().await, Some(0));
    assert_eq!(post().await, 401);
}

/// How far a process that is not to live comes.
const STAGE: &str = "CLEARWAY_TEST_SUCCESSOR_ENDS";
const SOCKET: &str = "CLEARWAY_TEST_UPGRADE_SOCKET";

/// A packet of the upgrade's protocol: a length, and JSON.
fn packet(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    [&u32::try_from(json.len()).expect("a short message").to_le_bytes()[..], json.as_bytes()].concat()
}

/// Not a test by itself: a new process that dies, or hangs, in the middle of taking over. Ends at once in an ordinary
/// run of the tests.
#[test]
fn a_child_takes_over_as_far_as_it_comes() {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket};
    let (Ok(stage), Some(path)) = (std::env::var(STAGE), std::env::var_os(SOCKET)) else { return };
    let link = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
    connect(&link, &SocketAddrUnix::new(&path).expect("a short path")).expect("a running process");
    let say = |message: Value| assert!(send(&link, &packet(&message), SendFlags::empty()).expect("it listens") > 0);
    let hear = || assert!(recv(&link, &mut [0; 4096][..], RecvFlags::empty()).expect("it speaks").0 > 0);
    say(json!({"message": "hello", "protocol": if stage == "stranger" { 99 } else { 1 }, "version": "test"}));
    hear();
    if matches!(&*stage, "stranger" | "hello") {
        return;
    }
    if stage == "nonsense" {
        return say(json!({"message": "ready"}));
    }
    say(json!({"message": "begin"}));
    if stage == "begin" {
        return;
    }
    hear();
    if stage == "hang" {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_new_process_cannot_the_old_one_goes_on_as_if_nothing_had_been() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let address = proxy.url.strip_prefix("http://").expect("a plain address").to_owned();
    let account = control.account("busy", "enterprise").await;
    let secret = control.key(&account, json!({})).await.1;
    let (load, mut clients) = (Load::default(), JoinSet::new());
    clients.spawn(load.clone().kept(address.clone(), secret.clone()));
    clients.spawn(load.clone().fresh(address.clone(), secret.clone()));
    clients.spawn(load.clone().pooled(
        "h2",
        client(ClientBuilder::http2_prior_knowledge),
        format!("{}/svc/x", proxy.url),
        secret.clone(),
    ));
    load.served_more(50).await;

    let wrong = proxy.dir.join("wrong.toml");
    std::fs::write(&wrong, "[[routes]]\nname = \"x\"\npath = \"/x\"\nupstream = \"none\"\n").expect("a writable directory");
    let why = proxy.upgrade(&["--routes", &wrong.to_string_lossy()]).expect_err("its routes are wrong");
    assert!(why.contains("wrong.toml"), "{why}");
    for stage in ["stranger", "hello", "nonsense", "begin", "handed", "hang"] {
        load.served_more(20).await;
        let mut child = std::process::Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "binary_upgrade::a_child_takes_over_as_far_as_it_comes", "--test-threads=1"])
            .env(STAGE, stage)
            .env(SOCKET, proxy.dir.join("proxy/upgrade.sock"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the child starts");
        let ended = eventually("the new process to end", async || child.try_wait().expect("a child of ours")).await;
        assert!(stage != "hang" || !ended.success(), "one that hangs while requests wait is ended");
    }
    load.served_more(50).await;
    let revoked = control.key(&account, json!({})).await;
    control.attached(1).await;
    assert_eq!(status(&client(|builder| builder), &format!("{}/svc/x", proxy.url), &revoked.1).await, 200);
    let metrics = reqwest::get(format!("{}/metrics", proxy.metrics)).await.expect("metrics").text().await.expect("text");
    assert!(metrics.contains("clearway_upgrades_total{result=\"failed\"} 6"), "{metrics}");

    // And one that can.
    let mut before = proxy.upgrade(&[]).expect("the new process takes over");
    load.served_more(50).await;
    load.stop.store(true, Ordering::SeqCst);
    while clients.join_next().await.is_some() {}
    assert_eq!(*load.failures.lock().expect("no client panics"), Vec::<String>::new());
    assert_eq!(before.ended().await, Some(0));
    proxy.process.signal("TERM");
    assert_eq!(proxy.process.ended().await, Some(0));
    let served = load.served.load(Ordering::SeqCst) + 1;
    assert_eq!((proxy.admitted_in_access_log().len() as u64, counted(&proxy)), (served, (served, served)));
}
