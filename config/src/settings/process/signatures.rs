//! `[gateway.signatures]`: what verifying signed requests may cost.

use bytesize::ByteSize;
use serde::Deserialize;

/// Signatures remembered at most: about 50 bytes each.
const REMEMBERED_MAX: usize = 100_000_000;
/// Bytes of a signed body at most: it is held in memory until it has been verified.
const BODY_MAX: ByteSize = ByteSize::mib(64);

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureSettings {
    /// A signed body may have so many bytes.
    pub body_max: ByteSize,
    /// So many accepted signatures are remembered, for five minutes each; with more of them signed requests are refused.
    pub remembered_max: usize,
}

impl Default for SignatureSettings {
    fn default() -> Self {
        Self { body_max: ByteSize::mib(1), remembered_max: 1_000_000 }
    }
}

impl SignatureSettings {
    /// What is out of bounds: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.body_max > BODY_MAX {
            return Some(("gateway.signatures.body_max", "must be at most 64MiB"));
        }
        let few_enough = (1..=REMEMBERED_MAX).contains(&self.remembered_max);
        (!few_enough).then_some(("gateway.signatures.remembered_max", "must be from 1 to 100000000"))
    }
}
