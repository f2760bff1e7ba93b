//! Signed requests (RFC 9421), signed here by hand: what the signer and the gateway share is the RFC.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clearway_config::{Limits, sync::v1};
use http::{Request, Version};
use ring::{digest, hmac};

use crate::{
    rig::{Rig, bearer, credential, key_id, request, routes},
    upstream::{Received, Upstream},
};

const SECRET: [u8; 32] = [7; 32];

/// A gateway whose key 2 requires signatures.
fn rig() -> Rig {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let signed = "\n[[routes]]\nname = \"signed\"\npath = \"/signed\"\nupstream = \"up\"\nauth = [\"signature\"]\n";
    let mut rig = Rig::start_with(upstream, &(routes(&address) + signed), |settings| {
        settings.gateway.signatures.body_max = "300KiB".parse().unwrap();
    });
    rig.set_credential(signing(2));
    rig
}

fn signing(n: u8) -> v1::Credential {
    v1::Credential { require_signature: true, signing_secret: SECRET.to_vec(), ..credential(n) }
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// What a signer covers, and how.
struct Signer<'a> {
    method: &'a str,
    path: &'a str,
    body: Option<&'a [u8]>,
    secret: [u8; 32],
    created_s: u64,
    keyid: String,
}

impl<'a> Signer<'a> {
    fn of(method: &'a str, path: &'a str, body: Option<&'a [u8]>) -> Self {
        // A second ahead: what was signed before the gateway started is refused.
        Self { method, path, body, secret: SECRET, created_s: now_s() + 1, keyid: key_id(2).to_string() }
    }

    /// The header lines, without the key.
    fn lines(&self) -> Vec<String> {
        let mut covered = String::from("\"@method\" \"@authority\" \"@path\"");
        let mut base = format!("\"@method\": {}\n\"@authority\": api.example.com\n\"@path\": {}\n", self.method, self.path);
        let mut lines = Vec::new();
        if let Some(body) = self.body {
            let digest = format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, body)));
            covered.push_str(" \"content-digest\"");
            base.push_str(&format!("\"content-digest\": {digest}\n"));
            lines.push(format!("Content-Digest: {digest}"));
        }
        let input = format!("({covered});created={};keyid=\"{}\"", self.created_s, self.keyid);
        base.push_str(&format!("\"@signature-params\": {input}"));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), base.as_bytes());
        lines.push(format!("Signature-Input: sig={input}"));
        lines.push(format!("Signature: sig=:{}:", STANDARD.encode(mac)));
        lines
    }

    /// The whole request, with key 2 and its body behind a length.
    fn request(&self) -> Vec<u8> {
        let mut lines = self.lines();
        lines.push(bearer(2));
        lines.extend(self.body.map(|body| format!("Content-Length: {}", body.len())));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        [request(self.method, self.path, &lines, "").as_bytes(), self.body.unwrap_or_default()].concat()
    }

    /// The same, its body in chunks, behind which a trailer stands.
    fn chunked(&self, body: &[u8]) -> Vec<u8> {
        let mut lines = self.lines();
        lines.extend([bearer(2), "Transfer-Encoding: chunked".into()]);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut bytes = request(self.method, self.path, &lines, "").into_bytes();
        for chunk in body.chunks(30_000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\nX-Trailer: x\r\n\r\n");
        bytes
    }
}

