//! Signed requests: whether a request carries the HTTP message signature (RFC 9421) of a key, over all that
//! decides what it does, and whether its body is the one that was signed (RFC 9530).
//!
//! One algorithm, `hmac-sha256`, with the key's signing secret; `keyid` is the key's id. Among the
//! signatures of a request only one may be by a key of ours: others are the upstream's business. Whether a
//! signed request has been seen before is for the caller to remember, by [`Presented::mark`].

mod base;
mod digest;
#[cfg(test)]
mod tests;

use clearway_config::{ErrorCode, KeyId};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};
use sha2::{Digest as _, Sha256};

pub use base::Request;
pub use digest::BodyDigest;

/// A signature made more than this many seconds ago is refused.
pub const WINDOW_S: u64 = 300;
/// And one made so many seconds from now: a signer's clock may be a little ahead.
pub const AHEAD_S: u64 = 30;
/// For how long a signature may have to be remembered.
pub const REMEMBERED_S_MAX: u64 = AHEAD_S + WINDOW_S + 1;
/// Bytes in a signing secret.
pub const SECRET_BYTES: usize = 32;
/// Bytes in Signature-Input and in Signature at most.
const FIELD_BYTES_MAX: usize = 4 * 1024;
const SIGNATURES_MAX: usize = 8;
const COMPONENTS_MAX: usize = 32;

/// Why a signed request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A signature is asked for and there is none.
    Missing,
    /// It cannot be read, or does not cover what it must; says what.
    Malformed(&'static str),
    Invalid,
    Expired,
    /// The body is not the one that was signed.
    Digest,
    Replayed,
    /// Nothing more can be remembered, so that a repetition could not be told.
    WindowFull,
}

impl Refusal {
    pub fn code(self) -> ErrorCode {
        match self {
            Refusal::Missing => ErrorCode::SignatureMissing,
            Refusal::Malformed(_) => ErrorCode::SignatureMalformed,
            Refusal::Invalid => ErrorCode::SignatureInvalid,
            Refusal::Expired => ErrorCode::SignatureExpired,
            Refusal::Digest => ErrorCode::ContentDigestMismatch,
            Refusal::Replayed => ErrorCode::SignatureReplayed,
            Refusal::WindowFull => ErrorCode::ReplayWindowFull,
        }
    }
}

/// A signature that says it is by one of our keys. It has not been verified.
#[derive(Debug)]
pub struct Presented {
    key: KeyId,
    input: InnerList,
    signature: Vec<u8>,
    created_s: u64,
    expires_s: Option<u64>,
}

/// Whether a request has a body, as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    None,
    Follows,
}

impl Presented {
    /// The signature by a key of ours; `None` where there is none.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let inputs = dictionary(headers, "signature-input", Refusal::Malformed("Signature-Input"))?;
        let mut ours = inputs.into_iter().filter_map(|(label, entry)| match entry {
            ListEntry::InnerList(input) => {
                let key = input.params.get("keyid")?.as_str()?.parse::<KeyId>().ok()?;
                Some((label, key, input))
            }
            ListEntry::Item(_) => None,
        });
        let Some((label, key, input)) = ours.next() else { return Ok(None) };
        if ours.next().is_some() {
            return Err(Refusal::Malformed("two signatures by keys"));
        }
        let mut signatures = dictionary(headers, "signature", Refusal::Malformed("Signature"))?;
        let signature = match signatures.shift_remove(&label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_seq().cloned(),
            _ => None,
        };
        let created_s = moment(&input, "created")?.ok_or(Refusal::Malformed("created"))?;
        let expires_s = moment(&input, "expires")?;
        if input.params.get("alg").is_some_and(|alg| alg.as_str() != Some("hmac-sha256")) {
            return Err(Refusal::Malformed("alg"));
        }
        if input.items.len() > COMPONENTS_MAX {
            return Err(Refusal::Malformed("more components than are taken"));
        }
        Ok(Some(Self { key, input, signature: signature.ok_or(Refusal::Malformed("Signature"))?, created_s, expires_s }))
    }

    /// The key that it says it is by.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// When it says that it was made, in seconds since 1970.
    pub fn created_s(&self) -> u64 {
        self.created_s
    }

    /// What tells this signed request from every other one, a repetition of itself excepted.
    pub fn mark(&self) -> u128 {
        let hash: [u8; 32] = Sha256::new_with_prefix(self.key.as_bytes()).chain_update(&self.signature).finalize().into();
        let (mark, _) = hash.split_first_chunk().expect("32 bytes begin with 16");
        u128::from_be_bytes(*mark)
    }

    /// Until when it would be accepted again, in seconds since 1970.
    pub fn refused_from_s(&self) -> u64 {
        let end = self.created_s.saturating_add(WINDOW_S + 1);
        self.expires_s.map_or(end, |expires| end.min(expires))
    }

    /// Whether it covers the request by `secret`, and holds at `now_s`.
    ///
    /// It must cover the method, all of the target, and the digest of a body where there is one: whatever else
    /// is changed on the way changes nothing that the gateway decides by.
    pub fn verify(&self, request: &Request<'_>, body: Body, secret: &[u8], now_s: u64) -> Result<(), Refusal> {
        self.check_coverage(request, body)?;
        let base = base::of(&self.input, request)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Refusal::Invalid)?;
        mac.update(base.as_bytes());
        // Compares in constant time.
        mac.verify_slice(&self.signature).map_err(|_| Refusal::Invalid)?;
        let ended = self.expires_s.is_some_and(|expires| expires <= now_s);
        if ended || self.created_s > now_s.saturating_add(AHEAD_S) || now_s.saturating_sub(self.created_s) > WINDOW_S {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn check_coverage(&self, request: &Request<'_>, body: Body) -> Result<(), Refusal> {
        let covers =
            |name: &str| self.input.items.iter().any(|item| item.params.is_empty() && item.bare_item.as_str() == Some(name));
        if !covers("@method") {
            return Err(Refusal::Malformed("@method is not covered"));
        }
        let path_and_query = covers("@request-target") || (covers("@path") && (covers("@query") || request.query().is_none()));
        let target = covers("@target-uri") || (covers("@authority") && path_and_query);
        if !target {
            return Err(Refusal::Malformed("neither @target-uri nor @authority, @path and @query are covered"));
        }
        if body == Body::Follows && !covers("content-digest") {
            return Err(Refusal::Malformed("content-digest is not covered"));
        }
        Ok(())
    }
}

fn moment(input: &InnerList, name: &'static str) -> Result<Option<u64>, Refusal> {
    match input.params.get(name) {
        None => Ok(None),
        Some(BareItem::Integer(at)) => u64::try_from(*at).map(Some).map_err(|_| Refusal::Malformed(name)),
        Some(_) => Err(Refusal::Malformed(name)),
    }
}

/// All fields of a name as one dictionary (RFC 8941, 4.2).
fn dictionary(headers: &HeaderMap, name: &str, refusal: Refusal) -> Result<Dictionary, Refusal> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        if !all.is_empty() {
            all.extend_from_slice(b", ");
        }
        all.extend_from_slice(value.as_bytes());
        if all.len() > FIELD_BYTES_MAX {
            return Err(refusal);
        }
    }
    let dictionary = Parser::parse_dictionary(&all).map_err(|_| refusal)?;
    if dictionary.len() > SIGNATURES_MAX { Err(refusal) } else { Ok(dictionary) }
}
