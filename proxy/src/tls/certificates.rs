//! All certificates, found by the name a client asks for.
//!
//! A look-up costs two hash look-ups at most, however many certificates there are, and takes no lock.
//! The set is replaced whole: a handshake sees the old one or the new one. Connections that stand keep
//! what they were shown.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Certificate;
use crate::metrics::Metrics;

/// Who gave a certificate. For a name that several gave one for, the first of these is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The settings' files.
    Files,
    /// The control plane.
    Control,
    /// An ACME authority.
    Acme,
    /// Made on this machine, for nothing but trying it out.
    SelfSigned,
}

const ORIGINS: usize = 4;

/// The certificates that clients can be shown.
#[derive(Debug)]
pub struct Certificates {
    index: ArcSwap<Index>,
    given: Mutex<[Vec<Arc<Certificate>>; ORIGINS]>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Index {
    exact: HashMap<Box<str>, Arc<Certificate>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
}

impl Certificates {
    /// Without any: every handshake fails until one is given.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { index: ArcSwap::default(), given: Mutex::default(), metrics }
    }

    /// Replaces all certificates of one origin. The first certificate of the first origin is what a client
    /// gets that asks for no name, or for one that nobody gave a certificate for.
    pub fn replace(&self, origin: Origin, certificates: Vec<Arc<Certificate>>) {
        // Held while the index is stored, so that two replacements cannot overtake each other.
        let mut given = self.given.lock();
        given[origin as usize] = certificates;
        self.metrics.encryption.certificates_went();
        self.index.store(Arc::new(Index::of(given.iter().flatten())));
    }

    /// The first host of `certificate` for which this machine's files have given one, which comes first.
    pub(crate) fn taken_by_files(&self, certificate: &Certificate) -> Option<String> {
        let given = self.given.lock();
        let files = || given[Origin::Files as usize].iter().flat_map(|file| file.names());
        certificate.names().find(|name| files().any(|taken| taken == *name)).map(str::to_owned)
    }

    /// The certificate for a name in any case, or the default.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Arc<Certificate>> {
        self.index.load().find(name).cloned()
    }

    /// Writes each certificate's days to expiry into its gauge.
    pub(crate) fn observe(&self, now_s: i64) {
        let given = self.given.lock();
        self.metrics.encryption.certificates(given.iter().flatten().map(|c| (c.title(), days(c.not_after_s() - now_s))));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of days needs no precision of seconds in aeons")]
fn days(seconds: i64) -> f64 {
    seconds as f64 / 86_400.0
}

impl Index {
    fn of<'c>(certificates: impl Iterator<Item = &'c Arc<Certificate>>) -> Self {
        let mut index = Self::default();
        for certificate in certificates {
            index.default.get_or_insert_with(|| certificate.clone());
            for name in certificate.names() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut index.wildcard, parent),
                    None => (&mut index.exact, name),
                };
                map.entry(name.into()).or_insert_with(|| certificate.clone());
            }
        }
        index
    }

    fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let Some(name) = name else { return self.default.as_ref() };
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let by_parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(name).or_else(by_parent).or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(|certificate| certificate.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::pem;

    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let (chain, key) = pem(names);
        Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap())
    }

    #[test]
    fn the_exact_name_comes_before_the_wildcard_and_the_wildcard_before_the_default() {
        let certificates = Certificates::new(Arc::new(Metrics::new()));
        assert!(certificates.find(Some("a.test")).is_none());
        let (first, wild, exact) = (certificate(&["first.test"]), certificate(&["*.b.test"]), certificate(&["x.b.test"]));
        certificates.replace(Origin::Files, vec![first.clone(), wild.clone(), exact.clone()]);
        for (name, expected) in [
            (Some("x.b.test"), &exact),
            (Some("X.B.test"), &exact),
            (Some("y.b.test"), &wild),
            (Some("y.x.b.test"), &first),
            (Some("b.test"), &first),
            (Some("nobody"), &first),
            (None, &first),
        ] {
            assert!(Arc::ptr_eq(&certificates.find(name).unwrap(), expected), "{name:?}");
        }
    }

    #[test]
    fn an_origin_is_replaced_whole_and_leaves_the_others() {
        let certificates = Certificates::new(Arc::new(Metrics::new()));
        let (file, acme, later) = (certificate(&["a.test"]), certificate(&["a.test", "b.test"]), certificate(&["b.test"]));
        certificates.replace(Origin::Acme, vec![acme.clone()]);
        certificates.replace(Origin::Files, vec![file.clone()]);
        assert!(Arc::ptr_eq(&certificates.find(Some("a.test")).unwrap(), &file), "a file comes first");
        assert!(Arc::ptr_eq(&certificates.find(Some("b.test")).unwrap(), &acme));
        certificates.replace(Origin::Acme, vec![later.clone()]);
        certificates.replace(Origin::Files, Vec::new());
        assert!(Arc::ptr_eq(&certificates.find(Some("a.test")).unwrap(), &later), "nothing of the old ones is left");
    }

    #[test]
    fn days_to_expiry_are_a_metric_and_that_of_a_certificate_that_went_goes() {
        let metrics = Arc::new(Metrics::new());
        let certificates = Certificates::new(metrics.clone());
        let first = certificate(&["a.test"]);
        certificates.replace(Origin::Files, vec![first.clone()]);
        certificates.observe(first.not_after_s() - 3 * 86_400);
        assert!(
            metrics.render().contains("clearway_certificate_expiry_days{certificate=\"a.test\"} 3\n"),
            "{}",
            metrics.render()
        );
        certificates.replace(Origin::Files, vec![certificate(&["b.test"])]);
        certificates.observe(0);
        assert!(!metrics.render().contains("a.test"));
    }
}
