//! Client certificates: whom a verified certificate of a TLS connection stands for.
//!
//! That a certificate is genuine is decided where the connection is; here it is only looked up.

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::{
    id::AccountId,
    scope::{SCOPES_MAX, Scope, Scopes},
    settings::fault::{Fault, Within as _},
};

/// Client certificates of all documents together at most.
pub const CLIENT_CERTIFICATES_MAX: usize = 10_000;
const SAN_CHARS_MAX: usize = 512;

/// A client certificate as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// The account that its holder acts for.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub account: AccountId,
    /// `sha256:` and the SHA-256 of the certificate (DER) in hexadecimal, with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// A subject alternative name instead: `spiffe://…`, `dns:…` or `email:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san: Option<String>,
    /// What its holder may do.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
}

/// A client certificate, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub name: String,
    pub account: AccountId,
    pub by: CertificateMark,
    pub scopes: Scopes,
}

/// What a certificate is recognised by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateMark {
    /// SHA-256 of the certificate.
    Fingerprint([u8; 32]),
    San(SubjectName),
}

/// A subject alternative name (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A URI, compared letter by letter: `spiffe://…`.
    Uri(String),
    /// In lower case.
    Dns(String),
    Email(String),
}

impl SubjectName {
    /// `dns:…`, `email:…`, or a URI.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > SAN_CHARS_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("must be at most 512 visible ASCII characters");
        }
        match text.split_once(':') {
            Some(("dns", name)) if name.contains('*') => Err("a wildcard would stand for whoever has such a name"),
            Some(("dns", name)) if !name.is_empty() => Ok(Self::Dns(name.to_ascii_lowercase())),
            Some(("email", name)) if !name.is_empty() => Ok(Self::Email(name.to_owned())),
            Some((scheme, rest)) if !scheme.is_empty() && rest.starts_with("//") && rest.len() > 2 => {
                Ok(Self::Uri(text.to_owned()))
            }
            _ => Err("must be dns:…, email:… or a URI such as spiffe://…"),
        }
    }
}

impl ClientCertificateSpec {
    pub fn resolve(&self) -> Result<ClientCertificate, Fault> {
        check_name(&self.name)?;
        if self.scopes.len() > SCOPES_MAX {
            return Err(Fault::at("scopes", format!("more than {SCOPES_MAX}")));
        }
        let by = match (&self.fingerprint, &self.san) {
            (Some(text), None) => {
                let bytes = fingerprint(text).ok_or_else(|| Fault::new("must be sha256: and 64 hexadecimal digits"));
                CertificateMark::Fingerprint(bytes.within("fingerprint")?)
            }
            (None, Some(text)) => CertificateMark::San(SubjectName::parse(text).map_err(Fault::new).within("san")?),
            _ => return Err(Fault::at("fingerprint", "either fingerprint or san")),
        };
        Ok(ClientCertificate { name: self.name.clone(), account: self.account, by, scopes: self.scopes.clone().into() })
    }
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.strip_prefix("sha256:")?.bytes().filter(|&b| b != b':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(fingerprint: Option<&str>, san: Option<&str>) -> ClientCertificateSpec {
        ClientCertificateSpec {
            name: "device".into(),
            account: AccountId::new(1, 2),
            fingerprint: fingerprint.map(str::to_owned),
            san: san.map(str::to_owned),
            scopes: Vec::new(),
        }
    }

    #[test]
    fn a_certificate_is_recognised_by_its_fingerprint_or_by_one_of_its_names() {
        let hex = "ab".repeat(32);
        let colons: Vec<_> = std::iter::repeat_n("AB", 32).collect();
        for text in [format!("sha256:{hex}"), format!("sha256:{}", colons.join(":"))] {
            assert_eq!(spec(Some(&text), None).resolve().unwrap().by, CertificateMark::Fingerprint([0xab; 32]));
        }
        for (text, name) in [
            ("spiffe://acme/billing", SubjectName::Uri("spiffe://acme/billing".into())),
            ("dns:Device.Acme.Example", SubjectName::Dns("device.acme.example".into())),
            ("email:a@b", SubjectName::Email("a@b".into())),
        ] {
            assert_eq!(spec(None, Some(text)).resolve().unwrap().by, CertificateMark::San(name));
        }
    }

    #[test]
    fn what_could_stand_for_more_than_one_is_refused() {
        let hex = "ab".repeat(32);
        for (fingerprint, san) in [
            (None, None),
            (Some(format!("sha256:{hex}")), Some("dns:a")),
            (Some(hex.clone()), None),
            (Some(format!("sha256:{}", &hex[..62])), None),
            (Some(format!("sha256:{}zz", &hex[..62])), None),
            (None, Some("dns:*.acme.example")),
            (None, Some("dns:")),
            (None, Some("acme")),
            (None, Some("spiffe://")),
        ] {
            assert!(spec(fingerprint.as_deref(), san).resolve().is_err(), "{fingerprint:?} {san:?}");
        }
    }
}
