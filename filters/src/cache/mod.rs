//! What a shared cache may keep and give out again (RFC 9111), decided: no storage, no clock.

mod directives;
#[cfg(test)]
mod tests;

use clearway_config::settings::gateway::policy::Cache;
use http::{
    HeaderMap, Method,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, EXPIRES, HeaderName, RANGE, SET_COOKIE, TRANSFER_ENCODING,
        VARY,
    },
};

use directives::{Directives, SECONDS_MAX, only, seconds};

/// Bytes of a header by which answers are told apart at most.
pub const KEYED_BYTES_MAX: usize = 256;
/// How long something out of date is given out at most.
const STALE_MAX_S: u64 = 24 * 3600;

/// What a request asks of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// An answer that has been asked for again since then, and no other.
    pub no_cache: bool,
    /// No older than this, seconds.
    pub max_age_s: Option<u64>,
    /// Good for at least so long.
    pub min_fresh_s: u64,
    /// Rather none than one from the upstream.
    pub only_if_cached: bool,
}

impl Asked {
    /// `None`: the request has nothing to do with a cache.
    pub fn read(method: &Method, headers: &HeaderMap, settings: &Cache) -> Option<Self> {
        // A part is asked of the upstream: it knows best which parts there are.
        let other = headers.contains_key(RANGE)
            || headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        let long = |name: &HeaderName| headers.get_all(name).iter().map(|v| v.len() + 2).sum::<usize>() > KEYED_BYTES_MAX;
        if !matches!(*method, Method::GET | Method::HEAD) || other || settings.headers.iter().any(long) {
            return None;
        }
        let said = Directives::read(headers);
        if said.no_store {
            return None;
        }
        Some(Self {
            no_cache: said.no_cache,
            max_age_s: said.max_age,
            min_fresh_s: said.min_fresh.unwrap_or(0),
            only_if_cached: said.only_if_cached,
        })
    }

    /// Whether an answer of this age, good for so much longer, does without asking the upstream.
    pub fn takes(&self, age_s: u64, fresh_for_s: u64) -> bool {
        !self.no_cache && self.max_age_s.is_none_or(|max| age_s <= max) && fresh_for_s >= self.min_fresh_s
    }
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// From when it was made on, seconds; more than its age.
    pub fresh_s: u64,
    /// How old it is already.
    pub age_s: u64,
    /// How long it may be given out beyond that: while it is asked for again, and while that fails.
    pub stale_while_revalidate_s: u64,
    pub stale_if_error_s: u64,
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// Of a status that is not kept.
    Status,
    /// It says so, or is for one client alone.
    Said,
    /// It sets cookies, is compressed, or may be another one for the next client in a way nobody can tell.
    Kind,
    /// It was made for somebody who is known, and does not say that others may have it.
    Known,
    /// It does not say for how long, or that is over.
    Fresh,
}

impl Unkept {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Said => "said",
            Self::Kind => "kind",
            Self::Known => "known",
            Self::Fresh => "fresh",
        }
    }
}

