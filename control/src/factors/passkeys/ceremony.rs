//! Web Authentication, Level 3: what an authenticator answers when a passkey is made (7.1) and when it is used (7.2). Pure:
//! which challenge is waited for, and what is known of the passkey, is for the caller.
//!
//! Attestation is not asked for and not looked at: any authenticator will do.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Host, Url};

use super::cose::{self, Key};

/// Bytes in what an authenticator and a browser say, each at most.
const PART_BYTES_MAX: usize = 16 * 1024;
/// Bytes in a credential's id at most (4, Credential ID).
const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;
pub(super) const CHALLENGE_BYTES: usize = 32;
/// Of authenticator data before what is there in one case only (6.1).
const HEAD_BYTES: usize = 37;

/// Why an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    #[error("it is of the other ceremony")]
    Ceremony,
    #[error("it is for another origin")]
    Origin,
    #[error("a page of another site asked for it")]
    CrossOrigin,
    #[error("it is for another site's id")]
    Site,
    #[error("nobody was present")]
    Absent,
    #[error("the person was not verified by the authenticator")]
    Unverified,
    #[error("its flags contradict each other")]
    Flags,
    #[error("its key is of a kind that is not taken")]
    Key,
    #[error("the signature is wrong")]
    Signature,
}

/// Whom authenticators know us as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// The relying party's id: the public URL's name.
    pub(super) id: String,
    /// Where its pages come from.
    origin: String,
}

impl Site {
    /// `None` where browsers have no passkeys: without TLS, but on this machine, and where the host is an address.
    pub(super) fn of(public_url: &str) -> Option<Self> {
        let url = Url::parse(public_url).ok()?;
        let Some(Host::Domain(name)) = url.host() else { return None };
        let safe = url.scheme() == "https" || url.scheme() == "http" && (name == "localhost" || name.ends_with(".localhost"));
        safe.then(|| Self { id: name.to_owned(), origin: url.origin().ascii_serialization() })
    }
}

/// What a browser sends when a passkey was made, as far as it matters (`RegistrationResponseJSON`).
#[derive(Debug, Deserialize)]
pub(super) struct Registration {
    pub(super) response: RegistrationParts,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationParts {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Bytes,
    pub(super) attestation_object: Bytes,
    #[serde(default)]
    pub(super) transports: Vec<String>,
}

/// What a browser sends when a passkey was used (`AuthenticationResponseJSON`).
#[derive(Debug, Deserialize)]
pub(super) struct Assertion {
    #[serde(rename = "rawId")]
    pub(super) id: Bytes,
    pub(super) response: AssertionParts,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssertionParts {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Bytes,
    pub(super) authenticator_data: Bytes,
    pub(super) signature: Bytes,
    pub(super) user_handle: Option<Bytes>,
}

/// Bytes in base64url, bounded.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.len() > PART_BYTES_MAX {
            return Err("too long");
        }
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(|_| "not base64url without padding")
    }
}

/// A passkey that was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) credential_id: Vec<u8>,
    /// As the authenticator wrote it.
    pub(super) public_key: Vec<u8>,
    pub(super) authenticator: [u8; 16],
    pub(super) flags: Flags,
    pub(super) counter: u32,
}

/// A passkey that was used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) flags: Flags,
    pub(super) counter: u32,
}

/// What authenticator data say in their flags (6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    /// The authenticator has verified who it was, by a PIN or a finger.
    pub(super) verified: bool,
    /// It may be on several devices.
    pub(super) synced: bool,
    pub(super) backed_up: bool,
}

/// The challenge that an answer says it is to; to be looked up before anything else is believed.
pub(super) fn challenge(client_data: &[u8], ceremony: &str, site: &Site) -> Result<[u8; CHALLENGE_BYTES], Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ClientData {
        #[serde(rename = "type")]
        ceremony: String,
        challenge: String,
        origin: String,
        #[serde(default)]
        cross_origin: Option<bool>,
        #[serde(default)]
        top_origin: Option<serde_json::Value>,
    }
    let said: ClientData = serde_json::from_slice(client_data).map_err(|_| Fault::Malformed("clientDataJSON"))?;
    if said.ceremony != ceremony {
        return Err(Fault::Ceremony);
    }
    if said.origin != site.origin {
        return Err(Fault::Origin);
    }
    if said.cross_origin == Some(true) || said.top_origin.is_some() {
        return Err(Fault::CrossOrigin);
    }
    let challenge = URL_SAFE_NO_PAD.decode(said.challenge).map_err(|_| Fault::Malformed("challenge"))?;
    challenge.try_into().map_err(|_| Fault::Malformed("challenge"))
}

