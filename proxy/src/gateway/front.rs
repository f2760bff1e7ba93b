//! What encryption changes for requests and answers: who is sent to the encrypted side, and what browsers
//! are told about it.

use std::net::SocketAddr;

use clearway_config::settings::process::TlsSettings;

use crate::acme::challenges;

/// The port that an https URL need not name.
const HTTPS_PORT: u16 = 443;

/// The rules, made of the settings.
#[derive(Debug)]
pub(crate) struct Front {
    redirect_to: Option<u16>,
    hsts: Option<String>,
}

impl Front {
    pub(crate) fn new(settings: &TlsSettings, encrypted: Option<SocketAddr>) -> Self {
        let port = settings.https_port.or(encrypted.map(|addr| addr.port()));
        Self {
            redirect_to: port.filter(|_| settings.https_redirect),
            hsts: settings.hsts.map(|life| format!("max-age={}", life.as_secs())),
        }
    }

    /// Where an unencrypted request is sent, if anywhere. An authority that looks for a challenge stays.
    pub(super) fn redirect(&self, host: &str, path: &str, query: Option<&str>) -> Option<String> {
        let port = self.redirect_to?;
        if path.starts_with(challenges::PATH) {
            return None;
        }
        let mut location = format!("https://{host}");
        if port != HTTPS_PORT {
            location.push_str(&format!(":{port}"));
        }
        location.push_str(path);
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }

    /// The value of Strict-Transport-Security, for answers over an encrypted connection (RFC 6797, 7.2).
    pub(super) fn hsts(&self) -> Option<&str> {
        self.hsts.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn front(redirect: bool, https_port: Option<u16>) -> Front {
        let settings =
            TlsSettings { https_redirect: redirect, https_port, hsts: Some(Duration::from_secs(60)), ..TlsSettings::default() };
        Front::new(&settings, Some(([127, 0, 0, 1], 8443).into()))
    }

    #[test]
    fn a_request_is_sent_to_the_same_place_at_the_encrypted_port() {
        let to = |port, query| front(true, port).redirect("a.test", "/x/y", query).unwrap();
        assert_eq!(to(None, Some("q=1&r")), "https://a.test:8443/x/y?q=1&r");
        assert_eq!(to(Some(443), None), "https://a.test/x/y");
        assert_eq!(front(false, None).redirect("a.test", "/", None), None);
    }

    #[test]
    fn a_challenge_is_not_redirected() {
        assert_eq!(front(true, None).redirect("a.test", "/.well-known/acme-challenge/x", None), None);
        assert!(front(true, None).redirect("a.test", "/.well-known/acme-challengex", None).is_some());
    }
}
