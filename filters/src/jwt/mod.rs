//! Tokens: whether a JWT (RFC 7519) is one of an issuer's own, and whom it stands for.
//!
//! What is taken is the issuer's choice, never the token's (RFC 8725): its algorithms, its keys, its
//! audiences. Signatures are asymmetric only, so that whoever verifies cannot sign. A token is read once,
//! in the order in which it can be wrong; nothing it says is believed before its signature is.
//!
//! Where keys come from, and how long a verified token is remembered, is the proxy's business.

mod claims;
mod id_token;
mod jwks;
mod nonce;
mod object;
mod proof;
#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::{
    AccountId, ErrorCode, Scopes,
    settings::gateway::{Algorithm, Issuer},
};
use serde_json::Value;

pub use claims::is_resource_path;
pub use id_token::Expected;
pub use jwks::{JWKS_BYTES_MAX, Jwks, JwksFault, KEYS_MAX};
pub use nonce::{NONCE_KEY_BYTES, Nonce, Nonces};
use object::Object;
pub use proof::{PROOF_ALGORITHMS, Proof, Proved};

/// Bytes in a token at most.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
const KEY_ID_BYTES_MAX: usize = 256;

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not three parts of base64url with objects in the first two, or too large.
    Malformed,
    IssuerUnknown,
    /// None of the issuer's keys is the one that it names.
    KeyUnknown,
    /// Its signature is wrong, or it is not of the kind that its issuer's tokens are; says what.
    Invalid(&'static str),
    Expired,
    /// By whoever issued it, before its time.
    Revoked,
    NotYetValid,
    Audience,
    /// It stands for no account.
    AccountUnknown,
    /// It is bound to a key (RFC 9449), and was shown without a proof.
    Unproved,
    /// The proof that it was shown with is none of this request and its key; says what is wrong with it.
    Proof(&'static str),
    /// The proof is right, and carries no nonce that is good now, or any more: this one is.
    Nonce(Nonce),
}

impl Refusal {
    pub fn code(self) -> ErrorCode {
        match self {
            Refusal::Malformed => ErrorCode::TokenMalformed,
            Refusal::IssuerUnknown => ErrorCode::TokenIssuerUnknown,
            Refusal::KeyUnknown => ErrorCode::TokenKeyUnknown,
            Refusal::Invalid(_) => ErrorCode::TokenInvalid,
            Refusal::Expired => ErrorCode::TokenExpired,
            Refusal::Revoked => ErrorCode::TokenRevoked,
            Refusal::NotYetValid => ErrorCode::TokenNotYetValid,
            Refusal::Audience => ErrorCode::TokenAudience,
            Refusal::AccountUnknown => ErrorCode::TokenAccountUnknown,
            Refusal::Unproved => ErrorCode::TokenProofMissing,
            Refusal::Proof(_) => ErrorCode::TokenProofInvalid,
            Refusal::Nonce(_) => ErrorCode::TokenNonceRequired,
        }
    }
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub account: AccountId,
    /// Whom it is about, fit for a header: bytes other than visible ASCII are percent-encoded.
    pub subject: Option<String>,
    pub scopes: Scopes,
    /// From when on it is refused, in milliseconds since 1970: leeway and the issuer's `max_age` are in it.
    pub refused_from_ms: u64,
    /// Where it is good alone (RFC 8707): this path and everything below it. `None`: everywhere.
    pub below: Option<Box<str>>,
    /// The thumbprint of the key that it is bound to (RFC 9449, 6.1), where it is bound to one.
    pub bound: Option<Box<str>>,
}

impl Claims {
    /// Whether it is meant for a request with this path, in its one spelling.
    pub fn covers(&self, path: &str) -> bool {
        covers(self.below.as_deref(), path)
    }
}

/// Whether a path is the one that a token is limited to, or below it.
pub fn covers(below: Option<&str>, path: &str) -> bool {
    let inside = |below: &str| path.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below.is_none_or(inside)
}

/// A token that has been taken apart. Nothing of it is to be believed yet.
#[derive(Debug)]
pub struct Token<'t> {
    signed: &'t [u8],
    signature: Vec<u8>,
    header: Object,
    claims: Object,
    algorithm: Algorithm,
}

/// Whether a bearer's credential has the form of a token. No key has: keys know no dot.
pub fn is_token(bearer: &[u8]) -> bool {
    bearer.iter().filter(|&&byte| byte == b'.').count() == 2
}

impl<'t> Token<'t> {
    pub fn read(token: &'t [u8]) -> Result<Self, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else { return Err(Refusal::Malformed) };
        // Strict: neither padding nor another alphabet, so that a token has one spelling.
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed);
        let object = |part: &[u8]| Object::read(&decode(part)?).ok_or(Refusal::Malformed);
        let header = object(&token[..first])?;
        let claims = object(&token[first + 1..second])?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        Ok(Self {
            signed: &token[..second],
            signature: decode(&token[second + 1..])?,
            header,
            claims,
            algorithm: algorithm.ok_or(Refusal::Invalid("alg"))?,
        })
    }

    /// Who says that it is its own: which [`Issuer`] it is to be verified for.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// One of its claims; to be believed once it has been verified.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Whether `keys` hold one that may have signed it. Where they do not, they may be out of date.
    pub fn is_known_to(&self, keys: &Jwks) -> Result<bool, Refusal> {
        Ok(keys.candidates(self.key_id()?, self.algorithm).next().is_some())
    }

    /// Verifies the token by its issuer's `keys` at `now_ms`.
    pub fn verify(&self, issuer: &Issuer, keys: &Jwks, now_ms: u64) -> Result<Claims, Refusal> {
        if self.issuer() != Some(&issuer.issuer) {
            return Err(Refusal::IssuerUnknown);
        }
        self.check_header(issuer)?;
        let mut tried = false;
        for key in keys.candidates(self.key_id()?, self.algorithm) {
            tried = true;
            if key.verifies(self.algorithm, self.signed, &self.signature) {
                return claims::read(&self.claims, issuer, now_ms);
            }
        }
        Err(if tried { Refusal::Invalid("signature") } else { Refusal::KeyUnknown })
    }

    fn check_header(&self, issuer: &Issuer) -> Result<(), Refusal> {
        if !issuer.algorithms.contains(&self.algorithm) {
            return Err(Refusal::Invalid("alg"));
        }
        if self.header.get("crit").is_some() {
            // RFC 7515, 4.1.11: extensions that must be understood, of which none is.
            return Err(Refusal::Invalid("crit"));
        }
        let Some(wanted) = &issuer.typ else { return Ok(()) };
        let said = self.header.get("typ").and_then(Value::as_str);
        // RFC 7515, 4.1.9: `application/` may be left out.
        let bare = |typ: &str| typ.to_ascii_lowercase().trim_start_matches("application/").to_owned();
        if said.is_some_and(|said| bare(said) == bare(wanted)) { Ok(()) } else { Err(Refusal::Invalid("typ")) }
    }

    fn key_id(&self) -> Result<Option<&str>, Refusal> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Ok(Some(id)),
            Some(_) => Err(Refusal::Invalid("kid")),
        }
    }
}
