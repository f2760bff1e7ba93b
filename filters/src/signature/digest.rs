//! Content-Digest (RFC 9530): whether a body is the one that the digest was computed over.

use http::HeaderMap;
use sfv::ListEntry;
use sha2::{Digest as _, Sha256, Sha512};

use super::{Refusal, dictionary};

/// The digests that a request says its body has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyDigest {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl BodyDigest {
    /// `None` where the request has no Content-Digest. One without an algorithm that is known here is refused.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        const REFUSED: Refusal = Refusal::Malformed("Content-Digest");
        if !headers.contains_key("content-digest") {
            return Ok(None);
        }
        let mut all = dictionary(headers, "content-digest", REFUSED)?;
        let mut take = |name: &str| match all.shift_remove(name) {
            None => Ok(None),
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_seq().cloned().map(Some).ok_or(REFUSED),
            Some(ListEntry::InnerList(_)) => Err(REFUSED),
        };
        let digest = Self { sha256: take("sha-256")?, sha512: take("sha-512")? };
        if digest.sha256.is_none() && digest.sha512.is_none() { Err(REFUSED) } else { Ok(Some(digest)) }
    }

    /// Every digest that is known here must be that of `body`.
    pub fn is_of(&self, body: &[u8]) -> bool {
        self.sha256.as_ref().is_none_or(|said| *said == Sha256::digest(body).as_slice())
            && self.sha512.as_ref().is_none_or(|said| *said == Sha512::digest(body).as_slice())
    }
}
