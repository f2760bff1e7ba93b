//! Where a browser may be sent back to: which URIs a client may register, and whether a request names one of them.
//!
//! Character by character, with one exception: of a loopback address the port may differ, as programs on a person's own
//! machine listen where there is room (RFC 8252, 7.3; RFC 9700, 2.1).

use url::{Host, Url};

/// Redirect URIs of one client at most.
pub(super) const URIS_MAX: usize = 10;
/// Bytes of one at most.
pub(super) const URI_BYTES_MAX: usize = 1_000;

/// Why a URI cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("must have {URI_BYTES_MAX} bytes at most")]
    TooLong,
    #[error("must be an absolute URI, written as a browser would write it")]
    Malformed,
    #[error("must have no fragment")]
    Fragment,
    #[error("must have no user or password in it")]
    UserInfo,
    #[error("must be https, http on a loopback address, or a scheme of its own as com.example.app:/callback")]
    Scheme,
}

/// Checks a URI on its way into a registration. `native` is a client without a secret: a program on somebody's machine.
pub(super) fn check(text: &str, native: bool) -> Result<(), Unfit> {
    if text.len() > URI_BYTES_MAX {
        return Err(Unfit::TooLong);
    }
    // What a parser would smooth over is compared as it is written: then nothing may be there to smooth over.
    let plain =
        |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'}' | b'|' | b'*');
    let url = Url::parse(text).map_err(|_| Unfit::Malformed)?;
    if !text.bytes().all(plain) || url.cannot_be_a_base() {
        return Err(Unfit::Malformed);
    }
    if text.contains('#') {
        return Err(Unfit::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        return Err(Unfit::UserInfo);
    }
    let same = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    match url.scheme() {
        "https" if same && url.host().is_some() => Ok(()),
        "https" => Err(Unfit::Malformed),
        "http" if same && is_loopback(&url) => Ok(()),
        // A domain of one's own, turned around (RFC 8252, 7.1): no scheme that a browser runs has a dot in it.
        scheme if native && scheme.contains('.') && text.starts_with(scheme) => Ok(()),
        _ => Err(Unfit::Scheme),
    }
}

/// Whether `asked` is one of those that were registered.
pub(super) fn is_registered(registered: &[String], asked: &str) -> bool {
    registered.iter().any(|uri| uri == asked || differs_by_port(uri, asked))
}

/// What a browser may be sent to, as a source of `form-action`: its origin, or its scheme.
pub(super) fn origin(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization(),
        Ok(url) => format!("{}:", url.scheme()),
        Err(_) => "'none'".to_owned(),
    }
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("//").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Only of addresses: what `localhost` leads to is for a resolver to say.
fn differs_by_port(registered: &str, asked: &str) -> bool {
    let rest_of = |text: &str| -> Option<(String, String)> {
        let (host, rest) = ["http://127.0.0.1", "http://[::1]"]
            .into_iter()
            .find_map(|host| text.strip_prefix(host).map(|rest| (host.to_owned(), rest)))?;
        let rest = match rest.strip_prefix(':') {
            Some(after) => {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                after[..digits].parse::<u16>().ok()?;
                &after[digits..]
            }
            None => rest,
        };
        rest.starts_with('/').then(|| (host, rest.to_owned()))
    };
    asked.len() <= URI_BYTES_MAX && rest_of(registered).is_some_and(|known| rest_of(asked) == Some(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_plainly_and_leads_to_one_place_can_be_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example:8443/cb?x=1",
            "http://127.0.0.1/cb",
            "http://[::1]:8000/cb",
            "http://localhost:3000/cb",
            "https://app.example",
        ] {
            assert_eq!(check(good, false), Ok(()), "{good}");
        }
        assert_eq!(check("com.example.app:/cb", true), Ok(()));
        for bad in [
            "",
            "/cb",
            "//app.example/cb",
            "http://app.example/cb",
            "https://app.example/cb#",
            "https://app.example/cb#x",
            "https://user@app.example/cb",
            "https://@app.example/cb",
            "https://app.example\\@evil.example/cb",
            "https://*.app.example/cb",
            "https://app.example/c b",
            "https://app.example/../cb",
            "HTTPS://app.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "com.example.app:/cb",
            "https:app.example/cb",
            "https://APP.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://2130706433/cb",
            "https://app.example/cb\n",
            "ftp://app.example/",
        ] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check("javascript:alert(1)", true).is_err() && check("app:/cb", true).is_err());
    }

    #[test]
    fn a_redirect_is_matched_character_by_character_but_for_a_loopback_port() {
        let registered = ["https://app.example/cb".to_owned(), "http://127.0.0.1:8000/cb".to_owned()];
        assert!(is_registered(&registered, "https://app.example/cb"));
        assert!(is_registered(&registered, "http://127.0.0.1:53111/cb") && is_registered(&registered, "http://127.0.0.1/cb"));
        for wrong in [
            "https://app.example/cb/",
            "https://app.example/cb?x",
            "https://app.example/CB",
            "https://app.example:443/cb",
            "https://app.example.evil.example/cb",
            "https://app.example/cb/../evil",
            "https://app.example/cb%2f",
            "http://app.example/cb",
            "http://127.0.0.1:8000@evil.example/cb",
            "http://127.0.0.1:8000/cb/x",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:/cb",
            "http://localhost:8000/cb",
            "http://127.0.0.10/cb",
            "https://127.0.0.1:8000/cb",
        ] {
            assert!(!is_registered(&registered, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_page_may_send_its_form_where_the_answer_goes() {
        assert_eq!(origin("https://app.example:8443/cb"), "https://app.example:8443");
        assert_eq!(origin("com.example.app:/cb"), "com.example.app:");
    }
}