pub(super) const CREATE: &str = "webauthn.create";
pub(super) const GET: &str = "webauthn.get";

/// The passkey that was made, for this site.
pub(super) fn made(attestation_object: &[u8], site: &Site) -> Result<Made, Fault> {
    let mut rest = attestation_object;
    let object = cose::item(&mut rest)?;
    let data = cose::member(&object, &Value::from("authData")).and_then(Value::as_bytes);
    let data = data.filter(|_| rest.is_empty()).ok_or(Fault::Malformed("attestationObject"))?;
    let (head, mut rest) = head(data, site)?;
    if head.bits & ATTESTED == 0 {
        return Err(Fault::Malformed("there is no credential"));
    }
    let short = Fault::Malformed("authData");
    let (authenticator, after) = rest.split_first_chunk::<16>().ok_or(short)?;
    let (length, after) = after.split_first_chunk::<2>().ok_or(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > CREDENTIAL_ID_BYTES_MAX {
        return Err(short);
    }
    let (credential_id, after) = after.split_at_checked(length).ok_or(short)?;
    rest = after;
    let key = cose::item(&mut rest)?;
    Key::of(&key)?;
    let public_key = after[..after.len() - rest.len()].to_vec();
    extensions(head.bits, rest)?;
    Ok(Made {
        credential_id: credential_id.to_vec(),
        public_key,
        authenticator: *authenticator,
        flags: head.flags,
        counter: head.counter,
    })
}

/// That the passkey with this key was used, for this site. `client_data` is what [`challenge`] has read.
pub(super) fn used(parts: &AssertionParts, public_key: &[u8], site: &Site) -> Result<Used, Fault> {
    let data = &parts.authenticator_data.0;
    let (head, rest) = head(data, site)?;
    if head.bits & ATTESTED != 0 {
        return Err(Fault::Malformed("there is a credential"));
    }
    extensions(head.bits, rest)?;
    let signed = [data.as_slice(), &Sha256::digest(&parts.client_data.0)].concat();
    Key::read(public_key)?.verify(&signed, &parts.signature.0)?;
    Ok(Used { flags: head.flags, counter: head.counter })
}

const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

struct Head {
    bits: u8,
    flags: Flags,
    counter: u32,
}

/// What every authenticator data begin with, checked, and the rest.
fn head<'d>(data: &'d [u8], site: &Site) -> Result<(Head, &'d [u8]), Fault> {
    let (head, rest) = data.split_first_chunk::<HEAD_BYTES>().ok_or(Fault::Malformed("authData"))?;
    if !bool::from(head[..32].ct_eq(&Sha256::digest(site.id.as_bytes()))) {
        return Err(Fault::Site);
    }
    let bits = head[32];
    if bits & PRESENT == 0 {
        return Err(Fault::Absent);
    }
    let flags = Flags { verified: bits & VERIFIED != 0, synced: bits & BACKUP_ELIGIBLE != 0, backed_up: bits & BACKED_UP != 0 };
    if flags.backed_up && !flags.synced {
        return Err(Fault::Flags);
    }
    let counter = u32::from_be_bytes([head[33], head[34], head[35], head[36]]);
    Ok((Head { bits, flags, counter }, rest))
}

/// None were asked for; what an authenticator says all the same is passed over, and nothing may follow.
fn extensions(bits: u8, mut rest: &[u8]) -> Result<(), Fault> {
    if bits & EXTENSIONS != 0 && !cose::item(&mut rest)?.is_map() {
        return Err(Fault::Malformed("extensions"));
    }
    if rest.is_empty() { Ok(()) } else { Err(Fault::Malformed("authData")) }
}

#[cfg(test)]
mod tests;
