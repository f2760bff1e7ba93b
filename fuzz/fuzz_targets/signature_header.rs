//! What stands in the headers of a signed request: read or refused, never more; and what is read is never verified by a
//! secret that nobody has signed with.

#![no_main]

use clearway_filters::signature::{Body, BodyDigest, Presented, Request};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["signature-input", "signature", "content-digest"];
const KEY: &str = "key_0000000000000000000001";

// A line a header, of the three in turn; `K` between dollar signs is the id of a key.
fuzz_target!(|text: &str| {
    let text = text.replace("$K$", KEY);
    let mut headers = HeaderMap::new();
    for (n, line) in text.lines().take(12).enumerate() {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.append(HeaderName::from_static(NAMES[n % NAMES.len()]), value);
        }
    }
    let digest = BodyDigest::read(&headers).ok().flatten();
    if let Some(digest) = digest {
        assert!(!(digest.is_of(b"one body") && digest.is_of(b"another body")));
    }
    let Ok(Some(presented)) = Presented::read(&headers) else { return };
    assert_eq!(presented.key().to_string(), KEY);
    let request =
        Request { method: &Method::POST, scheme: "https", authority: "example.com", path_and_query: "/a?b", headers: &headers };
    for body in [Body::None, Body::Follows] {
        assert!(presented.verify(&request, body, &[7; 32], presented.created_s()).is_err());
    }
});
