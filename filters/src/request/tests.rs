//! The tricks by which gateways have been walked around, as tables; and properties over arbitrary bytes.

use http::{Request, Uri};
use proptest::prelude::*;

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

type Headers<'h> = &'h [(&'h str, &'h [u8])];

/// A request of HTTP/1.1 as a server hands it over; `Host: a.example` unless `headers` name one.
fn parts(version: Version, target: &str, headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::builder().version(version);
    request = request.uri(target.parse::<Uri>().unwrap_or_default());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "a.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read<T>(
    version: Version,
    target: &str,
    headers: &[(&str, &[u8])],
    see: impl Fn(&RequestView<'_>) -> T,
) -> Result<T, &'static str> {
    match RequestView::read(&parts(version, target, headers), target.as_bytes(), PEER, &[]) {
        Ok(view) => Ok(see(&view)),
        Err(Reject::Ambiguous(why)) => Err(why),
        Err(other) => panic!("reading refuses only what is ambiguous, not {other:?}"),
    }
}

fn read_path(target: &str) -> Result<String, &'static str> {
    read(Version::HTTP_11, target, &[], |view| view.path().to_owned())
}

fn read_headers(headers: &[(&str, &[u8])]) -> Result<(), &'static str> {
    read(Version::HTTP_11, "/", headers, |_| ())
}