/// Whether an answer may be kept. `known`: the caller has shown a credential, of whatever kind (RFC 9111, 3.5). `now_s` is
/// seconds since 1970.
pub fn keep(settings: &Cache, status: u16, headers: &HeaderMap, known: bool, now_s: u64) -> Result<Keep, Unkept> {
    // An error is not worth keeping for longer than it lasts, whatever it says; these are no passing ones.
    if !matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 410) {
        return Err(Unkept::Status);
    }
    let said = Directives::read(headers);
    if said.no_store || said.no_cache || said.private {
        return Err(Unkept::Said);
    }
    let mut varied_by = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let varies = varied_by.any(|word| is_in_no_key(word.trim_ascii(), settings.shared));
    let encoded = headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if varies || encoded || headers.contains_key(SET_COOKIE) || headers.contains_key(CONTENT_RANGE) {
        return Err(Unkept::Kind);
    }
    let for_all = said.public || said.s_maxage.is_some();
    let by_default = settings.default_ttl.map(|ttl| ttl.as_secs()).filter(|_| status == 200 && !settings.shared);
    let stated = said.s_maxage.or(said.max_age).or_else(|| expires(headers, now_s));
    let allowed = match (settings.shared, known) {
        (true, _) => for_all,
        // Nobody but the caller itself gets it again. Must-revalidate says as much (RFC 9111, 3.5); and what says nothing
        // is kept on the operator's word.
        (false, true) => for_all || said.must_revalidate || (stated.is_none() && by_default.is_some()),
        (false, false) => true,
    };
    if !allowed {
        return Err(Unkept::Known);
    }
    let age_s = age(headers, now_s);
    let fresh_s = stated.or(by_default).ok_or(Unkept::Fresh)?.min(settings.ttl_max.as_secs());
    if fresh_s <= age_s {
        return Err(Unkept::Fresh);
    }
    // RFC 9111, 5.2.2.10: s-maxage means proxy-revalidate too.
    let stale = |seconds: Option<u64>| {
        let strict = said.must_revalidate || said.s_maxage.is_some();
        seconds.filter(|_| !strict).map_or(0, |seconds| seconds.min(STALE_MAX_S))
    };
    Ok(Keep {
        fresh_s,
        age_s,
        stale_while_revalidate_s: stale(said.stale_while_revalidate),
        stale_if_error_s: stale(said.stale_if_error),
    })
}

/// Whether answers that vary by this are told apart by nothing: by anything at all, or by what the gateway tells upstreams
/// of a request beside the headers of the client that are in the key.
fn is_in_no_key(varied_by: &[u8], shared: bool) -> bool {
    let of_request = [&b"*"[..], b"x-forwarded-for", b"x-request-id", b"traceparent"];
    let of_caller = varied_by.split_at_checked(11).is_some_and(|(start, _)| start.eq_ignore_ascii_case(b"x-clearway-"));
    of_request.iter().any(|name| varied_by.eq_ignore_ascii_case(name)) || (shared && of_caller)
}

/// Whether a header of an answer is kept with it. Others are of one hop, of one request, or are told anew each time.
pub fn is_kept(name: &str) -> bool {
    let one_hop = matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "age"
    );
    let one_request = matches!(
        name,
        "set-cookie"
            | "x-request-id"
            | "x-correlation-id"
            | "traceparent"
            | "tracestate"
            | "traceresponse"
            | "server-timing"
            | "cache-status"
            | "authentication-info"
            | "strict-transport-security"
    );
    !one_hop && !one_request && !["ratelimit", "x-ratelimit", "x-clearway"].iter().any(|start| name.starts_with(start))
}

/// Whether what a request of this method was answered may have changed what others are answered (RFC 9111, 4.4).
pub fn invalidates(method: &Method, status: u16) -> bool {
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    // A refusal has changed nothing; of a failure nobody knows.
    !safe && !(400..500).contains(&status)
}

/// RFC 9111, 4.2.1 and 5.3: what is no date is in the past.
fn expires(headers: &HeaderMap, now_s: u64) -> Option<u64> {
    if !headers.contains_key(EXPIRES) {
        return None;
    }
    let expires = only(headers, &EXPIRES).and_then(date).unwrap_or(0);
    Some(expires.saturating_sub(made(headers, now_s)).min(SECONDS_MAX))
}

/// RFC 9111, 4.2.3, as seen when the answer comes.
fn age(headers: &HeaderMap, now_s: u64) -> u64 {
    let apparent = now_s.saturating_sub(made(headers, now_s));
    // Of several the greatest.
    headers.get_all(AGE).iter().map(|age| seconds(age.as_bytes())).fold(apparent, u64::max).min(SECONDS_MAX)
}

fn made(headers: &HeaderMap, now_s: u64) -> u64 {
    only(headers, &DATE).and_then(date).map_or(now_s, |made| made.min(now_s))
}

fn date(text: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}
