//! When the cache is asked, and what it is told. What may be kept is decided by [`clearway_filters::cache`]; where it is
//! kept is [`crate::cache`].
//!
//! On a route with a cache, upstreams see of a client's headers only those by which answers are told apart: nothing
//! that is not in the key can change what is kept under it. The cache is behind admission: what it answers was
//! allowed, charged and logged like all else.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clearway_config::{
    ErrorCode,
    settings::gateway::policy::{Cache as Settings, Edits},
};
use clearway_filters::cache::{self, Asked, Keep};
use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, TRANSFER_ENCODING},
};
use parking_lot::Mutex;
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, NoCacheReason, RespCacheable,
        RespCacheable::{Cacheable, Uncacheable},
    },
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{exchange::Exchange, now_s, texts::Word};
use crate::cache::Words;

static CREDENTIALS: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-api-key")];
/// Requests at the same time that are about to ask in the background.
const REVALIDATIONS_MAX: usize = 1024;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a request may have of the cache.
#[derive(Debug, Clone)]
pub(super) struct Caching {
    asked: Asked,
    key: CacheKey,
    /// Whether the end of the upstream's answer is marked, so that half of it is not taken for the whole.
    marked: bool,
}

/// Asks the cache, where the request's route has one and the request can be answered from it.
pub(super) fn begin(session: &mut Session, exchange: &mut Exchange) {
    let Some(policy) = exchange.route().map(|route| route.policy.clone()).filter(|_| !exchange.upgrade) else { return };
    let Some(settings) = &policy.cache else { return };
    if settings.shared && edits_of_account(exchange).is_some() {
        // The upstream is told something that others' requests do not say.
        return;
    }
    let request = session.req_header();
    let Some(asked) = Asked::read(&request.method, &request.headers, settings) else { return };
    // HTTP/2 need not say that there is one.
    if !exchange.background && !session.downstream_session.is_body_empty() {
        return;
    }
    let request = session.req_header();
    let asked = if exchange.background { Asked::default() } else { asked };
    // What is asked in the name of another request is kept under that one's key.
    let key = exchange.cache_key().unwrap_or_else(|| key(request, exchange, settings));
    let is_get = request.method == Method::GET;
    let cache = exchange.cache();
    let mut options = CacheOptionOverrides::default();
    options.wait_timeout = Some(settings.lock_timeout);
    // A HEAD is answered by what is there, and fetches nothing that others would wait for.
    let lock = is_get.then_some(cache.lock);
    session.cache.enable(cache.store, Some(cache.lru), Some(cache.predictor), lock, Some(options));
    session.cache.set_max_file_size_bytes(usize::try_from(settings.size_max).unwrap_or(usize::MAX));
    exchange.caching = Some(Box::new(Caching { asked, key, marked: false }));
}

/// What answers are told apart by.
fn key(request: &RequestHeader, exchange: &Exchange, settings: &Settings) -> CacheKey {
    let store = exchange.cache().store;
    let text = |word| exchange.texts.text(word).unwrap_or_default();
    let route = exchange.route().map_or("", |route| route.name.as_str());
    let target = exchange.target.as_deref().unwrap_or_else(|| request.raw_path());
    let host = request.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let authority = request.uri.authority().map_or("", |authority| authority.as_str());
    let mut words = Words::new(store, route, text(Word::Host), text(Word::Path))
        .and(route.as_bytes())
        .and(&exchange.definition().to_be_bytes())
        .and(exchange.upstream().map_or("", |upstream| upstream.name.as_str()).as_bytes())
        .and(&[u8::from(exchange.is_https())])
        // As they are sent on, spelling and port included: an upstream may repeat them in its answer.
        .and(host)
        .and(authority.as_bytes())
        .and(target);
    let caller = [Word::AccountId, Word::KeyId, Word::Plan, Word::Subject];
    for word in caller {
        words = words.and(if settings.shared { b"" } else { text(word).as_bytes() });
    }
    words = words.and(edits_of_account(exchange).map_or_else(String::new, |edits| format!("{edits:?}")).as_bytes());
    for name in told_apart_by(exchange, settings) {
        let values = request.headers.get_all(name);
        words = words.and(&(values.iter().count() as u64).to_be_bytes());
        for value in values {
            words = words.and(value.as_bytes());
        }
    }
    words.key(store)
}

