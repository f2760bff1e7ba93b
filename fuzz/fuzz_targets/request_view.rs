//! A request target and headers: read in one way, which is read again as itself, or refused.
//!
//! The first line of the input is the target, every other one a header.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use clearway_filters::{Reject, headers, request::RequestView};
use http::{HeaderName, HeaderValue, Request, request::Parts};
use libfuzzer_sys::fuzz_target;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let mut parts = Request::new(()).into_parts().0;
    for line in lines {
        add_header(&mut parts, line);
    }
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let _ = headers::stripped(&parts.headers, bytes.len().is_multiple_of(2)).count();
    let Ok(view) = RequestView::read(&parts, target, PEER, &trusted) else { return };

    let path = view.path();
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!path.contains("//") && !path.contains('\\'));
    assert!(path.split('/').all(|segment| !matches!(segment.split(';').next(), Some("." | ".."))));
    match RequestView::read(&parts, path.as_bytes(), PEER, &trusted) {
        Ok(again) => assert_eq!(again.path(), path),
        // The target named the host, and the path alone does not.
        Err(why) => assert_eq!(why, Reject::Ambiguous("Host is missing")),
    }
    assert!(!view.host().bytes().any(|byte| byte.is_ascii_uppercase()));
});

fn add_header(parts: &mut Parts, line: &[u8]) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
    let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
    if let (Ok(name), Ok(value)) = (name, value) {
        parts.headers.append(name, value);
    }
}
