//! `clearway.toml`: where the processes listen, keep their data and find each other.

mod acme;
mod cache;
mod control;
mod egress;
mod gateway;
mod limits;
mod mail;
mod oauth;
mod observe;
mod redis;
mod sign_in;
mod signatures;
mod sync;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

pub use self::{
    acme::{AcmeSettings, DOMAINS_MAX},
    cache::CacheSettings,
    control::{ControlSettings, Registration},
    egress::EgressSettings,
    gateway::GatewaySettings,
    limits::{HEADERS_BOUND, LimitSettings},
    mail::MailSettings,
    oauth::{ClientRegistration, OauthSettings},
    observe::{AccessLogSettings, Field, HEADERS_MAX, MetricsSettings, Redaction, TracingSettings},
    redis::RedisSettings,
    sign_in::{PROVIDERS_MAX, Preset, ProviderSettings, SignInSettings, Speaks},
    signatures::SignatureSettings,
    sync::{Mode, SyncSettings, SyncTls},
    tls::{CertificateFiles, ClientCertificates, HSTS_MAX, TlsSettings, TlsVersion},
};
use super::{SettingsError, Source};

/// Both planes read the same file and take what concerns them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Holds the database, the ledger, the disk snapshot and the sync token. Relative to the working directory.
    pub data_dir: PathBuf,
    pub gateway: GatewaySettings,
    pub egress: EgressSettings,
    pub control: ControlSettings,
    pub mail: MailSettings,
    pub sign_in: SignInSettings,
    pub oauth: OauthSettings,
    pub sync: SyncSettings,
    pub redis: RedisSettings,
    pub metrics: MetricsSettings,
    pub access_log: AccessLogSettings,
    pub tracing: TracingSettings,
}

/// What a revoke may wait for beyond the auth lease of a proxy that cannot be heard.
const FENCE_WAIT_MORE: Duration = Duration::from_secs(5);

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            gateway: GatewaySettings::default(),
            egress: EgressSettings::default(),
            control: ControlSettings::default(),
            mail: MailSettings::default(),
            sign_in: SignInSettings::default(),
            oauth: OauthSettings::default(),
            sync: SyncSettings::default(),
            redis: RedisSettings::default(),
            metrics: MetricsSettings::default(),
            access_log: AccessLogSettings::default(),
            tracing: TracingSettings::default(),
        }
    }
}

impl Settings {
    /// The file's settings with paths made whole, or the defaults with `config/`'s file names where there is no file.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let source = Source::read(file)?;
        let mut settings: Self = source.parse()?;
        settings.check(&source)?;
        let beside = file.parent().unwrap_or(Path::new("."));
        settings.gateway.routes_file = beside.join(&settings.gateway.routes_file);
        settings.control.plans_file = beside.join(&settings.control.plans_file);
        let tls = &mut settings.gateway.tls;
        let certificates = tls.certificates.iter_mut().flat_map(|files| [&mut files.cert_file, &mut files.key_file]);
        let authority = settings.gateway.acme.iter_mut().filter_map(|acme| acme.ca_file.as_mut());
        let receivers = settings.egress.ca_file.as_mut();
        let redis = &mut settings.redis;
        let redis = [&mut redis.ca_file, &mut redis.password_file, &mut redis.sentinel_password_file].into_iter().flatten();
        let providers = settings.sign_in.providers.values_mut();
        let providers = providers.flat_map(|provider| [&mut provider.client_secret_file, &mut provider.ca_file]).flatten();
        for path in certificates.chain(&mut tls.client_ca_file).chain(authority).chain(receivers).chain(redis).chain(providers) {
            *path = beside.join(&*path);
        }
        Ok(settings)
    }

    /// `sync.token` unless a setting names another file.
    pub fn token_file(&self) -> PathBuf {
        let named = &self.sync.token_file;
        if named.as_os_str().is_empty() { self.data_dir.join("sync.token") } else { named.clone() }
    }

    /// `control/master.key` in the data directory unless a setting names another file.
    pub fn master_key_file(&self) -> PathBuf {
        let named = &self.control.master_key_file;
        if named.as_os_str().is_empty() { self.data_dir.join("control/master.key") } else { named.clone() }
    }

    /// `snapshot.key` in the proxy's data directory unless a setting names another file.
    pub fn snapshot_key_file(&self, proxy_dir: &Path) -> PathBuf {
        let named = &self.sync.snapshot_key_file;
        if named.as_os_str().is_empty() { proxy_dir.join("snapshot.key") } else { named.clone() }
    }

    /// Where the access log goes; `None` is standard output.
    pub fn access_log_file(&self) -> Option<PathBuf> {
        (self.access_log.file != Path::new("-")).then(|| self.data_dir.join(&self.access_log.file))
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let fault = |key: &str, message: &str| {
            Err(SettingsError {
                file: source.file.clone(),
                line: source.line_of_key(key),
                key: Some(key.into()),
                message: message.into(),
            })
        };
        if let Some((key, message)) = self
            .access_log
            .fault()
            .or_else(|| self.tracing.fault())
            .or_else(|| self.egress.fault().map(|(key, why)| (key, why.into())))
            .or_else(|| self.mail.fault().map(|(key, why)| (key, why.into())))
            .or_else(|| self.sign_in.fault())
            .or_else(|| self.oauth.fault().map(|(key, why)| (key, why.into())))
            .or_else(|| self.redis.fault().map(|(key, why)| (key, why.into())))
            .or_else(|| self.sync.fault().map(|(key, why)| (key, why.into())))
        {
            return fault(key, &message);
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.sync.auth_lease) {
            return fault("sync.auth_lease", "must be from 1s to 1h");
        }
        if self.control.request_timeout < self.sync.auth_lease + FENCE_WAIT_MORE {
            return fault("control.request_timeout", "must be at least 5s longer than sync.auth_lease: a revoke waits that long");
        }
        let forget = self.control.forget_proxies_after;
        // Much longer than any lease that may run.
        if !(Duration::from_secs(2 * 3600)..=Duration::from_secs(366 * 86_400)).contains(&forget) {
            return fault("control.forget_proxies_after", "must be from 2h to 366d");
        }
        if self.control.name.chars().count() > 100 || self.control.name.contains(char::is_control) {
            return fault("control.name", "must be at most 100 characters");
        }
        if self.gateway.threads > 1024 {
            return fault("gateway.threads", "must be at most 1024");
        }
        if let Some((key, message)) = self.gateway.fault() {
            return fault(key, message);
        }
        if !(1..=1000).contains(&self.control.database_connections) {
            return fault("control.database_connections", "must be from 1 to 1000");
        }
        let public = &self.control.public_url;
        if !(public.starts_with("http://") || public.starts_with("https://")) {
            return fault("control.public_url", "must begin with http:// or https://");
        }
        let url = &self.control.database_url;
        if !url.is_empty() && !self.control.database_url_file.as_os_str().is_empty() {
            return fault("control.database_url_file", "cannot stand beside database_url");
        }
        if !(url.is_empty() || url.starts_with("sqlite:") || url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return fault("control.database_url", "must begin with sqlite: or postgres://");
        }
        Ok(())
    }
}

impl Source {
    /// The line on which the last word of `key` is set; the section is not looked at, so this is a hint.
    fn line_of_key(&self, key: &str) -> Option<usize> {
        let word = key.rsplit('.').next()?;
        self.text().lines().position(|line| line.split('=').next().is_some_and(|k| k.trim() == word)).map(|n| n + 1)
    }
}