/// What the caller's account has changed in its requests.
fn edits_of_account(exchange: &Exchange) -> Option<&Edits> {
    exchange.facts.account_policy.as_ref()?.request_headers.as_deref()
}

/// The client's headers that an upstream sees. Credentials among them where the route keeps them.
fn told_apart_by<'n>(exchange: &Exchange, settings: &'n Settings) -> impl Iterator<Item = &'n HeaderName> {
    let kept = exchange.route().is_some_and(|route| route.keep_credentials);
    settings.headers.iter().chain(if kept { &CREDENTIALS[..] } else { &[] })
}

impl Exchange {
    /// What its answer is kept under.
    pub(super) fn cache_key(&self) -> Option<CacheKey> {
        self.caching.as_ref().map(|caching| caching.key.clone())
    }
}

/// Nothing is kept of what is asked: a HEAD brings no body.
pub(super) fn missed(session: &mut Session) {
    if session.req_header().method == Method::HEAD {
        session.cache.disable(NoCacheReason::Custom("head"));
    } else {
        session.cache.cache_miss();
    }
}

/// Whether what was found does for this request.
pub(super) fn found(session: &Session, exchange: &Exchange, meta: &CacheMeta, fresh: bool) -> Option<ForcedFreshness> {
    let asked = exchange.caching.as_ref()?.asked;
    if !fresh {
        // To be asked for again, with a body that a HEAD does not bring.
        return (session.req_header().method == Method::HEAD).then_some(ForcedFreshness::ForceMiss);
    }
    let left = meta.fresh_until().duration_since(SystemTime::now()).unwrap_or_default();
    if asked.takes(meta.age().as_secs(), left.as_secs()) {
        return None;
    }
    let is_head = session.req_header().method == Method::HEAD;
    Some(if is_head { ForcedFreshness::ForceMiss } else { ForcedFreshness::ForceExpired })
}

/// Why a request that was not answered from the cache does not go on, if it does not.
pub(super) fn forbidden(exchange: &Exchange) -> Option<ErrorCode> {
    exchange.caching.as_ref().filter(|caching| caching.asked.only_if_cached).map(|_| ErrorCode::NotCached)
}

/// Takes off what could change an answer and is not in its key. Before the gateway's own words are put in.
pub(super) fn upstream_request(upstream: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    if exchange.caching.is_none() {
        return Ok(());
    }
    let Some(route) = exchange.route() else { return Ok(()) };
    let Some(settings) = &route.policy.cache else { return Ok(()) };
    let kept: Vec<&HeaderName> = told_apart_by(exchange, settings).chain(&[HOST, IF_NONE_MATCH, IF_MODIFIED_SINCE]).collect();
    let others: Vec<HeaderName> = upstream.headers.keys().filter(|name| !kept.contains(name)).cloned().collect();
    for name in &others {
        upstream.remove_header(name);
    }
    // It is kept as it is, and compressed for those who want it so.
    upstream.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
}

/// Whether an answer that is out of date is given out: while another request asks for it again, or because asking has
/// failed with this error.
pub(super) fn serves_stale(
    revalidations: &Revalidations,
    session: &Session,
    exchange: &mut Exchange,
    error: Option<&Error>,
) -> bool {
    let Some(error) = error else {
        // Who holds the lock is about to have it asked for again.
        return !session.cache.is_cache_lock_writer() || revalidations.put(session, exchange);
    };
    if let ErrorType::HTTPStatus(status) = error.etype() {
        exchange.attempts.answered(*status);
    }
    *error.esource() == ErrorSource::Upstream
}

/// Requests that ask again in the background, until Pingora has begun them. Found by the head that Pingora gives them,
/// which is that of the request in whose name they ask.
#[derive(Debug, Default)]
pub(crate) struct Revalidations(Mutex<HashMap<Bytes, Box<Exchange>>>);

impl Revalidations {
    fn put(&self, session: &Session, exchange: &Exchange) -> bool {
        let mut all = self.0.lock();
        let room = all.len() < REVALIDATIONS_MAX;
        if room {
            let mut shadow = exchange.shadow();
            shadow.caching.clone_from(&exchange.caching);
            all.insert(session.to_h1_raw(), Box::new(shadow));
        }
        room
    }

