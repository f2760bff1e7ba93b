//! Keeping answers, to give them out again (RFC 9111).

use std::time::Duration;

use bytesize::ByteSize;
use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::settings::{
    fault::{Fault, Within as _},
    size,
};

/// The longest body that is kept, unless said; and the longest that can be asked for.
pub const CACHE_SIZE_DEFAULT: u64 = 1 << 20;
pub const CACHE_SIZE_MAX: u64 = 64 << 20;
/// How long an answer is kept at most, unless said; and the longest that can be asked for.
const TTL_MAX_DEFAULT: Duration = Duration::from_secs(24 * 3600);
const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const LOCK_DEFAULT: Duration = Duration::from_secs(5);
const LOCK_MAX: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 16;

/// A cache as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Whether what an upstream calls `public`, or gives an `s-maxage`, is kept for all callers alike, and nothing else is
    /// kept. Otherwise each caller has answers of its own: what the same account, key, plan and subject were answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Request headers that upstreams see and by which answers are told apart: `accept` and `accept-language` unless
    /// said. Of a request that may be answered from the cache no others go to the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<String>>,
    /// The longest body that is kept: `1MiB` unless said, `64MiB` at most.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1MiB"))]
    #[serde(default, with = "size", skip_serializing_if = "Option::is_none")]
    pub size_max: Option<ByteSize>,
    /// How long a 200 is kept that says nothing about it: not at all unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "30s"))]
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<Duration>,
    /// How long anything is kept at most, whatever it says: `24h` unless said, `30d` at most.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "24h"))]
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub ttl_max: Option<Duration>,
    /// How long a request waits for another one that is fetching the same: `5s` unless said, `60s` at most.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "5s"))]
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Duration>,
}

/// A cache, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    pub shared: bool,
    /// In the order of their names.
    pub headers: Vec<HeaderName>,
    /// Bytes.
    pub size_max: u64,
    pub default_ttl: Option<Duration>,
    pub ttl_max: Duration,
    pub lock_timeout: Duration,
}

impl CacheSpec {
    pub(super) fn resolve(&self) -> Result<Cache, Fault> {
        let size_max = self.size_max.map_or(CACHE_SIZE_DEFAULT, |size| size.as_u64());
        if !(1..=CACHE_SIZE_MAX).contains(&size_max) {
            return Err(Fault::at("size_max", "must be at least 1B and at most 64MiB"));
        }
        let bounded = |key: &str, value: Option<Duration>, unless: Duration, max: Duration, text: &str| {
            let value = value.unwrap_or(unless);
            let fits = value >= Duration::from_secs(1) && value <= max;
            if fits { Ok(value) } else { Err(Fault::at(key, format!("must be at least 1s and at most {text}"))) }
        };
        let ttl_max = bounded("ttl_max", self.ttl_max, TTL_MAX_DEFAULT, TTL_MAX, "30d")?;
        if self.default_ttl.is_some_and(|ttl| ttl > ttl_max || ttl < Duration::from_secs(1)) {
            return Err(Fault::at("default_ttl", "must be at least 1s and at most `ttl_max`"));
        }
        Ok(Cache {
            shared: self.shared,
            headers: self.headers().within("headers")?,
            size_max,
            default_ttl: self.default_ttl,
            ttl_max,
            lock_timeout: bounded("lock_timeout", self.lock_timeout, LOCK_DEFAULT, LOCK_MAX, "60s")?,
        })
    }

    fn headers(&self) -> Result<Vec<HeaderName>, Fault> {
        let Some(names) = &self.headers else {
            return Ok(vec![http::header::ACCEPT, http::header::ACCEPT_LANGUAGE]);
        };
        if names.len() > HEADERS_MAX {
            return Err(Fault::new(format!("more than {HEADERS_MAX}")));
        }
        let mut headers = names.iter().enumerate().map(|(n, text)| header(text).within(n)).collect::<Result<Vec<_>, _>>()?;
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        Ok(headers)
    }
}

/// A header that a client may tell answers apart by. Others frame the message, choose a part of it, say what the cache
/// shall do, or are the gateway's own word.
fn header(text: &str) -> Result<HeaderName, Fault> {
    let name: HeaderName = text.parse().map_err(|_| Fault::new(format!("`{text}` is not a header's name")))?;
    let read = name.as_str().replace(['_', '.'], "-");
    let fixed = matches!(
        read.as_str(),
        "host"
            | "authorization"
            | "x-api-key"
            | "accept-encoding"
            | "cache-control"
            | "pragma"
            | "connection"
            | "keep-alive"
            | "content-length"
            | "transfer-encoding"
            | "te"
            | "trailer"
            | "upgrade"
            | "expect"
            | "range"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "forwarded"
    ) || ["x-clearway", "x-forwarded", "if-", "sec-websocket", "proxy-"].iter().any(|start| read.starts_with(start));
    if fixed { Err(Fault::new(format!("`{text}` cannot tell answers apart"))) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Cache, String> {
        toml::from_str::<CacheSpec>(text).unwrap().resolve().map_err(|fault| fault.to_string())
    }

    #[test]
    fn nothing_is_shared_and_nothing_guessed_unless_said() {
        let cache = resolve("").unwrap();
        assert!(!cache.shared && cache.default_ttl.is_none());
        assert_eq!((cache.size_max, cache.ttl_max.as_secs(), cache.lock_timeout.as_secs()), (1 << 20, 86_400, 5));
        assert_eq!(cache.headers, ["accept", "accept-language"]);
        assert_eq!(resolve(r#"headers = ["X-B", "x-a", "X-B"]"#).unwrap().headers, ["x-a", "x-b"]);
        assert!(resolve("headers = []").unwrap().headers.is_empty());
    }

    #[test]
    fn what_is_out_of_bounds_or_no_header_to_tell_answers_apart_is_refused() {
        for text in
            ["size_max = \"0B\"", "size_max = \"65MiB\"", "ttl_max = \"31d\"", "default_ttl = \"2d\"", "lock_timeout = \"2m\""]
        {
            assert!(resolve(text).is_err(), "{text}");
        }
        for name in ["Host", "X-Forwarded-Host", "x_forwarded_host", "Authorization", "Range", "If-None-Match", "X-Clearway-Plan"]
        {
            let error = resolve(&format!("headers = [\"{name}\"]")).unwrap_err();
            assert_eq!(error, format!("headers[0]: `{name}` cannot tell answers apart"));
        }
    }
}
