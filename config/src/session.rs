//! Tokens of sessions: `clws_`, 43 characters of base62 (256 random bits), 6 characters of CRC32 over all before them.
//!
//! A session is a person who has signed in; its token is sent by scripts as a bearer and by browsers in a cookie. The
//! gateway knows it by its form only, and leaves the rest to the control plane, which holds sessions as rows.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base62;

const RANDOM_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;
/// What every token begins with.
pub const SESSION_PREFIX: &str = "clws_";
/// Characters in a token.
pub const SESSION_CHARS: usize = SESSION_PREFIX.len() + RANDOM_DIGITS + CHECKSUM_DIGITS;
/// The cookie that a browser's session is in. The prefix has browsers take it over TLS, for this host and all of its
/// paths only (RFC 6265bis, 4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-clearway_session";

/// A whole token in clear: it cannot be printed, and forgets its bytes when dropped.
pub struct SessionToken(Zeroizing<[u8; SESSION_CHARS]>);

/// Prefix, alphabet, length or checksum is not that of a session's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session's token")]
pub struct MalformedSession;

impl SessionToken {
    /// Makes a token from 32 random bytes.
    pub fn mint(random: [u8; 32]) -> Self {
        let mut text = Zeroizing::new([0; SESSION_CHARS]);
        let (head, checksum) = text.split_at_mut(SESSION_CHARS - CHECKSUM_DIGITS);
        head[..SESSION_PREFIX.len()].copy_from_slice(SESSION_PREFIX.as_bytes());
        head[SESSION_PREFIX.len()..].copy_from_slice(&base62::encode_256::<RANDOM_DIGITS>(random));
        checksum.copy_from_slice(&checksum_of(head));
        Self(text)
    }

    /// Checks form and checksum; costs no look-up and no hash.
    pub fn parse(text: &[u8]) -> Result<Self, MalformedSession> {
        let text: &[u8; SESSION_CHARS] = text.try_into().map_err(|_| MalformedSession)?;
        let (head, checksum) = text.split_at(SESSION_CHARS - CHECKSUM_DIGITS);
        let random = head.strip_prefix(SESSION_PREFIX.as_bytes()).ok_or(MalformedSession)?;
        // The checksum is no secret: it is there to be computed by anyone.
        if !random.iter().copied().all(base62::is_digit) || checksum != checksum_of(head) {
            return Err(MalformedSession);
        }
        Ok(Self(Zeroizing::new(*text)))
    }

    /// All of it that is stored.
    pub fn hash(&self) -> SessionHash {
        SessionHash(Sha256::digest(self.0.as_slice()).into())
    }

    /// What a page must send beside the cookie. It follows from the token, so that it is stored nowhere, and says
    /// nothing about it.
    pub fn csrf(&self) -> Zeroizing<String> {
        let digest: [u8; 32] = Sha256::new().chain_update(b"clearway csrf\0").chain_update(self.0.as_slice()).finalize().into();
        let digits = base62::encode_256::<RANDOM_DIGITS>(digest);
        Zeroizing::new(digits.iter().map(|&digit| char::from(digit)).collect())
    }

    /// Whether `given` is [`SessionToken::csrf`], in constant time.
    pub fn is_csrf(&self, given: &[u8]) -> bool {
        self.csrf().as_bytes().ct_eq(given).into()
    }

    /// The token itself: for the answer that gives it out, never for a log.
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).expect("a token is ASCII")
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionToken({SESSION_PREFIX}…)")
    }
}

fn checksum_of(head: &[u8]) -> [u8; CHECKSUM_DIGITS] {
    base62::encode_u128(u128::from(crc32fast::hash(head)))
}

/// SHA-256 of a token: 256 random bits need no salt and no slow hash.
#[derive(Clone, Copy)]
pub struct SessionHash([u8; 32]);

impl SessionHash {
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_a_typo_does_not() {
        let token = SessionToken::mint([7; 32]);
        let text = token.reveal().to_owned();
        assert_eq!(SessionToken::parse(text.as_bytes()).unwrap().hash().as_bytes(), token.hash().as_bytes());
        for at in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(SessionToken::parse(&wrong).unwrap_err(), MalformedSession, "{at}");
        }
        assert!(SessionToken::parse(&text.as_bytes()[1..]).is_err());
        assert!(!format!("{token:?}").contains(&text[5..]));
    }

    #[test]
    fn the_csrf_token_is_of_one_session_and_is_not_its_token() {
        let (one, other) = (SessionToken::mint([1; 32]), SessionToken::mint([2; 32]));
        assert!(one.is_csrf(one.csrf().as_bytes()));
        assert!(!one.is_csrf(other.csrf().as_bytes()) && !one.is_csrf(b"") && !one.is_csrf(one.reveal().as_bytes()));
        assert!(!one.reveal().contains(one.csrf().as_str()));
    }
}