    pub(super) fn take(&self, session: &Session) -> Option<Box<Exchange>> {
        self.0.lock().remove(&session.to_h1_raw())
    }
}

/// Notes of an upstream's answer what is lost later.
pub(super) fn answered(answer: &ResponseHeader, exchange: &mut Exchange) {
    if let Some(caching) = &mut exchange.caching {
        let headers = &answer.headers;
        let framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        caching.marked = framed || answer.version == Version::HTTP_2 || matches!(answer.status.as_u16(), 204 | 304);
    }
}

/// Whether an upstream's answer is kept.
pub(super) fn keep(session: &Session, exchange: &Exchange, answer: &ResponseHeader) -> RespCacheable {
    let Some(caching) = exchange.caching.as_ref() else { return Uncacheable(NoCacheReason::NeverEnabled) };
    let Some(settings) = exchange.route().and_then(|route| route.policy.cache.as_ref()) else {
        return Uncacheable(NoCacheReason::Custom("route"));
    };
    if !caching.marked {
        return Uncacheable(NoCacheReason::Custom("unmarked"));
    }
    let now_s = u64::try_from(now_s()).unwrap_or(0);
    let known = exchange.facts.account.is_some() || session.req_header().headers.contains_key(AUTHORIZATION);
    match cache::keep(settings, answer.status.as_u16(), &answer.headers, known, now_s) {
        Ok(keep) if session.cache.maybe_cache_key().is_none_or(|key| exchange.cache().store.has_room(key)) => {
            Cacheable(meta(&keep, answer, now_s))
        }
        Ok(_) => Uncacheable(NoCacheReason::Custom("many")),
        Err(why) => Uncacheable(NoCacheReason::Custom(why.as_str())),
    }
}

fn meta(keep: &Keep, answer: &ResponseHeader, now_s: u64) -> CacheMeta {
    let mut head = answer.clone();
    let gone: Vec<HeaderName> = head.headers.keys().filter(|name| !cache::is_kept(name.as_str())).cloned().collect();
    for name in &gone {
        head.remove_header(name);
    }
    // Seconds are bounded far below what a time can hold.
    let made = UNIX_EPOCH + Duration::from_secs(now_s.saturating_sub(keep.age_s));
    let seconds = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
    CacheMeta::new(
        made + Duration::from_secs(keep.fresh_s),
        made,
        seconds(keep.stale_while_revalidate_s),
        seconds(keep.stale_if_error_s),
        head,
    )
}

/// What the cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    Hit,
    /// Out of date, while it is asked for again or cannot be.
    Stale,
    /// Out of date, and confirmed.
    Revalidated,
    /// Out of date, and another one came.
    Expired,
    Miss,
    /// Not to be kept, or not asked for.
    Bypass,
}

impl Came {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Says what the cache had to do with the answer (RFC 9211).
pub(super) fn answer(answer: &mut ResponseHeader, session: &Session, exchange: &mut Exchange) -> Result<()> {
    if exchange.caching.is_none() {
        return Ok(());
    }
    let came = match session.cache.phase() {
        CachePhase::Hit => Came::Hit,
        CachePhase::Stale | CachePhase::StaleUpdating => Came::Stale,
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Came::Revalidated,
        CachePhase::Expired => Came::Expired,
        CachePhase::Miss => Came::Miss,
        CachePhase::Disabled(_) | CachePhase::Bypass | CachePhase::Uninit | CachePhase::CacheKey => Came::Bypass,
    };
    exchange.came = Some(came);
    let ttl = || {
        let meta = session.cache.maybe_cache_meta();
        let now = SystemTime::now();
        meta.map_or(0, |meta| match meta.fresh_until().duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            // Below nought from the first moment on.
            Err(over) => -1 - i64::try_from(over.duration().as_secs()).unwrap_or(0),
        })
    };
    let said = match came {
        Came::Hit | Came::Stale => format!("clearway; hit; ttl={}", ttl()),
        Came::Revalidated => "clearway; fwd=stale; fwd-status=304".to_owned(),
        Came::Expired => "clearway; fwd=stale; stored".to_owned(),
        Came::Miss => "clearway; fwd=uri-miss; stored".to_owned(),
        Came::Bypass => "clearway; fwd=miss".to_owned(),
    };
    answer.append_header(CACHE_STATUS, said)?;
    Ok(())
}
