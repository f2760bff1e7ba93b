//! Answers compressed for the client that asked.

use std::io::Read as _;

use http::Request;

use crate::{
    client::Answer,
    h2::{connect, runtime},
    rig::Rig,
    routing::rig_with,
};

fn rig() -> Rig {
    rig_with(
        r#"
[[policies]]
name = "compressed"
compression = {}
[[policies]]
name = "changed"
compression = { codings = ["gzip"], size_min = "1B" }
response_json = { remove = ["/secret"] }
[[routes]]
name = "open"
path = "/open"
upstream = "up"
auth = "open"
policies = ["compressed"]
[[routes]]
name = "json"
path = "/json"
upstream = "up"
auth = "open"
policies = ["changed"]
"#,
        None,
    )
}

fn text() -> String {
    "compress me, I am text and there is a lot of me. ".repeat(200)
}

fn script(rig: &Rig, head: &str, body: &str) {
    rig.upstream.script(format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()), false);
}

fn get(rig: &Rig, path: &str, accept: &str) -> Answer {
    rig.ask(crate::rig::get(path, &[&format!("Accept-Encoding: {accept}")]))
}

fn plain(coding: &str, bytes: &[u8]) -> String {
    let mut out = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut out).unwrap(),
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut out).unwrap(),
        other => panic!("{other}"),
    };
    out
}

#[test]
fn each_client_gets_what_it_likes_best_and_the_head_says_so() {
    let rig = rig();
    let head =
        "Content-Type: text/plain\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\nContent-Digest: sha-256=:AAAA:";
    script(&rig, head, &text());
    for (accept, coding) in
        [("gzip", "gzip"), ("br, gzip;q=0.9", "br"), ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0, *", "br")]
    {
        let answer = get(&rig, "/open/scripted", accept);
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some(coding), Some("W/\"v1\"")));
        assert_eq!(
            (answer.header("content-length"), answer.header("accept-ranges"), answer.header("content-digest")),
            (None, None, None)
        );
        let vary: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "vary").map(|(_, v)| v.as_str()).collect();
        assert_eq!(vary, ["Origin", "accept-encoding"]);
        let body = answer.chunks();
        assert!(body.len() < text().len() / 10 && plain(coding, &body) == text(), "{coding}");
    }
    for accept in ["identity", "gzip;q=0", "deflate"] {
        let answer = get(&rig, "/open/scripted", accept);
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, Some("\"v1\"")));
        assert!(
            answer.body == text().as_bytes() && answer.headers.iter().any(|(_, value)| value == "accept-encoding"),
            "{accept}"
        );
    }
}

#[test]
fn what_is_short_compressed_or_not_to_be_changed_stays_as_it_is() {
    let rig = rig();
    let long = text();
    for (head, body) in [
        ("Content-Type: text/plain", "short"),
        ("Content-Type: image/png", long.as_str()),
        ("Content-Type: text/plain\r\nContent-Encoding: gzip", &long),
        ("Content-Type: text/plain\r\nCache-Control: no-transform", &long),
        ("Content-Type: text/event-stream", &long),
    ] {
        script(&rig, head, body);
        let answer = get(&rig, "/open/scripted", "gzip, br, zstd");
        assert!(answer.body == body.as_bytes() && answer.header("vary").is_none(), "{head}");
    }
    rig.upstream.script("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n", false);
    let answer = get(&rig, "/open/scripted", "gzip");
    assert_eq!((answer.status, answer.header("etag"), answer.header("vary")), (304, Some("W/\"v1\""), Some("accept-encoding")));
    rig.upstream.script(
        format!("HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/9\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
        false,
    );
    assert_eq!(get(&rig, "/open/scripted", "gzip").header("content-encoding"), None);
}

#[test]
fn a_head_says_what_a_get_would_and_brings_nothing() {
    let rig = rig();
    rig.upstream
        .script(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text().len()), false);
    let mut client = rig.client();
    client.send(crate::rig::request("HEAD", "/open/scripted", &["Accept-Encoding: gzip"], ""));
    let answer = client.read_head_only();
    assert_eq!((answer.header("content-encoding"), answer.header("content-length")), (Some("gzip"), None));
    client.send(crate::rig::get("/open/x", &[]));
    assert_eq!(client.read().body, b"hello", "the connection goes on");
}

#[test]
fn what_comes_in_pieces_is_sent_on_in_pieces() {
    let rig = rig();
    let piece = text();
    // The end of the answer does not come.
    rig.upstream.script(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{piece}\r\n",
            piece.len()
        ),
        false,
    );
    let mut client = rig.client();
    client.send(crate::rig::get("/open/scripted", &["Accept-Encoding: gzip"]));
    let mut got = Vec::new();
    let mut out = String::new();
    while out.len() < piece.len() {
        got.extend(client.read_bytes(1));
        let Some(at) = got.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        // Not the whole stream: what there is of it is readable.
        let mut chunks = &got[at + 4..];
        let mut body = Vec::new();
        while let Some(line) = chunks.windows(2).position(|w| w == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).unwrap(), 16).unwrap();
            let end = (line + 2 + size).min(chunks.len());
            body.extend_from_slice(&chunks[line + 2..end]);
            chunks = chunks.get(end + 2..).unwrap_or_default();
        }
        out.clear();
        let _ = flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut out);
    }
    assert_eq!(out, piece);
}

#[test]
fn a_changed_body_is_compressed_after_it_was_changed_over_http_2_too() {
    let rig = rig();
    script(&rig, "Content-Type: application/json", &format!(r#"{{"secret":1,"text":"{}"}}"#, text()));
    let expected = format!(r#"{{"text":"{}"}}"#, text());
    let answer = get(&rig, "/json/scripted", "gzip");
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "it was whole before it was sent");
    assert_eq!(plain("gzip", &answer.body), expected);
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let request = Request::get("http://api.example.com/json/scripted").header("accept-encoding", "gzip").body(()).unwrap();
        let (status, headers, body, _) = crate::h2::ask(&send, request).await;
        assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
        assert_eq!(plain("gzip", &body), expected);
    });
}
