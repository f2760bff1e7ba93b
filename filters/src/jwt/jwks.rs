//! An issuer's public keys (RFC 7517), as far as they verify signatures that are taken.
//!
//! A key says by its kind what it can verify, and a token cannot make it verify anything else. Keys of
//! other kinds and uses are passed over: a set may hold keys that are meant for others.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::settings::gateway::Algorithm;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Bytes in a document of keys at most.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Keys in a document at most.
pub const KEYS_MAX: usize = 100;
/// Keys that one token is tried with at most: each costs a verification.
const CANDIDATES_MAX: usize = 4;

/// Why a document of keys is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksFault {
    #[error("larger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("not a set of keys: {0}")]
    Malformed(String),
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    #[error("no key that verifies any of the issuer's algorithms")]
    Nothing,
}

/// The keys that one issuer's tokens are verified by.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<Key>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The one that it is for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point: 4, x, y.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The members of RFC 7517, 4 and RFC 7518, 6 that matter here.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads a document; `algorithms` are those that its issuer's tokens may be signed with.
    pub fn read(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, JwksFault> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(JwksFault::TooLarge);
        }
        let document: Document = serde_json::from_slice(json).map_err(|e| JwksFault::Malformed(e.to_string()))?;
        if document.keys.len() > KEYS_MAX {
            return Err(JwksFault::TooMany);
        }
        let written = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Written>(key).ok());
        let keys: Vec<_> =
            written.filter_map(Key::of).filter(|key| algorithms.iter().any(|&algorithm| key.is_for(algorithm))).collect();
        // A set that verifies nothing is a mistake at the other end: the keys held so far are better.
        if keys.is_empty() { Err(JwksFault::Nothing) } else { Ok(Self { keys }) }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have made a signature; without a name, all that are for the algorithm.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let named = move |key: &&Key| id.is_none() || key.id.as_deref() == id;
        self.keys.iter().filter(named).filter(move |key| key.is_for(algorithm)).take(CANDIDATES_MAX)
    }
}

impl Key {
    pub(super) fn read(written: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(written.clone()).ok().and_then(Self::of)
    }

    /// What names it (RFC 7638); `None` for kinds that proofs are not signed by.
    pub(super) fn thumbprint(&self) -> Option<String> {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let written = match &self.material {
            Material::P256(point) => {
                let (x, y) = point.get(1..)?.split_at_checked(32)?;
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, part(x), part(y))
            }
            Material::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, part(key)),
            Material::Rsa { .. } | Material::P384(_) => return None,
        };
        Some(part(&Sha256::digest(written)))
    }

    /// `None` for a key that is of no use here.
    fn of(written: Written) -> Option<Self> {
        if written.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        if written.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let fixed = |text: Option<String>, length: usize| bytes(text).filter(|bytes| bytes.len() == length);
        let point = |x: Option<String>, y: Option<String>, length: usize| {
            Some([&[4][..], &fixed(x, length)?, &fixed(y, length)?].concat())
        };
        let material = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => {
                Material::Rsa { n: without_leading_zeros(bytes(written.n)?), e: without_leading_zeros(bytes(written.e)?) }
            }
            ("EC", Some("P-256")) => Material::P256(point(written.x, written.y, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(written.x, written.y, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(fixed(written.x, 32)?),
            _ => return None,
        };
        let algorithm = match written.alg {
            None => None,
            Some(name) => Some(Algorithm::named(&name)?),
        };
        Some(Self { id: written.kid, algorithm, material })
    }

    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let fits = match &self.material {
            Material::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Material::P256(_) => algorithm == ES256,
            Material::P384(_) => algorithm == ES384,
            Material::Ed25519(_) => algorithm == EdDSA,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Only for an algorithm that the key is for; any other verifies nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let by = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(signed, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, algorithm) => {
                let parameters: &RsaParameters = match algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
                    Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (Material::P256(point), Algorithm::ES256) => by(&ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::ES384) => by(&ECDSA_P384_SHA384_FIXED, point),
            (Material::Ed25519(key), Algorithm::EdDSA) => by(&ED25519, key),
            _ => false,
        }
    }
}

/// Some issuers write numbers with a sign byte in front.
fn without_leading_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.drain(..zeros);
    bytes
}
