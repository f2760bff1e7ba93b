//! The public key of a passkey (RFC 9052, RFC 9053), as far as signatures by it are taken: ES256, EdDSA and RS256.

use ciborium::Value;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};

use super::ceremony::Fault;

/// IANA's COSE algorithms, in the order in which they are preferred.
pub(super) const ALGORITHMS: [i64; 3] = [-8, -7, -257];
/// How deep CBOR may be nested.
const DEPTH_MAX: usize = 8;

/// A key that verifies.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// An uncompressed point: 4, x, y.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// The next item of CBOR (RFC 8949), which is then taken off `bytes`.
pub(super) fn item(bytes: &mut &[u8]) -> Result<Value, Fault> {
    ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH_MAX).map_err(|_| Fault::Malformed("CBOR"))
}

/// A map's only value under a name that is a number or text.
pub(super) fn member<'v>(map: &'v Value, name: &Value) -> Option<&'v Value> {
    let mut found = map.as_map()?.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (found, None) => found,
        // Of two, two readers could choose differently.
        (_, Some(_)) => None,
    }
}

impl Key {
    pub(super) fn of(cose: &Value) -> Result<Self, Fault> {
        let at = |label: i64| member(cose, &Value::from(label));
        let number = |label| at(label).and_then(Value::as_integer).and_then(|number| i64::try_from(number).ok());
        let bytes = |label| at(label).and_then(Value::as_bytes).cloned();
        let fixed = |label| bytes(label).filter(|bytes| bytes.len() == 32);
        let key = match (number(1), number(3), number(-1)) {
            (Some(2), Some(-7), Some(1)) => fixed(-2).zip(fixed(-3)).map(|(x, y)| Self::P256([&[4][..], &x, &y].concat())),
            (Some(1), Some(-8), Some(6)) => fixed(-2).map(Self::Ed25519),
            (Some(3), Some(-257), None) => bytes(-1).zip(bytes(-2)).map(|(n, e)| Self::Rsa { n, e }),
            _ => None,
        };
        key.ok_or(Fault::Key)
    }

    /// From what is stored.
    pub(super) fn read(mut cose: &[u8]) -> Result<Self, Fault> {
        Self::of(&item(&mut cose)?)
    }

    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let verified = match self {
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature),
        };
        verified.map_err(|_| Fault::Signature)
    }
}
