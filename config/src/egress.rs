//! The egress contract's messages (`proto/clearway/egress/v1/egress.proto`): how control has webhooks delivered.
//!
//! Its handshake is that of sync under labels of its own, so that no answer of one stream opens the other.

use crate::sync;

/// The generated messages.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/clearway.egress.v1.rs"));
}

/// How often each side says that it is there.
pub const KEEP_ALIVE_INTERVAL_MS: u64 = 1_000;

/// How long a side may be silent.
pub const SILENCE_MAX_MS: u64 = 15_000;

/// Attempts in one message at most.
pub const BATCH_ATTEMPTS_MAX: usize = 256;

/// Bytes of an event's body at most.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the bodies in one message at most, unless it is one body alone; keeps a message well under gRPC's 4 MiB default.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Attempts that a proxy may have in flight at most.
pub const ATTEMPTS_MAX: u32 = 65_536;

/// Bytes of bodies that a proxy may have in flight at most.
pub const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes in what names a process.
pub const INSTANCE_BYTES: usize = 16;

/// Bytes that are kept of a receiver's answer at most.
pub const RESPONSE_BODY_BYTES_MAX: usize = 16 * 1024;

const CONTROL: &[u8] = b"clearway egress control";
const PROXY: &[u8] = b"clearway egress proxy";

/// What control answers to a proxy's hello.
pub fn control_mac(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8]) -> [u8; 32] {
    sync::mac_of(token, [CONTROL, proxy_nonce, control_nonce])
}

/// What a proxy answers to control's challenge.
pub fn proxy_mac(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8]) -> [u8; 32] {
    sync::mac_of(token, [PROXY, control_nonce, proxy_nonce])
}

/// Whether `got` is control's answer, in constant time.
pub fn verify_control(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8], got: &[u8]) -> bool {
    sync::verify_mac(token, [CONTROL, proxy_nonce, control_nonce], got)
}

/// Whether `got` is the proxy's answer, in constant time.
pub fn verify_proxy(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8], got: &[u8]) -> bool {
    sync::verify_mac(token, [PROXY, control_nonce, proxy_nonce], got)
}

/// What an attempt came to, in one of few words: the class of the answer's status, or why there was none.
pub fn outcome(result: &v1::Result) -> &'static str {
    match (result.failure(), result.status) {
        (v1::Failure::Unspecified, Some(status)) => match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
        (v1::Failure::Unspecified, None) => "other",
        (v1::Failure::WebhookUnknown, _) => "webhook_unknown",
        (v1::Failure::WebhookInactive, _) => "webhook_inactive",
        (v1::Failure::Dns, _) => "dns",
        (v1::Failure::AddressRefused, _) => "address_refused",
        (v1::Failure::Connect, _) => "connect",
        (v1::Failure::Tls, _) => "tls",
        (v1::Failure::ConnectTimeout, _) => "connect_timeout",
        (v1::Failure::FirstByteTimeout, _) => "first_byte_timeout",
        (v1::Failure::TotalTimeout, _) => "total_timeout",
        (v1::Failure::Broken, _) => "broken",
        (v1::Failure::Oauth, _) => "oauth",
        (v1::Failure::Overloaded, _) => "overloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_the_class_of_a_status_unless_something_failed() {
        let result = |failure: v1::Failure, status| v1::Result { failure: failure.into(), status, ..Default::default() };
        assert_eq!(outcome(&result(v1::Failure::Unspecified, Some(204))), "2xx");
        assert_eq!(outcome(&result(v1::Failure::TotalTimeout, Some(200))), "total_timeout", "its body never ended");
        assert_eq!(outcome(&v1::Result { failure: 999, status: Some(999), ..Default::default() }), "other");
    }

    #[test]
    fn each_side_accepts_only_the_other_sides_answer_and_none_of_the_sync_stream() {
        let (token, a, b) = ([7; 32], [1; 32], [2; 32]);
        assert!(verify_control(&token, &a, &b, &control_mac(&token, &a, &b)));
        assert!(verify_proxy(&token, &a, &b, &proxy_mac(&token, &a, &b)));
        assert!(!verify_proxy(&token, &a, &b, &control_mac(&token, &a, &b)), "an answer played back must not authenticate");
        assert!(!verify_control(&token, &a, &b, &sync::control_mac(&token, &a, &b)));
        assert!(!sync::verify_proxy(&token, &a, &b, &proxy_mac(&token, &a, &b)));
        assert!(!verify_proxy(&[8; 32], &a, &b, &proxy_mac(&token, &a, &b)), "another token must not authenticate");
    }
}
