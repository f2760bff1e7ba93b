//! A gateway's own answer, as gRPC clients understand it: the status is in the trailers of a 200, for most
//! clients call any other answer "unknown".

use std::fmt::Write as _;

use clearway_config::ErrorCode;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header::CONTENT_TYPE, request::Parts};

pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether the request is a gRPC call: HTTP/2, and `application/grpc` with or without a `+` and a format.
pub(super) fn is_call(request: &Parts) -> bool {
    let media = request.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_grpc = media.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
    request.version == Version::HTTP_2 && is_grpc
}

/// The trailers that say this.
pub(super) fn trailers(code: ErrorCode) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS, HeaderValue::from(status(code.status())));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&format!("{code}: {}", code.meaning()))) {
        trailers.insert(MESSAGE, message);
    }
    trailers
}

/// The nearest of gRPC's codes.
fn status(http: u16) -> u16 {
    const INVALID_ARGUMENT: u16 = 3;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match http {
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        413 | 429 => RESOURCE_EXHAUSTED,
        502 | 503 => UNAVAILABLE,
        504 => DEADLINE_EXCEEDED,
        400..=499 => INVALID_ARGUMENT,
        _ => INTERNAL,
    }
}

/// As gRPC writes messages in a header: everything but visible ASCII, and `%`, is escaped.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    fn request(media: &str, version: Version) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/pkg.Service/Call", None).unwrap();
        request.set_version(version);
        request.insert_header(CONTENT_TYPE, media).unwrap();
        request
    }

    #[test]
    fn a_call_is_known_by_its_media_type_over_http_2() {
        for (media, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(&request(media, Version::HTTP_2)), call, "{media}");
            assert!(!is_call(&request(media, Version::HTTP_11)));
        }
    }

    #[test]
    fn every_refusal_has_a_status_that_clients_act_on_rightly() {
        for (code, expected) in [
            (ErrorCode::KeyMissing, "16"),
            (ErrorCode::ScopeMissing, "7"),
            (ErrorCode::RouteNotFound, "12"),
            (ErrorCode::QuotaExceeded, "8"),
            (ErrorCode::NotReady, "14"),
            (ErrorCode::UpstreamUnreachable, "14"),
            (ErrorCode::UpstreamTimeout, "4"),
            (ErrorCode::AmbiguousRequest, "3"),
            (ErrorCode::InternalError, "13"),
        ] {
            assert_eq!(trailers(code)[STATUS], expected, "{code}");
        }
        assert!(trailers(ErrorCode::KeyMissing)[MESSAGE].to_str().unwrap().starts_with("key_missing: "));
        assert_eq!(percent_encoded("a%\u{e9}\n"), "a%25%C3%A9%0A");
    }
}
