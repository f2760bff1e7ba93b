//! Certificates and authorities from files: read at start, followed while running.
//!
//! Files are looked at every second and on SIGHUP. Each certificate is on its own: one that changed
//! and is right takes the place of its predecessor, one that is wrong is refused with one line in the
//! log, and the old one stays.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use clearway_config::settings::process::{CertificateFiles, ClientCertificates, TlsSettings};
use parking_lot::Mutex;

use super::{
    acceptor::Acceptor,
    certificate::{Certificate, CertificateError},
    certificates::{Certificates, Origin},
    config::{self, ClientRule},
};
use crate::metrics::Metrics;

/// Bytes in a file at most.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read")]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{file} {why}")]
    Certificate { file: PathBuf, why: CertificateError },
    #[error("{file} {why}")]
    ClientCa { file: PathBuf, why: &'static str },
    #[error(
        "gateway.tls_addr: no certificate for it, nor for egress.tls: set [[gateway.tls.certificates]], [gateway.acme] or gateway.tls.from_control"
    )]
    Nothing,
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
}

impl TlsError {
    /// The error and its cause.
    fn line(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

type Stamp = Option<(SystemTime, u64)>;

/// The files and what became of them.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    settings: TlsSettings,
    certificates: Arc<Certificates>,
    acceptor: Arc<Acceptor>,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Seen {
    certificates: Vec<SeenCertificate>,
    client_ca: Stamp,
}

#[derive(Debug)]
struct SeenCertificate {
    stamps: [Stamp; 2],
    certificate: Arc<Certificate>,
}

/// Reads everything and says what is wrong; a certificate that is not valid at `now_s` is.
pub(crate) fn check(settings: &TlsSettings, now_s: i64) -> Result<(), TlsError> {
    for files in &settings.certificates {
        let certificate = read_certificate(files)?;
        certificate.check_time(now_s).map_err(|why| TlsError::Certificate { file: files.cert_file.clone(), why })?;
    }
    let certificates = Arc::new(Certificates::new(Arc::new(Metrics::new())));
    config::server(settings.min_version, &client_rule(settings)?, certificates).map(|_| ())
}

impl TlsFiles {
    /// A certificate that has expired is served all the same: the other names, and plain clients, have done
    /// nothing wrong.
    pub(crate) fn open(
        settings: &TlsSettings,
        certificates: Arc<Certificates>,
        metrics: Arc<Metrics>,
        now_s: i64,
    ) -> Result<Self, TlsError> {
        let seen = Seen {
            certificates: settings
                .certificates
                .iter()
                .map(|files| Ok(SeenCertificate { stamps: stamps(files), certificate: Arc::new(read_certificate(files)?) }))
                .collect::<Result<_, TlsError>>()?,
            client_ca: settings.client_ca_file.as_deref().and_then(stamp),
        };
        for (seen, files) in seen.certificates.iter().zip(&settings.certificates) {
            if let Err(e) = seen.certificate.check_time(now_s) {
                tracing::error!(file = %files.cert_file.display(), error = %e, "certificate is served, and clients will refuse it");
            }
        }
        certificates.replace(Origin::Files, seen.certificates.iter().map(|seen| seen.certificate.clone()).collect());
        let config = config::server(settings.min_version, &client_rule(settings)?, certificates.clone())?;
        let acceptor = Acceptor::new(config, certificates.clone(), settings.client_certificates, metrics.clone());
        Ok(Self { settings: settings.clone(), certificates, acceptor: Arc::new(acceptor), seen: Mutex::new(seen), metrics })
    }

    pub(crate) fn acceptor(&self) -> &Arc<Acceptor> {
        &self.acceptor
    }

    /// Follows the files that changed; `asked` reads all in any case. Blocks while it does.
    pub(crate) fn follow(&self, asked: bool, now_s: i64) {
        let mut seen = self.seen.lock();
        self.follow_certificates(&mut seen, asked, now_s);
        self.follow_client_ca(&mut seen, asked);
        self.certificates.observe(now_s);
    }

    fn follow_certificates(&self, seen: &mut Seen, asked: bool, now_s: i64) {
        let mut changed = false;
        for (seen, files) in seen.certificates.iter_mut().zip(&self.settings.certificates) {
            let stamps = stamps(files);
            if stamps == seen.stamps && !asked {
                continue;
            }
            seen.stamps = stamps;
            let read = read_certificate(files).and_then(|certificate| {
                let timely = certificate.check_time(now_s);
                timely.map_err(|why| TlsError::Certificate { file: files.cert_file.clone(), why })?;
                Ok(certificate)
            });
            match read {
                Ok(certificate) => {
                    changed = true;
                    seen.certificate = Arc::new(certificate);
                    if !asked {
                        tracing::info!(certificate = seen.certificate.title(), "certificate changed");
                    }
                    self.metrics.encryption.certificate_reloaded(true);
                }
                Err(e) => {
                    tracing::error!(error = %e.line(), "certificate refused, the old one stays");
                    self.metrics.encryption.certificate_reloaded(false);
                }
            }
        }
        if changed {
            self.certificates.replace(Origin::Files, seen.certificates.iter().map(|seen| seen.certificate.clone()).collect());
        }
    }

    fn follow_client_ca(&self, seen: &mut Seen, asked: bool) {
        let Some(file) = &self.settings.client_ca_file else { return };
        let now = stamp(file);
        if now == seen.client_ca && !asked {
            return;
        }
        seen.client_ca = now;
        let read = client_rule(&self.settings)
            .and_then(|rule| config::server(self.settings.min_version, &rule, self.certificates.clone()));
        self.metrics.encryption.certificate_reloaded(read.is_ok());
        match read {
            Ok(config) => self.acceptor.replace(config),
            Err(e) => tracing::error!(error = %e.line(), "clients' authorities refused, the old ones stay"),
        }
    }
}

fn client_rule(settings: &TlsSettings) -> Result<ClientRule, TlsError> {
    let authorities = match &settings.client_ca_file {
        Some(file) if settings.client_certificates != ClientCertificates::Off => Some((file.clone(), read(file)?)),
        _ => None,
    };
    Ok(ClientRule { certificates: settings.client_certificates, authorities })
}

fn read_certificate(files: &CertificateFiles) -> Result<Certificate, TlsError> {
    let (chain, key) = (read(&files.cert_file)?, read(&files.key_file)?);
    Certificate::from_pem(&chain, &key).map_err(|why| TlsError::Certificate { file: files.cert_file.clone(), why })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { file: file.to_owned(), source };
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB")));
    }
    std::fs::read(file).map_err(unreadable)
}

fn stamps(files: &CertificateFiles) -> [Stamp; 2] {
    [stamp(&files.cert_file), stamp(&files.key_file)]
}

fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{authority_and_client, pem};

