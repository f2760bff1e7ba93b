//! The URL that a webhook is posted to, read once.

use std::sync::Arc;

use http::{HeaderValue, Uri, uri::Scheme};
use rustls::pki_types::ServerName;

/// Bytes of a URL at most.
const URL_BYTES_MAX: usize = 2_048;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MalformedUrl {
    #[error("it is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not a URL")]
    Unreadable,
    #[error("it begins with neither https:// nor http://")]
    Scheme,
    #[error("it carries user information")]
    UserInformation,
    #[error("it carries a fragment")]
    Fragment,
    #[error("its host is neither a name nor an address")]
    Host,
}

/// Who is connected to: what connections are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// A name in lower case, or an address without brackets.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    /// What the certificate must be for.
    pub(crate) server_name: ServerName<'static>,
    /// The value of Host.
    pub(crate) authority: HeaderValue,
    /// Path and query, as they are sent.
    pub(crate) path: Uri,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, MalformedUrl> {
        if url.len() > URL_BYTES_MAX {
            return Err(MalformedUrl::TooLong);
        }
        // The parser below drops it in silence.
        if url.contains('#') {
            return Err(MalformedUrl::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| MalformedUrl::Unreadable)?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(MalformedUrl::Scheme),
        };
        let authority = uri.authority().ok_or(MalformedUrl::Host)?;
        if authority.as_str().contains('@') {
            return Err(MalformedUrl::UserInformation);
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => {
                if https {
                    443
                } else {
                    80
                }
            }
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(MalformedUrl::Unreadable)?,
        };
        let host = authority.host().to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let server_name = ServerName::try_from(bare.to_owned()).map_err(|_| MalformedUrl::Host)?;
        let is_default = port == if https { 443 } else { 80 };
        let shown = if is_default { host.clone() } else { format!("{host}:{port}") };
        Ok(Self {
            origin: Origin { https, host: bare.into(), port },
            server_name,
            authority: HeaderValue::try_from(shown).map_err(|_| MalformedUrl::Host)?,
            path: uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whom_to_connect_to_and_what_to_ask_for() {
        for (url, https, host, port, authority, path) in [
            ("https://A.example/hook?x=1", true, "a.example", 443, "a.example", "/hook?x=1"),
            ("https://a.example:443", true, "a.example", 443, "a.example", "/"),
            ("http://a.example:8080/", false, "a.example", 8080, "a.example:8080", "/"),
            ("https://127.0.0.1:80/a", true, "127.0.0.1", 80, "127.0.0.1:80", "/a"),
            ("http://[::1]:81/", false, "::1", 81, "[::1]:81", "/"),
            ("http://[::1]/", false, "::1", 80, "[::1]", "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.origin, Origin { https, host: host.into(), port }, "{url}");
            assert_eq!((target.authority.to_str().unwrap(), target.path.to_string().as_str()), (authority, path), "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for (url, why) in [
            ("ftp://a.example/", MalformedUrl::Scheme),
            ("/hook", MalformedUrl::Scheme),
            ("https://user@a.example/", MalformedUrl::UserInformation),
            ("https://user:pass@a.example/", MalformedUrl::UserInformation),
            ("https://a.example/#x", MalformedUrl::Fragment),
            ("https://a b/", MalformedUrl::Unreadable),
            ("https://a.example:0/", MalformedUrl::Unreadable),
            ("https://a.example:99999/", MalformedUrl::Unreadable),
            ("https://-/", MalformedUrl::Host),
            (&format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX)), MalformedUrl::TooLong),
        ] {
            assert_eq!(Target::parse(url), Err(why), "{url}");
        }
    }
}
