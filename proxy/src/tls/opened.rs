//! All of TLS that a proxy holds, opened by its settings.

use std::{path::Path, sync::Arc};

use clearway_config::{
    settings::{Settings, process::GatewaySettings},
    sync::v1::RefusedObject,
};

use super::{
    acceptor::Acceptor,
    certificates::{Certificates, Origin},
    files::{TlsError, TlsFiles},
    self_signed,
    told::Told,
};
use crate::{
    acme::{Renewal, challenges::Challenges},
    gateway::now_s,
    metrics::Metrics,
    snapshot::ToldCertificate,
};

#[derive(Debug)]
pub(crate) struct Tls {
    certificates: Arc<Certificates>,
    files: TlsFiles,
    challenges: Arc<Challenges>,
    told: Told,
}

impl Tls {
    /// `None` where nothing is to be encrypted. What comes with it is to be run beside the requests.
    pub(crate) fn open(
        Settings { gateway: settings, egress, .. }: &Settings,
        data_dir: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<(Self, Option<Renewal>)>, TlsError> {
        if settings.tls_addr.is_none() && !egress.tls {
            return Ok(None);
        }
        require_certificates(settings)?;
        let certificates = Arc::new(Certificates::new(metrics.clone()));
        let files = TlsFiles::open(&settings.tls, certificates.clone(), metrics.clone(), now_s())?;
        if settings.tls.self_signed {
            let dir = data_dir.join("tls");
            let own = self_signed::open(&dir, now_s()).map_err(|source| TlsError::Unreadable { file: dir, source })?;
            certificates.replace(Origin::SelfSigned, vec![own]);
        }
        let challenges = Arc::<Challenges>::default();
        let renewal = settings
            .acme
            .clone()
            .map(|acme| Renewal::new(acme, &data_dir.join("acme"), certificates.clone(), challenges.clone(), metrics.clone()));
        certificates.observe(now_s());
        Ok(Some((Self { certificates, files, challenges, told: Told::default() }, renewal)))
    }

    /// Reads what the settings name and says what is wrong with it; serves nothing.
    pub(crate) fn check(Settings { gateway: settings, egress, .. }: &Settings) -> Result<(), TlsError> {
        if settings.tls_addr.is_none() && !egress.tls {
            return Ok(());
        }
        require_certificates(settings)?;
        super::files::check(&settings.tls, now_s())
    }

    /// Where the control plane's certificates go.
    pub(crate) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Shows control's certificates beside the others.
    pub(crate) fn follow_control(&self, told: Vec<Arc<ToldCertificate>>) {
        self.told.follow(told, &self.certificates);
    }

    /// What of control's certificates is not shown.
    pub(crate) fn refused(&self) -> Vec<RefusedObject> {
        self.told.refused(&self.certificates)
    }

    pub(crate) fn acceptor(&self) -> &Arc<Acceptor> {
        self.files.acceptor()
    }

    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Follows the files that changed; `asked` reads all in any case. Blocks while it does.
    pub(crate) fn follow(&self, asked: bool) {
        self.files.follow(asked, now_s());
    }
}

fn require_certificates(settings: &GatewaySettings) -> Result<(), TlsError> {
    let any =
        !settings.tls.certificates.is_empty() || settings.acme.is_some() || settings.tls.self_signed || settings.tls.from_control;
    if any { Ok(()) } else { Err(TlsError::Nothing) }
}
