//! `[gateway.limits]`: what one client, and all of them together, may take of the gateway.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::settings::duration;

/// Header lines of a head at most that can be set.
pub const HEADERS_BOUND: usize = 256;

/// Sizes that can be set for a head, in bytes.
const HEAD_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=1024 * 1024;
const URI_BYTES_MIN: u64 = 256;
/// No wait for a client is shorter, or longer.
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// How long a WebSocket may be silent.
const WEBSOCKET: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Connections of clients at the same time. 0: as many as the process' file descriptors allow, an upstream's
    /// connection for each, and 65,536 at most.
    pub connections: usize,
    /// Connections from one IPv4 address or one IPv6 /64 at the same time; 0 is no limit. Trusted proxies are exempt.
    pub connections_per_address: usize,
    /// Memory of the process, beyond which no connection and no request is taken; 0 is nine tenths of what the machine,
    /// or the process' control group, has.
    pub memory: ByteSize,
    /// Requests at the same time, of those that are not forwarded as bytes: HTTP/2, upstreams over TLS, bodies in chunks
    /// and the like. Each may hold half a MiB of an answer that its client does not take. 0: as fill half of `memory`.
    pub requests: usize,
    /// A request's line and headers.
    pub head_bytes: ByteSize,
    /// A request's header lines.
    pub headers: usize,
    /// A request's target.
    pub uri_bytes: ByteSize,
    /// All heads together that are longer than 8 KiB and not complete yet.
    pub pending_heads_bytes: ByteSize,
    /// From a head's first byte to its last.
    #[serde(deserialize_with = "duration::deserialize")]
    pub head_timeout: Duration,
    /// Between requests, and before the first.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle_timeout: Duration,
    /// Without a byte of a request's body.
    #[serde(deserialize_with = "duration::deserialize")]
    pub body_timeout: Duration,
    /// Without a byte of its answer being taken.
    #[serde(deserialize_with = "duration::deserialize")]
    pub write_timeout: Duration,
    /// Bytes of a body that a client sends or takes each second it is waited for, on average; 0 is no limit.
    pub rate_min: ByteSize,
    /// How long the average is not looked at.
    #[serde(deserialize_with = "duration::deserialize")]
    pub rate_grace: Duration,
    /// Of a WebSocket without a byte in either direction.
    #[serde(deserialize_with = "duration::deserialize")]
    pub websocket_idle_timeout: Duration,
    /// Of a WebSocket in all; 0 is no limit.
    #[serde(deserialize_with = "duration::deserialize")]
    pub websocket_lifetime: Duration,
    /// From a connection's beginning to the end of its TLS handshake.
    #[serde(deserialize_with = "duration::deserialize")]
    pub handshake_timeout: Duration,
    /// TLS handshakes at the same time; others wait for their turn.
    pub handshakes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections: 0,
            connections_per_address: 10_000,
            memory: ByteSize::b(0),
            requests: 0,
            head_bytes: ByteSize::kib(64),
            headers: 128,
            uri_bytes: ByteSize::kib(16),
            pending_heads_bytes: ByteSize::mib(256),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            rate_min: ByteSize::b(240),
            rate_grace: Duration::from_secs(5),
            websocket_idle_timeout: Duration::from_secs(3600),
            websocket_lifetime: Duration::ZERO,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 4096,
        }
    }
}

impl LimitSettings {
    /// What is out of bounds: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let waits = [
            (self.head_timeout, "gateway.limits.head_timeout"),
            (self.idle_timeout, "gateway.limits.idle_timeout"),
            (self.body_timeout, "gateway.limits.body_timeout"),
            (self.write_timeout, "gateway.limits.write_timeout"),
            (self.handshake_timeout, "gateway.limits.handshake_timeout"),
        ];
        if let Some((_, key)) = waits.into_iter().find(|(wait, _)| !WAIT.contains(wait)) {
            return Some((key, "must be from 10ms to 1h"));
        }
        let head = self.head_bytes.as_u64();
        let faults = [
            (!HEAD_BYTES.contains(&head), "gateway.limits.head_bytes", "must be from 4KiB to 1MiB"),
            (!(1..=HEADERS_BOUND).contains(&self.headers), "gateway.limits.headers", "must be from 1 to 256"),
            (
                !(URI_BYTES_MIN..=head).contains(&self.uri_bytes.as_u64()),
                "gateway.limits.uri_bytes",
                "must be from 256B to head_bytes",
            ),
            (self.pending_heads_bytes < self.head_bytes, "gateway.limits.pending_heads_bytes", "must be at least head_bytes"),
            (self.rate_min.as_u64() > 1024 * 1024, "gateway.limits.rate_min", "must be at most 1MiB"),
            (self.rate_grace > *WAIT.end(), "gateway.limits.rate_grace", "must be at most 1h"),
            (
                !WEBSOCKET.contains(&self.websocket_idle_timeout),
                "gateway.limits.websocket_idle_timeout",
                "must be from 10ms to 24h",
            ),
            (self.websocket_lifetime > *WEBSOCKET.end() * 30, "gateway.limits.websocket_lifetime", "must be at most 30d"),
            (!(1..=65_536).contains(&self.handshakes), "gateway.limits.handshakes", "must be from 1 to 65536"),
        ];
        faults.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, why)| (key, why))
    }

    /// [`Self::head_bytes`], as a length.
    pub fn head_bytes(&self) -> usize {
        usize::try_from(self.head_bytes.as_u64()).unwrap_or(usize::MAX)
    }

    /// How many heads may be long and not complete at the same time, each reckoned as long as it may become.
    pub fn pending_heads(&self) -> usize {
        let heads = self.pending_heads_bytes.as_u64() / self.head_bytes.as_u64().max(1);
        usize::try_from(heads).unwrap_or(usize::MAX).clamp(1, 1 << 24)
    }

    /// [`Self::uri_bytes`], as a length.
    pub fn uri_bytes(&self) -> usize {
        usize::try_from(self.uri_bytes.as_u64()).unwrap_or(usize::MAX)
    }
}