/// What was sent, without its chunks.
fn payload(received: &Received) -> Vec<u8> {
    if received.header("transfer-encoding").is_empty() {
        return received.body.clone();
    }
    let (mut payload, mut rest) = (Vec::new(), received.body.as_slice());
    loop {
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return payload;
        }
        payload.extend_from_slice(&rest[line + 2..][..size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

#[test]
fn a_key_that_requires_signatures_passes_with_one_and_not_without() {
    let rig = rig();
    let without = rig.ask(request("GET", "/svc/a", &[&bearer(2)], ""));
    assert_eq!((without.status, without.error().as_str()), (401, "signature_missing"));
    assert_eq!(rig.counted(), 0);
    assert_eq!(rig.ask(Signer::of("GET", "/svc/a", None).request()).status, 200);
    assert_eq!(rig.counted(), 1);
    let received = rig.upstream.last();
    assert_eq!(received.header("signature-input").len(), 1, "what was signed is what is forwarded");
    assert_eq!(rig.get("/svc/a").status, 200, "other keys need none");
}

#[test]
fn what_is_not_the_signed_request_is_refused_and_costs_nothing() {
    let rig = rig();
    let good = || Signer::of("GET", "/svc/a", None);
    let text = |signer: Signer<'_>| String::from_utf8(signer.request()).unwrap();
    for (bytes, code) in [
        (text(good()).replace("GET /svc/a", "GET /svc/b"), "signature_invalid"),
        (text(good()).replace("GET /svc/a", "GET /svc/a?b"), "signature_malformed"),
        (text(good()).replace("GET /svc/a", "HEAD /svc/a").replace("HEAD", "DELETE"), "signature_invalid"),
        (text(good()).replace("Host: api.example.com", "Host: api.example.org"), "signature_invalid"),
        (text(Signer { secret: [8; 32], ..good() }), "signature_invalid"),
        (text(Signer { created_s: now_s() - 400, ..good() }), "signature_expired"),
        (text(Signer { created_s: now_s() - 10, ..good() }), "signature_expired"),
        (text(Signer { created_s: now_s() + 60, ..good() }), "signature_expired"),
        (text(Signer { keyid: key_id(1).to_string(), ..good() }), "signature_malformed"),
        (text(Signer { keyid: "another".into(), ..good() }), "signature_missing"),
        (text(good()).replace("Signature: sig=:", "Signature: sig="), "signature_malformed"),
    ] {
        let answer = rig.ask(&bytes);
        assert_eq!((answer.status, answer.error().as_str()), (401, code), "{bytes}");
    }
    assert!(rig.upstream.received().is_empty());
    assert_eq!(rig.counted(), 0);
}

#[test]
fn a_signed_request_is_accepted_once() {
    let mut rig = rig();
    let bytes = Signer::of("GET", "/svc/a", None).request();
    assert_eq!(rig.ask(&bytes).status, 200);
    assert_eq!(rig.ask(&bytes).error(), "signature_replayed");
    assert_eq!(rig.counted(), 1);

    rig.set_limits(Limits { per_day: Some(1), ..Limits::UNLIMITED });
    let bytes = Signer::of("GET", "/svc/b", None).request();
    assert_eq!(rig.ask(&bytes).error(), "quota_exceeded");
    rig.set_limits(Limits::UNLIMITED);
    assert_eq!(rig.ask(&bytes).status, 200, "what a limit has refused may be sent again as it is");
}

#[test]
fn a_signed_body_is_forwarded_as_it_came_and_its_connection_goes_on() {
    let rig = rig();
    let mut client = rig.client();
    for bytes in [3, 60_000, 200_000] {
        let body: Vec<u8> = (0..bytes).map(|n: u32| b'a' + u8::try_from(n % 26).unwrap()).collect();
        let path = format!("/svc/{bytes}");
        for chunked in [false, true] {
            let method = if chunked { "PUT" } else { "POST" };
            let signer = Signer::of(method, &path, Some(&body));
            client.send(if chunked { signer.chunked(&body) } else { signer.request() });
            let answer = client.read();
            assert_eq!(answer.status, 200, "{bytes} {chunked} {}", String::from_utf8_lossy(&answer.body));
            assert!(payload(&rig.upstream.last()) == body, "{bytes} {chunked}");
        }
    }
    client.send(request("GET", "/svc/next", &[&bearer(1)], ""));
    assert_eq!(client.read().status, 200);
    assert_eq!(rig.counted(), 7);
}

#[test]
fn another_body_than_was_signed_costs_nothing_and_nothing_of_it_is_forwarded() {
    let rig = rig();
    let body = vec![b'a'; 100_000];
    let mut changed = Signer::of("POST", "/svc/a", Some(&body)).request();
    *changed.last_mut().unwrap() = b'b';
    let answer = rig.ask(&changed);
    assert_eq!((answer.error().as_str(), answer.header("connection")), ("content_digest_mismatch", Some("close")));
    let signer = Signer::of("POST", "/svc/b", Some(&body));
    assert_eq!(rig.ask(signer.chunked(&body[1..])).error(), "content_digest_mismatch");
    let unsigned = Signer::of("POST", "/svc/c", None);
    let lines = [unsigned.lines(), vec![bearer(2), "Content-Length: 1".into()]].concat();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(rig.ask(request("POST", "/svc/c", &lines, "x")).error(), "signature_malformed");
    assert!(rig.upstream.received().is_empty());
    assert_eq!(rig.counted(), 0);
    assert_eq!(rig.ask(signer.request()).status, 200, "the signature was not used up");
}

#[test]
fn a_signed_body_is_bounded_whether_it_says_how_long_it_is_or_not() {
    let rig = rig();
    let body = vec![b'a'; 400_000];
    let signer = Signer::of("POST", "/svc/a", Some(&body));
    for bytes in [signer.request(), signer.chunked(&body)] {
        let mut client = rig.client();
        client.try_send(&bytes);
        let answer = client.read();
        assert_eq!((answer.status, answer.error().as_str()), (413, "body_too_large"));
    }
    assert_eq!(rig.counted(), 0);
}

#[test]
fn a_signed_body_that_waits_to_be_asked_for_is_asked_for() {
    let rig = rig();
    let signer = Signer::of("POST", "/svc/a", Some(b"hello"));
    let lines = [signer.lines(), vec![bearer(2), "Content-Length: 5".into(), "Expect: 100-continue".into()]].concat();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut client = rig.client();
    client.send(request("POST", "/svc/a", &lines, ""));
    assert_eq!(String::from_utf8(client.read_bytes(25)).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.read().status, 200);
    let received = rig.upstream.last();
    assert_eq!((received.body.as_slice(), received.header("expect").len()), (&b"hello"[..], 0));
}

#[test]
fn a_route_may_take_a_signature_in_place_of_the_key() {
    let rig = rig();
    let ask = |signer: Signer<'_>| {
        let lines = signer.lines();
        rig.ask(request("GET", signer.path, &lines.iter().map(String::as_str).collect::<Vec<_>>(), ""))
    };
    assert_eq!(ask(Signer::of("GET", "/signed/a", None)).status, 200);
    assert_eq!(rig.upstream.last().header("x-clearway-key-id"), [key_id(2).to_string()]);
    let other = ask(Signer { secret: [8; 32], ..Signer::of("GET", "/signed/a", None) });
    assert_eq!(other.error(), "signature_invalid");
    let signs_nothing = ask(Signer { keyid: key_id(1).to_string(), ..Signer::of("GET", "/signed/b", None) });
    assert_eq!(signs_nothing.error(), "signature_invalid", "a key that signs nothing looks like one that is not there");
    assert_eq!(rig.ask(request("GET", "/signed/c", &[], "")).error(), "signature_missing");
    assert_eq!(rig.counted(), 1);
}

#[test]
fn a_revoked_or_rotated_key_signs_as_long_as_its_secrets_live() {
    let mut rig = rig();
    let newer = v1::Credential { signing_secret: vec![9; 32], key_id: key_id(2).to_vec(), ..signing(3) };
    rig.set_credential(newer);
    let ask = |rig: &Rig, path: &str, secret| {
        let signer = Signer { secret, ..Signer::of("GET", path, None) };
        let lines = signer.lines();
        rig.ask(request("GET", path, &lines.iter().map(String::as_str).collect::<Vec<_>>(), ""))
    };
    assert_eq!(ask(&rig, "/signed/a", SECRET).status, 200);
    assert_eq!(ask(&rig, "/signed/a", [9; 32]).status, 200);
    rig.set_credential(v1::Credential { revoked: true, ..signing(2) });
    assert_eq!(ask(&rig, "/signed/b", SECRET).error(), "key_revoked");
    rig.set(v1::Changes { removed_credentials: vec![signing(2).hash], ..Default::default() });
    assert_eq!(ask(&rig, "/signed/b", SECRET).error(), "signature_invalid");
    assert_eq!(ask(&rig, "/signed/b", [9; 32]).status, 200);
    rig.set_credential(v1::Credential { require_signature: false, key_id: key_id(2).to_vec(), ..credential(3) });
    assert_eq!(ask(&rig, "/signed/c", [9; 32]).error(), "signature_invalid", "turned off");
    rig.set_credential(v1::Credential { signing_secret: Vec::new(), ..signing(2) });
    assert_eq!(rig.ask(Signer::of("GET", "/svc/d", None).request()).error(), "signature_invalid", "a secret that is lost");
}

#[test]
fn a_signing_secret_that_has_ended_signs_for_no_other_secret_of_its_key() {
    let mut rig = rig();
    rig.set_credential(v1::Credential { signing_secret: vec![9; 32], key_id: key_id(2).to_vec(), ..signing(3) });
    let ask = |rig: &Rig, path: &str, secret| {
        let mut lines = Signer { secret, ..Signer::of("GET", path, None) }.lines();
        lines.push(bearer(3));
        rig.ask(request("GET", path, &lines.iter().map(String::as_str).collect::<Vec<_>>(), ""))
    };
    assert_eq!(ask(&rig, "/svc/a", SECRET).status, 200, "while they overlap, any signs for any");
    for ended in [v1::Credential { revoked: true, ..signing(2) }, v1::Credential { expires_at: Some(1), ..signing(2) }] {
        rig.set_credential(ended);
        assert_eq!(ask(&rig, "/svc/b", SECRET).error(), "signature_invalid");
    }
    assert_eq!(ask(&rig, "/svc/b", [9; 32]).status, 200);
}

#[test]
fn a_signature_does_not_go_with_a_request_that_is_no_longer_the_signed_one() {
    let rig = rig();
    for (bytes, way) in [
        (Signer::of("GET", "/stripped/a", None).request(), "by bytes"),
        (Signer::of("POST", "/stripped/a", Some(b"x")).request(), "by Pingora"),
    ] {
        assert_eq!(rig.ask(bytes).status, 200, "{way}");
        let received = rig.upstream.last();
        assert_eq!(received.target(), "/a");
        assert_eq!((received.header("signature").len(), received.header("signature-input").len()), (0, 0), "{way}");
    }
}

#[test]
fn a_signed_body_may_come_by_http_2() {
    let rig = rig();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = Bytes::from(vec![b'a'; 40_000]);
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(rig.proxy().gateway()).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for (sent, status) in [(body.clone(), 200), (body.slice(1..), 400)] {
            let path = format!("/svc/{status}");
            let mut request = Request::builder().method("POST").version(Version::HTTP_2);
            request = request.uri(format!("http://api.example.com{path}"));
            for line in Signer::of("POST", &path, Some(&body)).lines().into_iter().chain([bearer(2)]) {
                let (name, value) = line.split_once(": ").unwrap();
                request = request.header(name.to_ascii_lowercase(), value);
            }
            let mut send = send.clone().ready().await.unwrap();
            let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
            for (n, piece) in sent.chunks(16_000).enumerate() {
                stream.send_data(sent.slice_ref(piece), (n + 1) * 16_000 >= sent.len()).unwrap();
            }
            assert_eq!(answer.await.unwrap().status(), status);
        }
    });
    assert!(payload(&rig.upstream.last()) == body);
    assert_eq!((rig.upstream.received().len(), rig.counted()), (1, 1));
}
