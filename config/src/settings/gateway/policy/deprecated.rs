//! Saying in every answer that a version is going to end: Deprecation (RFC 9745), Sunset and its link (RFC 8594).

use http::{HeaderName, HeaderValue, header::LINK};
use jiff::{Timestamp, civil::Date, fmt::rfc2822, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::settings::fault::{Fault, Within as _};

const LINK_CHARS_MAX: usize = 1024;
const VERSION_CHARS_MAX: usize = 64;

/// A deprecation as it is written. Dates are `2026-12-31`, midnight UTC, or `2026-12-31T23:59:59Z`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeprecatedSpec {
    /// Since when it is not to be used any more, or from when on.
    pub since: String,
    /// When it stops to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<String>,
    /// A page that says more, `https://` or `http://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What this version is called; said as `X-API-Version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A deprecation, checked, as the headers that say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecated {
    /// In the place of the upstream's own.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Besides the upstream's own.
    pub link: Option<HeaderValue>,
}

impl Deprecated {
    pub const LINK: HeaderName = LINK;
}

impl DeprecatedSpec {
    pub(super) fn resolve(&self) -> Result<Deprecated, Fault> {
        let since = moment(&self.since).within("since")?;
        let mut set = vec![(HeaderName::from_static("deprecation"), value(format!("@{}", since.as_second()))?)];
        if let Some(text) = &self.sunset {
            let sunset = moment(text).within("sunset")?;
            if sunset < since {
                return Err(Fault::at("sunset", "is before `since`"));
            }
            let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&sunset);
            set.push((HeaderName::from_static("sunset"), value(date.map_err(|e| Fault::at("sunset", e.to_string()))?)?));
        }
        if let Some(version) = &self.version {
            let fits = (1..=VERSION_CHARS_MAX).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_graphic());
            if !fits {
                return Err(Fault::at("version", format!("must be 1 to {VERSION_CHARS_MAX} characters of ASCII without spaces")));
            }
            set.push((HeaderName::from_static("x-api-version"), value(version.clone())?));
        }
        Ok(Deprecated { set, link: self.link.as_deref().map(link).transpose().within("link")? })
    }
}

fn moment(text: &str) -> Result<Timestamp, Fault> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    // A time without a zone would be a guess; a date parses as one too, so that it is tried first by its length.
    let moment = if text.len() == "2026-12-31".len() { day() } else { text.parse().ok() };
    moment.ok_or_else(|| Fault::new("must be a date such as 2026-12-31, or a time such as 2026-12-31T23:59:59Z"))
}

fn link(url: &str) -> Result<HeaderValue, Fault> {
    let fits = (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= LINK_CHARS_MAX
        && url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\'));
    if !fits {
        return Err(Fault::new(format!("must be a URL with https:// or http://, of at most {LINK_CHARS_MAX} characters")));
    }
    value(format!("<{url}>; rel=\"deprecation\"; type=\"text/html\""))
}

fn value(text: String) -> Result<HeaderValue, Fault> {
    HeaderValue::try_from(text).map_err(|_| Fault::new("cannot be said in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(since: &str, sunset: Option<&str>) -> DeprecatedSpec {
        DeprecatedSpec { since: since.into(), sunset: sunset.map(str::to_owned), ..DeprecatedSpec::default() }
    }

    #[test]
    fn dates_become_what_the_standards_ask_for() {
        let mut spec = spec("2024-06-30T23:59:59Z", Some("2025-12-31"));
        spec.link = Some("https://example.com/v1-ends".into());
        spec.version = Some("v1".into());
        let deprecated = spec.resolve().unwrap();
        let said: Vec<_> = deprecated.set.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(said, [("deprecation", "@1719791999"), ("sunset", "Wed, 31 Dec 2025 00:00:00 GMT"), ("x-api-version", "v1")]);
        assert_eq!(deprecated.link.unwrap(), "<https://example.com/v1-ends>; rel=\"deprecation\"; type=\"text/html\"");
    }

    #[test]
    fn what_is_no_moment_or_no_link_is_refused() {
        for since in ["", "soon", "2024-13-01", "2024-06-30T10:00:00", "30.6.2024"] {
            assert!(spec(since, None).resolve().is_err(), "{since}");
        }
        assert_eq!(spec("2024-06-30", Some("2024-06-29")).resolve().unwrap_err().to_string(), "sunset: is before `since`");
        for bad in ["example.com", "https://a>; rel=x", "https://a\r\n"] {
            let spec = DeprecatedSpec { link: Some(bad.into()), ..spec("2024-06-30", None) };
            assert!(spec.resolve().is_err(), "{bad}");
        }
    }
}