#[test]
fn a_path_has_one_spelling() {
    for (sent, read) in [
        ("/", "/"),
        ("/orders/17", "/orders/17"),
        ("/orders/", "/orders/"),
        ("/%6frders/%7Ejoe", "/orders/~joe"),
        ("/a%3ab%2d", "/a%3Ab-"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/100%25", "/100%25"),
        ("/a%2520b", "/a%2520b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a..b/.c.", "/a..b/.c."),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a/;v=1", "/a/;v=1"),
        ("/a/%3bv=1", "/a/%3Bv=1"),
        ("/50%25de", "/50%25de"),
        ("/{id}|[1]", "/%7Bid%7D%7C%5B1%5D"),
        ("http://a.example/x?y", "/x"),
        ("HTTP://a.example", "/"),
    ] {
        assert_eq!(read_path(sent).as_deref(), Ok(read), "{sent}");
    }
}

#[test]
fn a_path_that_two_servers_read_differently_is_refused() {
    for (sent, why) in [
        ("/a/../admin", "dot segment"),
        ("/a/..", "dot segment"),
        ("/./a", "dot segment"),
        ("/a/.", "dot segment"),
        ("/a/%2e%2e/admin", "dot segment"),
        ("/a/.%2E/admin", "dot segment"),
        ("/a/..;/admin", "dot segment"),
        ("/a/..;x=1", "dot segment"),
        ("/a/%2e%2e%3bx/admin", "dot segment"),
        ("//admin", "empty path segment"),
        ("/;x/admin", "empty path segment"),
        ("/a/;/admin", "empty path segment"),
        ("/a/%3bx/admin", "empty path segment"),
        ("/%61/;x/admin", "empty path segment"),
        ("/a//admin", "empty path segment"),
        ("/%61//admin", "empty path segment"),
        ("/a%2fadmin", "encoded path separator"),
        ("/a%2Fadmin", "encoded path separator"),
        ("/a%5c..%5cadmin", "encoded path separator"),
        ("/a\\..\\admin", "raw byte that a path may not hold"),
        ("/a%00.json", "encoded control character"),
        ("/a%0d%0aX-Evil:1", "encoded control character"),
        ("/a%7f", "encoded control character"),
        ("/a\u{1}", "raw byte that a path may not hold"),
        ("/caf\u{e9}", "raw byte that a path may not hold"),
        ("/a b", "raw byte that a path may not hold"),
        ("/admin#/public", "raw byte that a path may not hold"),
        ("/a%", "broken percent escape"),
        ("/a%2", "broken percent escape"),
        ("/a%zz", "broken percent escape"),
        ("/a%+f", "broken percent escape"),
        ("/%u002e", "broken percent escape"),
        ("/%252e%252e/admin", "escape of an escape"),
        ("/%25252e%25252e/admin", "escape of an escape"),
        ("/%25%32%65/admin", "escape of an escape"),
        ("/a%252fadmin", "escape of an escape"),
        ("/a%255cadmin", "escape of an escape"),
        ("/a%2500", "escape of an escape"),
        ("/%2561dmin", "escape of an escape"),
        ("/%252561dmin", "escape of an escape"),
        ("/admin%253bx", "escape of an escape"),
        ("/%c0%ae%c0%ae/admin", "escapes that are not UTF-8"),
        ("/a%c0%afadmin", "escapes that are not UTF-8"),
        ("/a%e0%80%afadmin", "escapes that are not UTF-8"),
        ("/a%ff", "escapes that are not UTF-8"),
        ("*", "the target is not a path"),
        ("a.example:443", "the target is not a path"),
        ("ftp://a.example/", "the target is not a path"),
        ("http://a.example?x", "the target is not a path"),
        ("", "the target is not a path"),
    ] {
        assert_eq!(read_path(sent), Err(why), "{sent}");
    }
}

#[test]
fn a_query_is_passed_on_as_it_was_sent_or_refused() {
    let query = |target: &str| read(Version::HTTP_11, target, &[], |view| view.query().map(str::to_owned));
    assert_eq!(query("/a?b=/../c&%zz={1}?"), Ok(Some("b=/../c&%zz={1}?".to_owned())));
    assert_eq!(query("/a?"), Ok(Some(String::new())));
    assert_eq!(query("/a"), Ok(None));
    for bad in ["/a?\"", "/a?<b", "/a?b>", "/a?b\u{e9}", "/a?b c", "/a?b#c", "/a?\u{7f}"] {
        assert_eq!(query(bad), Err("raw byte that a query may not hold"), "{bad}");
    }
}

#[test]
fn a_host_is_a_lower_case_name_without_port_or_trailing_dot() {
    let host = |value: &str| read(Version::HTTP_11, "/", &[("host", value.as_bytes())], |view| view.host().to_owned());
    for (sent, read) in [
        ("API.Example.com", "api.example.com"),
        ("api.example.com:8080", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("API.example.com.:80", "api.example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("", ""),
    ] {
        assert_eq!(host(sent).as_deref(), Ok(read), "{sent}");
    }
    for bad in [
        "a.example, b.example",
        "a.example:",
        "a.example:80:80",
        "a.example:65536",
        "a.example:099999",
        "a.example..",
        "a..example",
        ".a.example",
        ".",
        "..",
        "a.example:http",
        "a@b",
        "a/b",
        "a b",
        "[::1",
        "[::1]x",
        "ä",
        "%61",
    ] {
        assert_eq!(host(bad), Err("Host that is not a name or address with a port"), "{bad}");
    }
}

#[test]
fn host_and_authority_must_say_the_same_once() {
    let read = |version, target, headers: &[(&str, &[u8])]| read(version, target, headers, |view| view.host().to_owned());
    let differs = Err("Host is not the target's authority");
    assert_eq!(read(Version::HTTP_11, "http://a.example/", &[("host", b"A.example.")]), Ok("a.example".to_owned()));
    assert_eq!(read(Version::HTTP_11, "http://b.example/", &[]), differs);
    assert_eq!(read(Version::HTTP_11, "http://a.example:81/", &[("host", b"a.example:80")]), differs);
    assert_eq!(read_headers(&[("host", b"a"), ("host", b"b")]), Err("repeated Host header"));
    let long = "a".repeat(256);
    let refused = Err("Host that is not a name or address with a port");
    assert_eq!((read_headers(&[("host", &long.as_bytes()[1..])]), read_headers(&[("host", long.as_bytes())])), (Ok(()), refused));
    assert_eq!(read_headers(&[("host", b"a"), ("Host", b"a")]), Err("repeated Host header"));
}

#[test]
fn only_http_1_0_may_leave_the_host_out() {
    for (version, ok) in [(Version::HTTP_10, true), (Version::HTTP_11, false), (Version::HTTP_2, false)] {
        let mut parts = parts(version, "/", &[]);
        parts.headers.clear();
        assert_eq!(RequestView::read(&parts, b"/", PEER, &[]).is_ok(), ok, "{version:?}");
        let whole = RequestView::read(&parts, b"http://a.example/", PEER, &[]);
        assert_eq!(whole.is_ok(), version != Version::HTTP_11, "{version:?}, named by the target");
    }
    let mut parts = parts(Version::HTTP_2, "https://A.example/x", &[]);
    parts.headers.clear();
    assert_eq!(RequestView::read(&parts, b"/x", PEER, &[]).unwrap().host(), "a.example", "an :authority is a host");
}

#[test]
fn where_a_body_ends_is_said_once() {
    let fine: [Headers<'_>; 5] = [
        &[("content-length", b"17")],
        &[("content-length", b"0")],
        &[("content-length", b"1"), ("expect", b"100-Continue")],
        &[("transfer-encoding", b"chunked")],
        &[("transfer-encoding", b"Chunked")],
    ];
    for headers in fine {
        assert_eq!(read_headers(headers), Ok(()));
    }
    let refused: [(Headers<'_>, &str); 22] = [
        (&[("content-length", b"1"), ("transfer-encoding", b"chunked")], "Content-Length together with Transfer-Encoding"),
        (&[("content-length", b"1"), ("content-length", b"2")], "repeated Content-Length header"),
        (&[("content-length", b"1"), ("Content-Length", b"1")], "repeated Content-Length header"),
        (&[("content-length", b"1, 1")], "Content-Length that is not one number"),
        (&[("content-length", b"+1")], "Content-Length that is not one number"),
        (&[("content-length", b"0x1")], "Content-Length that begins with a zero"),
        (&[("content-length", b"017")], "Content-Length that begins with a zero"),
        (&[("content-length", b"1000000000000000000")], "Content-Length that is not one number"),
        (&[("expect", b"100-continue"), ("expect", b"100-continue")], "repeated Expect header"),
        (&[("content-length", b"1"), ("expect", b"y 100-continue")], "Expect other than 100-continue"),
        (&[("content-length", b"1 ")], "Content-Length that is not one number"),
        (&[("content-length", b"")], "Content-Length that is not one number"),
        (&[("transfer-encoding", b"gzip, chunked")], "Transfer-Encoding other than chunked"),
        (&[("transfer-encoding", b"chunked, chunked")], "Transfer-Encoding other than chunked"),
        (&[("transfer-encoding", b"identity")], "Transfer-Encoding other than chunked"),
        (&[("transfer-encoding", b"xchunked")], "Transfer-Encoding other than chunked"),
        (&[("transfer-encoding", b"\tchunked")], "Transfer-Encoding other than chunked"),
        (&[("transfer-encoding", b"chunked"), ("transfer-encoding", b"identity")], "repeated Transfer-Encoding header"),
        (&[("content_length", b"1")], "framing header in another spelling"),
        (&[("Transfer.Encoding", b"chunked")], "framing header in another spelling"),
        (&[("transfer_encoding", b"chunked"), ("content-length", b"1")], "framing header in another spelling"),
        (
            &[("connection", b"close, Content-Length"), ("content-length", b"1")],
            "Connection nominates a header that the request depends on",
        ),
    ];
    for (headers, why) in refused {
        assert_eq!(read_headers(headers), Err(why), "{headers:?}");
    }
    let old = read(Version::HTTP_10, "/", &[("transfer-encoding", b"chunked")], |_| ());
    assert_eq!(old, Err("Transfer-Encoding in a version that has none"));
}

#[test]
fn a_method_longer_than_any_is_refused() {
    let read = |length: usize| {
        let mut parts = parts(Version::HTTP_11, "/", &[]);
        parts.method = Method::from_bytes("M".repeat(length).as_bytes()).unwrap();
        RequestView::read(&parts, b"/", PEER, &[]).is_ok()
    };
    assert_eq!((read(METHOD_BYTES_MAX), read(METHOD_BYTES_MAX + 1)), (true, false));
}

#[test]
fn a_credential_is_said_once() {
    let key = |headers: &[(&str, &[u8])]| {
        read(Version::HTTP_11, "/", headers, |view| match view.credential() {
            Credential::None | Credential::Other => None,
            Credential::Key(key) | Credential::Token(key) | Credential::Bound(key) => Some(key.to_vec()),
        })
    };
    let k: Result<_, &str> = Ok(Some(b"k".to_vec()));
    assert_eq!(key(&[]), Ok(None));
    assert_eq!(key(&[("authorization", b"Bearer k")]), k);
    assert_eq!(key(&[("authorization", b"bearer   k ")]), k);
    assert_eq!(key(&[("X-API-Key", b" k")]), k);
    assert_eq!(key(&[("authorization", b"Bearer k"), ("x-api-key", b"k")]), k);
    assert_eq!(key(&[("authorization", b"Basic eDp5"), ("x-api-key", b"k")]), k);
    assert_eq!(key(&[("authorization", b"Basic eDp5")]), Ok(None));
    assert_eq!(key(&[("authorization", b"Bearerk")]), Ok(None));
    assert_eq!(key(&[("x_api_key", b"k")]), Ok(None), "another spelling is nobody's credential");
    assert_eq!(key(&[("authorization", b"Bearer")]), Ok(Some(Vec::new())));
    let bound = read(Version::HTTP_11, "/", &[("authorization", b"dpop a.b.c")], |view| {
        matches!(view.credential(), Credential::Bound(b"a.b.c"))
    });
    assert_eq!(bound, Ok(true));
    for (headers, why) in [
        ([("authorization", b"DPoP k".as_slice()), ("x-api-key", b"k".as_slice())], "two different credentials"),
        ([("authorization", b"Bearer k".as_slice()), ("x-api-key", b"j".as_slice())], "two different credentials"),
        ([("authorization", b"Bearer k"), ("authorization", b"Bearer k")], "repeated Authorization header"),
        ([("x-api-key", b"k"), ("x-api-key", b"k")], "repeated X-API-Key header"),
        ([("x-api-key", b"k"), ("connection", b"X_Api-Key")], "Connection nominates a header that the request depends on"),
        (
            [("authorization", b"Bearer k"), ("connection", b"keep-alive,authorization")],
            "Connection nominates a header that the request depends on",
        ),
    ] {
        assert_eq!(key(&headers), Err(why), "{headers:?}");
    }
}

#[test]
fn a_credential_does_not_print_itself() {
    let shown = read(Version::HTTP_11, "/", &[("x-api-key", b"secret")], |view| format!("{view:?}")).unwrap();
    assert!(shown.contains("Key(…)") && !shown.contains("secret"), "{shown}");
}

fn asks_for_upgrade(view: &RequestView<'_>) -> bool {
    view.is_upgrade()
}

#[test]
fn only_a_websocket_is_an_upgrade_and_every_other_asks_like_an_ordinary_request() {
    let upgrade = |headers: &[(&str, &[u8])]| read(Version::HTTP_11, "/", headers, asks_for_upgrade);
    assert_eq!(upgrade(&[("connection", b"Upgrade"), ("upgrade", b"WebSocket")]), Ok(true));
    assert_eq!(upgrade(&[("connection", b"keep-alive, upgrade"), ("upgrade", b"websocket")]), Ok(true));
    assert_eq!(upgrade(&[("upgrade", b"websocket")]), Ok(false));
    assert_eq!(upgrade(&[("upgrade", b"x")]), Ok(false));
    assert_eq!(upgrade(&[("connection", b"upgrade"), ("upgrade", b"h2c")]), Ok(false));
    assert_eq!(upgrade(&[("connection", b"upgrade"), ("upgrade", b"websocket"), ("content-length", b"1")]), Ok(false));
    let old = read(Version::HTTP_10, "/", &[("connection", b"upgrade"), ("upgrade", b"websocket")], asks_for_upgrade);
    assert_eq!(old, Ok(false));
}

#[test]
fn an_address_is_believed_only_as_far_as_trusted_proxies_vouch_for_it() {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let address = |peer: &str, forwarded: &[&[u8]]| {
        let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        let parts = parts(Version::HTTP_11, "/", &headers);
        RequestView::read(&parts, b"/", peer.parse().unwrap(), &trusted).unwrap().address().to_string()
    };
    for (peer, forwarded, seen) in [
        ("192.0.2.1", &[b"1.1.1.1".as_slice()] as &[&[u8]], "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[b"1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b"1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &[b"1.1.1.1", b"203.0.113.7", b"10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &[b"1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", &[b"203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", &[b"[2001:db9::1]:4711"], "2001:db9::1"),
        ("10.0.0.1", &[b"2001:db9::1, [2001:db8::9]"], "2001:db9::1"),
        ("::ffff:10.0.0.1", &[b"::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[b""], "10.0.0.1"),
    ] {
        assert_eq!(address(peer, forwarded), seen, "{peer} {forwarded:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(
        target in proptest::collection::vec(any::<u8>(), 0..60),
        headers in proptest::collection::vec((0..8_usize, proptest::collection::vec(any::<u8>(), 0..30)), 0..6),
    ) {
        const NAMES: [&str; 8] =
            ["host", "connection", "authorization", "x-api-key", "x-forwarded-for", "content-length", "transfer-encoding", "upgrade"];
        let mut parts = parts(Version::HTTP_11, "/", &[]);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                parts.headers.append(NAMES[name], value);
            }
        }
        let _ = RequestView::read(&parts, &target, "10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()]);
    }

    #[test]
    fn a_path_that_was_read_is_read_again_as_itself(raw in "/[a-z./%;{0-9A-F\u{e9}]{0,24}") {
        if let Ok(path) = path::normalise(raw.as_bytes()) {
            let again = path::normalise(path.as_bytes());
            prop_assert_eq!(again.as_deref(), Ok(&*path));
            prop_assert!(path.is_ascii() && !path.contains("//") && !path.contains("/../") && !path.contains("/./"));
        }
    }

    #[test]
    fn a_path_of_escapes_is_read_again_as_itself(raw in "/(%[2-7cCeEaA][0-9a-fA-F]|%25|[a-z.;/]){0,12}") {
        if let Ok(path) = path::normalise(raw.as_bytes()) {
            let again = path::normalise(path.as_bytes());
            prop_assert_eq!(again.as_deref(), Ok(&*path));
        }
    }

    #[test]
    fn an_ordinary_path_is_borrowed(raw in "(/[a-zA-Z0-9_~-]{1,8}){1,6}") {
        prop_assert!(matches!(path::normalise(raw.as_bytes()), Ok(Cow::Borrowed(_))));
    }
}

#[test]
fn a_token_is_told_from_a_key_by_its_form_and_another_scheme_from_nothing() {
    let kind = |headers: &[(&str, &[u8])]| read(Version::HTTP_11, "/", headers, |view| format!("{:?}", view.credential()));
    let is = |kind: &str| Ok::<_, &str>(kind.to_owned());
    assert_eq!(kind(&[("authorization", b"Bearer a.b.c")]), is("Token(…)"));
    assert_eq!(kind(&[("x-api-key", b"a.b.c")]), is("Key(…)"), "a token is a bearer's");
    assert_eq!(kind(&[("authorization", b"Bearer a.b.c.d.e")]), is("Key(…)"), "an encrypted one is none of ours");
    assert_eq!(kind(&[("authorization", b"Basic eDp5")]), is("Other"));
    assert_eq!(kind(&[("authorization", b"")]), is("Other"));
    assert_eq!(kind(&[]), is("None"));
    assert_eq!(kind(&[("authorization", b"Bearer a.b.c"), ("x-api-key", b"k")]), Err("two different credentials"));
}
