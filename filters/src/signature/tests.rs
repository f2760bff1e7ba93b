use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;

/// The request of RFC 9421, appendix B.2.
fn headers() -> HeaderMap {
    let fields = [
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"),
        ("content-length", "18"),
    ];
    fields.into_iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        method: &Method::POST,
        scheme: "https",
        authority: "example.com",
        path_and_query: "/foo?param=Value&Pet=dog",
        headers,
    }
}

fn input(text: &str) -> InnerList {
    let mut all = Parser::parse_dictionary(format!("sig={text}").as_bytes()).unwrap();
    let Some(ListEntry::InnerList(input)) = all.shift_remove("sig") else { panic!("{text}") };
    input
}

fn mac(secret: &[u8], base: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(base.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn the_base_and_mac_are_those_of_rfc_9421_appendix_b_2_5() {
    let secret =
        STANDARD.decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==").unwrap();
    let headers = headers();
    let input = input(r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#);
    let base = base::of(&input, &request(&headers)).unwrap();
    assert_eq!(
        base,
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\"content-type\": application/json\n\
         \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
    );
    assert_eq!(STANDARD.encode(mac(&secret, &base)), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

#[test]
fn the_base_is_that_of_rfc_9421_appendix_b_2_3_where_everything_is_covered() {
    let mut headers = headers();
    headers.remove("host");
    let text = "(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \"content-length\")\
                ;created=1618884473;keyid=\"test-key-rsa-pss\"";
    let base = base::of(&input(text), &request(&headers)).unwrap();
    let digest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    assert_eq!(
        base,
        format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\"@query\": ?param=Value&Pet=dog\n\
             \"@authority\": example.com\n\"content-type\": application/json\n\"content-digest\": {digest}\n\
             \"content-length\": 18\n\"@signature-params\": {text}"
        )
    );
}

#[test]
fn a_body_is_the_one_whose_digest_is_sent() {
    let digest = BodyDigest::read(&headers()).unwrap().unwrap();
    assert!(digest.is_of(br#"{"hello": "world"}"#));
    assert!(!digest.is_of(br#"{"hello": "World"}"#));
    let read = |value: &'static str| {
        BodyDigest::read(&[(HeaderName::from_static("content-digest"), HeaderValue::from_static(value))].into_iter().collect())
    };
    // RFC 9530, appendix D: both of the same body, of which one is wrong.
    let both = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, sha-512=:AAAA:";
    assert!(!read(both).unwrap().unwrap().is_of(br#"{"hello": "world"}"#));
    assert!(read("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:").unwrap().unwrap().is_of(br#"{"hello": "world"}"#));
    for refused in ["md5=:AAAA:", "sha-256=AAAA", "sha-256", "sha-256=(:AAAA:)", "=", ""] {
        assert_eq!(read(refused), Err(Refusal::Malformed("Content-Digest")), "{refused}");
    }
    assert_eq!(BodyDigest::read(&HeaderMap::new()), Ok(None));
}

const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8] = &[7; SECRET_BYTES];
const COVERED: &str = "\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\"";

fn key() -> KeyId {
    KeyId::from_bytes([3; 16])
}

/// The request of appendix B.2, signed by a key of ours.
fn signed(covered: &str, parameters: &str) -> HeaderMap {
    let mut headers = headers();
    let text = format!("({covered}){parameters};keyid=\"{}\"", key());
    let signature = base::of(&input(&text), &request(&headers)).map(|base| mac(SECRET, &base)).unwrap_or_default();
    headers.insert("signature-input", format!("ours={text}").parse().unwrap());
    headers.insert("signature", format!("ours=:{}:", STANDARD.encode(signature)).parse().unwrap());
    headers
}

fn verdict(headers: &HeaderMap, request: &Request<'_>) -> Result<(), Refusal> {
    Presented::read(headers)?.ok_or(Refusal::Missing)?.verify(request, Body::Follows, SECRET, NOW_S)
}

fn created(at: u64) -> String {
    format!(";created={at}")
}

#[test]
fn a_request_signed_by_a_key_passes_and_changed_on_the_way_it_does_not() {
    let headers = signed(COVERED, &created(NOW_S));
    let sent = request(&headers);
    assert_eq!(verdict(&headers, &sent), Ok(()));
    assert_eq!(Presented::read(&headers).unwrap().unwrap().key(), key());
    for changed in [
        Request { method: &Method::PUT, ..sent },
        Request { authority: "example.org", ..sent },
        Request { authority: "example.com:8443", ..sent },
        Request { path_and_query: "/foo?param=Value&Pet=cat", ..sent },
        Request { path_and_query: "/foo", ..sent },
        Request { path_and_query: "/Foo?param=Value&Pet=dog", ..sent },
    ] {
        assert_eq!(verdict(&headers, &changed), Err(Refusal::Invalid), "{changed:?}");
    }
    assert_eq!(verdict(&headers, &Request { authority: "EXAMPLE.com:443", ..sent }), Ok(()), "the same authority");
    let mut other_digest = headers.clone();
    other_digest.insert("content-digest", HeaderValue::from_static("sha-256=:AAAA:"));
    assert_eq!(verdict(&other_digest, &request(&other_digest)), Err(Refusal::Invalid));
    let presented = Presented::read(&headers).unwrap().unwrap();
    assert_eq!(presented.verify(&sent, Body::Follows, &[8; SECRET_BYTES], NOW_S), Err(Refusal::Invalid));
}

#[test]
fn a_signature_must_cover_what_decides_the_request() {
    let verdict_of = |covered: &str| {
        let headers = signed(covered, &created(NOW_S));
        verdict(&headers, &request(&headers))
    };
    for good in
        ["\"@method\" \"@target-uri\" \"content-digest\"", "\"@method\" \"@authority\" \"@request-target\" \"content-digest\""]
    {
        assert_eq!(verdict_of(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "\"@authority\" \"@path\" \"@query\" \"content-digest\"",
        "\"@method\" \"@path\" \"@query\" \"content-digest\"",
        "\"@method\" \"@authority\" \"@path\" \"content-digest\"",
        "\"@method\" \"@authority\" \"@path\" \"@query\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"@status\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"x-absent\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"Date\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"date\" \"date\"",
        "\"@method\" \"@target-uri\" \"content-digest\";req",
        "\"@method\";req \"@target-uri\" \"content-digest\"",
    ] {
        assert!(matches!(verdict_of(bad), Err(Refusal::Malformed(_))), "{bad}: {:?}", verdict_of(bad));
    }
}

#[test]
fn a_signature_holds_for_five_minutes_from_its_making() {
    for (parameters, verdict_wanted) in [
        (created(NOW_S - WINDOW_S), Ok(())),
        (created(NOW_S + AHEAD_S), Ok(())),
        (created(NOW_S - WINDOW_S - 1), Err(Refusal::Expired)),
        (created(NOW_S + AHEAD_S + 1), Err(Refusal::Expired)),
        (format!(";created={NOW_S};expires={}", NOW_S + 1), Ok(())),
        (format!(";created={NOW_S};expires={NOW_S}"), Err(Refusal::Expired)),
        (format!(";created={NOW_S};alg=\"hmac-sha256\";nonce=\"n\""), Ok(())),
        (format!(";created={NOW_S};alg=\"rsa-pss-sha512\""), Err(Refusal::Malformed("alg"))),
        (String::new(), Err(Refusal::Malformed("created"))),
        (";created=-1".to_owned(), Err(Refusal::Malformed("created"))),
        (";created=\"now\"".to_owned(), Err(Refusal::Malformed("created"))),
    ] {
        let headers = signed(COVERED, &parameters);
        assert_eq!(verdict(&headers, &request(&headers)), verdict_wanted, "{parameters}");
    }
}

#[test]
fn a_mark_outlives_the_window_in_which_the_signature_would_be_accepted() {
    let headers = signed(COVERED, &created(NOW_S));
    let presented = Presented::read(&headers).unwrap().unwrap();
    let accepted = |now_s| presented.verify(&request(&headers), Body::Follows, SECRET, now_s).is_ok();
    assert!(accepted(presented.refused_from_s() - 1) && !accepted(presented.refused_from_s()));
    let other = signed(COVERED, &format!(";created={NOW_S};nonce=\"other\""));
    assert_ne!(Presented::read(&other).unwrap().unwrap().mark(), presented.mark());
}

#[test]
fn signatures_of_others_are_not_looked_at_and_two_of_ours_are_refused() {
    let mut headers = signed(COVERED, &created(NOW_S));
    let ours = headers["signature-input"].clone();
    headers.append("signature-input", HeaderValue::from_static("theirs=(\"date\");keyid=\"someone\""));
    headers.append("signature", HeaderValue::from_static("theirs=:AAAA:"));
    assert_eq!(verdict(&headers, &request(&headers)), Ok(()));
    headers.append("signature-input", ours.to_str().unwrap().replace("ours=", "again=").parse().unwrap());
    assert_eq!(verdict(&headers, &request(&headers)), Err(Refusal::Malformed("two signatures by keys")));
    headers.remove("signature");
    headers.insert("signature-input", HeaderValue::from_static("theirs=(\"date\");keyid=\"someone\""));
    assert!(Presented::read(&headers).unwrap().is_none());
    headers.insert("signature-input", "x".repeat(FIELD_BYTES_MAX + 1).parse().unwrap());
    assert!(Presented::read(&headers).is_err());
}

proptest! {
    #[test]
    fn arbitrary_fields_never_panic_and_never_pass(input in "[ -~]{0,120}", signature in "[ -~]{0,80}") {
        let mut headers = headers();
        headers.insert("signature-input", HeaderValue::from_str(&input).unwrap());
        headers.insert("signature", HeaderValue::from_str(&signature).unwrap());
        prop_assert!(verdict(&headers, &request(&headers)).is_err());
    }
}
