//! The time that pools count by: milliseconds that only go forward.

use std::{sync::OnceLock, time::Instant};

/// Milliseconds since this process first asked.
pub(super) fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A number spread over all 64 bits, the same on every machine: what hashes to one target here does so
/// on every proxy of a fleet. The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// What [`super::PickFor::hash`] is made of. FNV-1a, finished by [`mix`]: short texts, no secret.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    mix(fnv)
}
