//! Certificates that control tells: read, and put among the others.
//!
//! Control has checked them. One that this machine cannot read, or whose host a file here has a certificate for, is said to be
//! refused; the file's is shown.

use std::sync::Arc;

use clearway_config::sync::v1::RefusedObject;
use parking_lot::Mutex;

use super::{
    certificate::Certificate,
    certificates::{Certificates, Origin},
};
use crate::snapshot::{CERTIFICATE, ToldCertificate};

/// What control has told last, by the names of its objects.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<Read>>);

#[derive(Debug)]
struct Read {
    told: Arc<ToldCertificate>,
    certificate: Result<Arc<Certificate>, String>,
}

impl Told {
    /// Shows these in the place of the last ones. One that has not changed is not read again.
    pub(super) fn follow(&self, told: Vec<Arc<ToldCertificate>>, certificates: &Certificates) {
        let mut held = self.0.lock();
        let unchanged = told.len() == held.len() && told.iter().zip(&*held).all(|(told, held)| Arc::ptr_eq(told, &held.told));
        if unchanged {
            return;
        }
        let read = |told: Arc<ToldCertificate>| {
            let known = held.iter().find(|held| Arc::ptr_eq(&told, &held.told));
            let certificate = known.map_or_else(
                || Certificate::from_pem(&told.chain, &told.key).map(Arc::new).map_err(|why| why.to_string()),
                |known| known.certificate.clone(),
            );
            if let Err(why) = &certificate {
                tracing::error!(certificate.name = told.name, why, "a certificate of the control plane cannot be shown");
            }
            Read { told, certificate }
        };
        *held = told.into_iter().map(read).collect();
        certificates.replace(Origin::Control, held.iter().filter_map(|read| read.certificate.clone().ok()).collect());
        tracing::info!(certificates = held.len(), "certificates of the control plane changed");
    }

    /// Those that are not shown for all of their hosts.
    pub(super) fn refused(&self, certificates: &Certificates) -> Vec<RefusedObject> {
        let held = self.0.lock();
        let refused = held.iter().filter_map(|read| {
            let reason = match &read.certificate {
                Err(why) => why.clone(),
                Ok(certificate) => {
                    let host = certificates.taken_by_files(certificate)?;
                    format!("a file of this gateway has a certificate for {host}")
                }
            };
            Some(RefusedObject { kind: CERTIFICATE.to_owned(), name: read.told.name.clone(), reason })
        });
        refused.collect()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::{metrics::Metrics, tls::testing::pem};

    fn told(name: &str, hosts: &[&str]) -> Arc<ToldCertificate> {
        let (chain, key) = pem(hosts);
        let key = Zeroizing::new(key.into_bytes());
        Arc::new(ToldCertificate { name: name.into(), chain: chain.into_bytes(), key })
    }

    #[test]
    fn a_file_comes_before_control_and_that_is_said() {
        let certificates = Certificates::new(Arc::new(Metrics::new()));
        let (chain, key) = pem(&["a.test"]);
        let file = Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap());
        certificates.replace(Origin::Files, vec![file.clone()]);
        let held = Told::default();
        let (both, wild) = (told("both", &["a.test", "b.test"]), told("wild", &["*.a.test"]));
        let keyless = Arc::new(ToldCertificate { name: "keyless".into(), chain: both.chain.clone(), key: Zeroizing::default() });
        held.follow(vec![both.clone(), keyless, wild.clone()], &certificates);
        assert!(Arc::ptr_eq(&certificates.find(Some("a.test")).unwrap(), &file));
        assert_eq!(certificates.find(Some("b.test")).unwrap().names().count(), 2);
        assert_eq!(certificates.find(Some("x.a.test")).unwrap().title(), "*.a.test");
        let refused = held.refused(&certificates);
        assert_eq!(refused.iter().map(|refused| refused.name.as_str()).collect::<Vec<_>>(), ["both", "keyless"]);
        assert!(refused[0].reason.ends_with("a.test"), "{refused:?}");

        let shown = certificates.find(Some("x.a.test")).unwrap();
        held.follow(vec![wild], &certificates);
        assert!(Arc::ptr_eq(&certificates.find(Some("x.a.test")).unwrap(), &shown), "not read again");
        assert!(Arc::ptr_eq(&certificates.find(Some("b.test")).unwrap(), &file), "the default: nobody else has it");
        assert!(held.refused(&certificates).is_empty());
    }
}