    struct Stand {
        _dir: tempfile::TempDir,
        settings: TlsSettings,
        certificates: Arc<Certificates>,
        files: TlsFiles,
    }

    fn write(files: &CertificateFiles, names: &[&str]) {
        let (chain, key) = pem(names);
        std::fs::write(&files.cert_file, chain).unwrap();
        std::fs::write(&files.key_file, key).unwrap();
    }

    fn stand() -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let files = |n: u8| CertificateFiles {
            cert_file: dir.path().join(format!("{n}.pem")),
            key_file: dir.path().join(format!("{n}.key")),
        };
        let settings = TlsSettings { certificates: vec![files(1), files(2)], ..TlsSettings::default() };
        write(&settings.certificates[0], &["one.test"]);
        write(&settings.certificates[1], &["two.test"]);
        let metrics = Arc::new(Metrics::new());
        let certificates = Arc::new(Certificates::new(metrics.clone()));
        let files = TlsFiles::open(&settings, certificates.clone(), metrics, now()).unwrap();
        Stand { _dir: dir, settings, certificates, files }
    }

    fn now() -> i64 {
        crate::gateway::now_s()
    }

    #[test]
    fn a_changed_certificate_is_followed_and_a_wrong_one_leaves_the_old_one_and_the_others() {
        let stand = stand();
        let [one, two] = &stand.settings.certificates[..] else { unreachable!("two are set") };
        let title = |name| stand.certificates.find(Some(name)).unwrap().title().to_owned();

        std::fs::write(&one.key_file, "no key").unwrap();
        write(two, &["two.test", "second.test"]);
        stand.files.follow(false, now());
        assert_eq!((title("one.test"), title("second.test")), ("one.test".into(), "two.test".into()));

        std::fs::remove_file(&one.cert_file).unwrap();
        stand.files.follow(false, now());
        assert_eq!(title("one.test"), "one.test");
        let refused = "clearway_certificate_reloads_total{result=\"refused\"} 2";
        assert!(stand.files.metrics.render().contains(refused), "{}", stand.files.metrics.render());

        write(one, &["new.test"]);
        stand.files.follow(false, now());
        assert_eq!(title("new.test"), "new.test");
        // A restart would not help a certificate that has run out while it was served.
        stand.files.follow(true, i64::MAX);
        assert_eq!(title("new.test"), "new.test");
    }

    #[test]
    fn a_check_names_the_file_and_what_is_wrong_with_it() {
        let stand = stand();
        let [one, _] = &stand.settings.certificates[..] else { unreachable!("two are set") };
        let why = |now_s| check(&stand.settings, now_s).unwrap_err().line();
        assert!(check(&stand.settings, now()).is_ok());
        assert!(why(i64::MAX).starts_with(&format!("{} expired at ", one.cert_file.display())), "{}", why(i64::MAX));
        let (chain, _) = pem(&["one.test"]);
        std::fs::write(&one.cert_file, chain).unwrap();
        assert_eq!(why(now()), format!("{} the key is not the certificate's", one.cert_file.display()));
        std::fs::remove_file(&one.key_file).unwrap();
        assert!(why(now()).starts_with(&format!("{} cannot be read: ", one.key_file.display())), "{}", why(now()));
    }

    #[test]
    fn authorities_that_cannot_be_used_are_refused() {
        let stand = stand();
        let file = stand.settings.certificates[0].cert_file.with_file_name("ca.pem");
        let settings = TlsSettings {
            client_certificates: ClientCertificates::Required,
            client_ca_file: Some(file.clone()),
            ..stand.settings.clone()
        };
        std::fs::write(&file, "").unwrap();
        let why = check(&settings, now()).unwrap_err().to_string();
        assert_eq!(why, format!("{} holds no certificate", file.display()));
        std::fs::write(&file, authority_and_client(Vec::new()).0).unwrap();
        assert!(check(&settings, now()).is_ok());
    }
}
