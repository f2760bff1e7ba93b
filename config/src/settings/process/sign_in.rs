//! `[sign_in]`: where else people may show who they are. Each provider is a table of its own, `[sign_in.providers.NAME]`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// Providers at most.
pub const PROVIDERS_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 32;
const WORD_CHARS_MAX: usize = 512;
const SCOPES_MAX: usize = 16;
const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://github.com";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInSettings {
    /// By the name that is in their addresses here.
    pub providers: BTreeMap<String, ProviderSettings>,
}

/// A provider, of which `issuer` or `preset` says what it speaks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// What people read; empty is the name.
    pub title: String,
    /// Of a provider that speaks OpenID Connect: its issuer, letter by letter. `https://`, or `http://` on this machine.
    pub issuer: String,
    /// In place of `issuer`.
    pub preset: Option<Preset>,
    /// A GitHub of one's own, `https://host`; empty is github.com.
    pub github_url: String,
    /// What Clearway is called there.
    pub client_id: String,
    /// A file whose one line is the client's secret. The environment's `CLEARWAY_SIGN_IN_NAME_SECRET` comes first.
    pub client_secret_file: Option<PathBuf>,
    /// Asked for beside what takes to learn who somebody is.
    pub scopes: Vec<String>,
    /// Authorities (PEM) that the provider's certificate is verified by, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A provider that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// OAuth 2.0 with an API of its own.
    GitHub,
    /// OpenID Connect.
    Google,
}

/// What a provider speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// By discovery at this issuer.
    OpenId(String),
    /// At this site, without a `/` at its end.
    GitHub(String),
}

impl ProviderSettings {
    /// As far as it has been checked.
    pub fn speaks(&self) -> Speaks {
        match self.preset {
            None => Speaks::OpenId(self.issuer.clone()),
            Some(Preset::Google) => Speaks::OpenId(GOOGLE.into()),
            Some(Preset::GitHub) if self.github_url.is_empty() => Speaks::GitHub(GITHUB.into()),
            Some(Preset::GitHub) => Speaks::GitHub(self.github_url.trim_end_matches('/').to_owned()),
        }
    }

    /// The environment variable that the secret of a provider of this name comes from.
    pub fn secret_variable(name: &str) -> String {
        format!("CLEARWAY_SIGN_IN_{}_SECRET", name.to_ascii_uppercase().replace('-', "_"))
    }

    fn fault(&self) -> Option<&'static str> {
        let word = |text: &str| !text.is_empty() && text.len() <= WORD_CHARS_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        if self.issuer.is_empty() == self.preset.is_none() {
            return Some("needs issuer or preset, and not both");
        }
        let issuer_fits = self.issuer.is_empty() || word(&self.issuer) && is_safe(&self.issuer);
        if !issuer_fits {
            return Some("issuer must begin with https://, or with http:// and a loopback address, without ? or #");
        }
        if !self.github_url.is_empty() {
            if self.preset != Some(Preset::GitHub) {
                return Some("github_url is for preset = \"github\" only");
            }
            if !(word(&self.github_url) && is_safe(&self.github_url)) {
                return Some("github_url must begin with https://, or with http:// and a loopback address, without ? or #");
            }
        }
        if !word(&self.client_id) {
            return Some("needs client_id, of 1 to 512 visible characters");
        }
        if self.scopes.len() > SCOPES_MAX || !self.scopes.iter().all(|scope| word(scope)) {
            return Some("scopes must be at most 16, each of visible characters");
        }
        if self.title.chars().count() > 64 || self.title.contains(char::is_control) {
            return Some("title must be at most 64 characters");
        }
        None
    }
}

impl SignInSettings {
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        const KEY: &str = "sign_in.providers";
        if self.providers.len() > PROVIDERS_MAX {
            return Some((KEY, format!("must be at most {PROVIDERS_MAX}")));
        }
        self.providers.iter().find_map(|(name, provider)| {
            let named = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !named || name.is_empty() || name.len() > NAME_CHARS_MAX {
                return Some((KEY, format!("a name must be 1 to {NAME_CHARS_MAX} of a-z, 0-9 and -: {name}")));
            }
            provider.fault().map(|why| (KEY, format!("{name}: {why}")))
        })
    }
}

/// Whether secrets may go there: encrypted, or not beyond this machine.
fn is_safe(url: &str) -> bool {
    if url.contains(['?', '#', '@']) {
        return false;
    }
    if let Some(rest) = url.strip_prefix("https://") {
        return !rest.is_empty() && !rest.starts_with('/');
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some(port) = authority.strip_prefix("[::1]") {
        return port.is_empty() || port.starts_with(':');
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<String> {
        let settings: SignInSettings = toml::from_str(text).unwrap();
        settings.fault().map(|(_, why)| why)
    }

    #[test]
    fn a_provider_is_named_by_its_issuer_or_by_a_preset() {
        let good = "[providers.google]\npreset = \"google\"\nclient_id = \"x\"\n[providers.idp]\nissuer = \"https://id.example.com\"\nclient_id = \"y\"";
        assert_eq!(fault(good), None);
        let settings: SignInSettings = toml::from_str(good).unwrap();
        assert_eq!(settings.providers["google"].speaks(), Speaks::OpenId(GOOGLE.into()));
        assert_eq!(ProviderSettings::secret_variable("my-idp"), "CLEARWAY_SIGN_IN_MY_IDP_SECRET");
        for (text, says) in [
            ("[providers.x]\nclient_id = \"x\"", "not both"),
            ("[providers.x]\nclient_id = \"x\"\npreset = \"google\"\nissuer = \"https://id.example.com\"", "not both"),
            ("[providers.x]\npreset = \"google\"", "client_id"),
            ("[providers.X]\npreset = \"google\"\nclient_id = \"x\"", "a name must be"),
            ("[providers.x]\npreset = \"google\"\nclient_id = \"x\"\ngithub_url = \"https://github.example.com\"", "only"),
        ] {
            assert!(fault(text).unwrap().contains(says), "{text}");
        }
    }

    #[test]
    fn a_secret_goes_nowhere_in_clear() {
        let issuer = |url: &str| fault(&format!("[providers.x]\nclient_id = \"x\"\nissuer = \"{url}\"")).is_none();
        for good in [
            "https://id.example.com",
            "https://id.example.com/realms/a",
            "http://127.0.0.1:8080",
            "http://[::1]:9",
            "http://localhost",
        ] {
            assert!(issuer(good), "{good}");
        }
        for bad in [
            "http://id.example.com",
            "http://127.0.0.1@id.example.com",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://",
            "https:///x",
            "https://a?b",
        ] {
            assert!(!issuer(bad), "{bad}");
        }
    }
}
