//! Where a webhook may be posted to, as far as that can be said of the URL alone.
//!
//! A name's addresses are not looked up here: they are vetted by the proxy that connects, at every attempt. What is refused
//! here could never be posted to, and whoever sets it shall learn of it at once.

use std::net::{IpAddr, Ipv4Addr};

use clearway_config::settings::process::EgressSettings;
use clearway_filters::address::{Guard, Refused};
use url::{Host, Url};

/// Characters of a URL at most.
pub(super) const URL_CHARS_MAX: usize = 2_048;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlFault {
    #[error("must be a URL such as https://example.com/webhooks")]
    Malformed,
    #[error("must have at most {URL_CHARS_MAX} characters")]
    Long,
    #[error("must begin with https://")]
    Scheme,
    #[error("must begin with https://: egress.allow_http is off")]
    Http,
    #[error("must not hold a user name or a password; use authorization")]
    UserInfo,
    #[error("must not have a fragment")]
    Fragment,
    #[error("names port {0}, which egress.ports does not allow")]
    Port(u16),
    #[error("names {0}, which is not a public address, and not in egress.allow")]
    Private(String),
}

/// Reads a URL, and writes it as it will be used.
pub(super) fn read(text: &str, settings: &EgressSettings) -> Result<String, UrlFault> {
    if text.chars().count() > URL_CHARS_MAX {
        return Err(UrlFault::Long);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(UrlFault::Malformed);
    }
    let url = Url::parse(text).map_err(|_| UrlFault::Malformed)?;
    let is_https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(UrlFault::Scheme),
    };
    let guard = Guard::new(settings);
    let port = url.port_or_known_default().ok_or(UrlFault::Malformed)?;
    guard.check_origin(is_https, port).map_err(|refused| UrlFault::of(refused, &url))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlFault::Fragment);
    }
    let address = match url.host().ok_or(UrlFault::Malformed)? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        // RFC 6761, 6.3: never anything else than this machine.
        Host::Domain(name) if is_localhost(name) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Host::Domain(_) => None,
    };
    if let Some(address) = address {
        guard.check(address).map_err(|refused| UrlFault::of(refused, &url))?;
    }
    if url.as_str().len() > URL_CHARS_MAX { Err(UrlFault::Long) } else { Ok(url.into()) }
}

impl UrlFault {
    fn of(refused: Refused, url: &Url) -> Self {
        match refused {
            Refused::Scheme => Self::Http,
            Refused::Port(port) => Self::Port(port),
            Refused::Address(_) => Self::Private(url.host_str().unwrap_or_default().to_owned()),
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.len() > 10 && name[name.len() - 10..].eq_ignore_ascii_case(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EgressSettings {
        EgressSettings::default()
    }

    #[test]
    fn a_url_is_kept_as_it_will_be_used() {
        for (text, kept) in [
            ("https://example.com", "https://example.com/"),
            ("https://Example.com:443/a?b=c", "https://example.com/a?b=c"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ] {
            assert_eq!(read(text, &settings()).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_could_never_be_posted_to_is_refused_with_its_reason() {
        for (text, fault) in [
            ("", UrlFault::Malformed),
            ("example.com", UrlFault::Malformed),
            ("https://", UrlFault::Malformed),
            ("https://a b/", UrlFault::Malformed),
            ("https://a/\n", UrlFault::Malformed),
            ("ftp://example.com/", UrlFault::Scheme),
            ("http://example.com/", UrlFault::Http),
            ("https://me@example.com/", UrlFault::UserInfo),
            ("https://:secret@example.com/", UrlFault::UserInfo),
            ("https://example.com/#top", UrlFault::Fragment),
            ("https://example.com:0/", UrlFault::Port(0)),
        ] {
            assert_eq!(read(text, &settings()), Err(fault), "{text}");
        }
        assert_eq!(read(&format!("https://example.com/{}", "a".repeat(URL_CHARS_MAX)), &settings()), Err(UrlFault::Long));
        assert_eq!(read(&format!("https://example.com/{}", "ä".repeat(1_000)), &settings()), Err(UrlFault::Long));
    }

    #[test]
    fn an_address_that_is_not_public_is_refused_however_it_is_written() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::1]",
            "[2002:a00:1::]",
            "[2002:808:808::]",
            "[fc00::1]",
            "[fe80::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[2001::1]",
            "[100::1]",
            "[5f00::1]",
            "localhost",
            "a.LocalHost",
            "localhost.",
        ];
        for host in hosts {
            let refused = read(&format!("https://{host}/"), &settings());
            assert!(matches!(refused, Err(UrlFault::Private(_))), "{host}: {refused:?}");
        }
        for host in ["[64:ff9b::808:808]", "[::ffff:8.8.8.8]", "172.32.0.1", "100.128.0.1", "mylocalhost"] {
            assert!(read(&format!("https://{host}/"), &settings()).is_ok(), "{host}");
        }
    }

    #[test]
    fn settings_allow_ones_own_networks_ports_and_http() {
        let own = EgressSettings {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
            allow_http: true,
            ports: vec![443, 8443],
            ..EgressSettings::default()
        };
        for good in ["https://10.1.2.3/", "http://10.1.2.3:8443/", "https://localhost/"] {
            assert!(read(good, &own).is_ok(), "{good}");
        }
        assert_eq!(read("http://example.com/", &own), Err(UrlFault::Port(80)));
        assert!(matches!(read("https://192.168.1.1/", &own), Err(UrlFault::Private(_))));
        let wide = EgressSettings { allow: vec!["0.0.0.0/0".parse().unwrap()], ..EgressSettings::default() };
        assert!(matches!(read("https://169.254.169.254/", &wide), Err(UrlFault::Private(_))), "it takes an entry of its own");
    }
}
