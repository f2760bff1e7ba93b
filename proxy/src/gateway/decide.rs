//! Whether a request passes, and where to. The whole path of a decision in one place, without a type
//! of the HTTP server around it: parts of a request and the state in, a passage or a refusal out.
//!
//! Nothing here waits, and nothing is allocated but the request's own words.

use std::{net::IpAddr, sync::Arc};

use clearway_config::{
    AccountId, ErrorCode, KeyId, RequestId,
    settings::{
        Route,
        gateway::{AuthMethod, Policy},
    },
};
use clearway_filters::{
    Reject,
    policy::{self, Policies, addresses, cors::Preflight},
    request::RequestView,
    route::{Asked, target},
    signature::Body,
    split,
};
use http::{
    HeaderMap, HeaderValue,
    header::{LOCATION, ORIGIN},
    request::Parts,
};
use ipnet::IpNet;

use super::{
    admit,
    due::Due,
    front::Front,
    head,
    texts::{Word, Writer},
};
use crate::{
    auth::{Replays, Visit},
    lease::{Leases, Wanted},
    ledger::{Admission, Ledger},
    routes::Table,
    snapshot::Snapshot,
    tls::acceptor::TlsFacts,
};

/// What a decision is made by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grounds<'s> {
    pub(crate) table: &'s Table,
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) ledger: &'s Arc<Ledger>,
    /// In a fleet.
    pub(crate) leases: Option<&'s Arc<Leases>>,
    pub(crate) trusted_proxies: &'s [IpNet],
    pub(crate) front: &'s Front,
    pub(crate) replays: &'s Replays,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'r> {
    pub(crate) parts: &'r Parts,
    /// The request's target as it came: for HTTP/2, `:path`.
    pub(crate) target: &'r [u8],
    /// The head's bytes; HTTP/2 has none, and nothing that a parser could smooth over.
    pub(crate) head: Option<&'r [u8]>,
    /// Whether a body follows the head.
    pub(crate) body: Body,
    pub(crate) peer: IpAddr,
    /// Of an encrypted connection.
    pub(crate) tls: Option<&'r TlsFacts>,
    /// Whether it came to the gateway, or to a trusted proxy before it, encrypted.
    pub(crate) secure: bool,
    pub(crate) now_ms: u64,
    pub(crate) request_id: RequestId,
}

/// What is known of a request, as far as it got: for the answer, the log and the metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) route: Option<usize>,
    /// Index of the upstream that was chosen among the route's.
    pub(crate) upstream: Option<usize>,
    /// The request's Origin, where the route speaks to browsers.
    pub(crate) origin: Option<HeaderValue>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) account: Option<AccountId>,
    pub(crate) key: Option<KeyId>,
    /// What the account's own policies come to, where it has some.
    pub(crate) account_policy: Option<Arc<Policy>>,
    /// What the request was judged by.
    pub(crate) auth: Option<AuthMethod>,
    /// Whether it was judged by its signature, too.
    pub(crate) signed: bool,
    pub(crate) reject: Option<ErrorCode>,
    /// What this node of a fleet was granted is spent: the store is to be asked for this, and then it is decided again.
    pub(crate) wanted: Option<Box<Wanted>>,
    /// Where a request shall go instead.
    pub(crate) location: Option<String>,
}

/// A request that passes.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) upgrade: bool,
    /// The target to forward, where it is not spelled as it came.
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) charge: Charge,
}

/// What a request has been charged.
#[derive(Debug)]
pub(crate) enum Charge {
    /// On an open route, and for what is no request of anybody's.
    Nothing,
    /// To an account, and the key where it came by one.
    Admission(Admission),
    /// To the address of an anonymous request.
    Visit(Visit),
    /// Nothing yet: it passes if its body does.
    Due(Box<Due>),
}

/// Why a request goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Reject),
    /// Boxed, so that what becomes of every other request stays small.
    Answered(Box<Answered>),
}

/// What the gateway answers itself without refusing anything; no body.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) charge: Charge,
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

pub(crate) fn decide(incoming: &Incoming<'_>, on: &Grounds<'_>, facts: &mut Facts, words: &mut Writer) -> Result<Passage, Stop> {
    let target = incoming.target;
    let view = read(incoming, on)?;
    facts.address = Some(view.address());
    words.put(Word::Host, view.host());
    words.put(Word::Path, view.path());
    words.put(Word::Address, view.address());

    if !incoming.tls.is_none_or(|tls| tls.is_for(view.host())) {
        return Err(Reject::Misdirected.into());
    }
    if !incoming.secure
        && let Some(location) = on.front.redirect(view.host(), view.path(), view.query())
    {
        facts.location = Some(location);
        return Err(Reject::HttpsRequired.into());
    }
    let asked = Asked {
        host: view.host(),
        path: view.path(),
        method: view.method(),
        query: view.query(),
        headers: &incoming.parts.headers,
        announced: None,
    };
    if let Some(told) = preflight(&asked, view.address(), on, facts)? {
        return Err(Stop::Answered(Box::new(told)));
    }
    let matched = on.table.routes.find(&asked)?;
    let route = matched.route;
    facts.route = Some(matched.index);
    if route.policy.cors.is_some() {
        facts.origin = incoming.parts.headers.get(ORIGIN).cloned();
    }
    let redirect = route.redirect.as_ref();
    let location = redirect.map(|redirect| target::location(redirect, &matched, &asked)).transpose()?;
    policy::check(&route.policy, view.address(), &incoming.parts.headers)?;
    // A body that goes nowhere is not waited for.
    let waits = redirect.is_none();
    let charge = admit::admit(incoming, &view, route, on, waits, facts, words)?;
    if let Some((redirect, location)) = redirect.zip(location) {
        let mut headers = HeaderMap::from_iter([(LOCATION, location)]);
        let policies = Policies { route: &route.policy, account: facts.account_policy.as_deref() };
        policies.answer(&mut headers, facts.origin.as_ref(), false);
        return Err(Stop::Answered(Box::new(Answered { status: redirect.status, headers, charge })));
    }
    // Settings leave a route without one only where nothing comes as far as this.
    let upstream = upstream(incoming, route, facts.account).ok_or(Reject::RouteNotFound)?;
    facts.upstream = Some(upstream);
    Ok(Passage {
        upgrade: view.is_upgrade(),
        target: respelled(&matched.forwarded_path(view.path()), view.query(), target),
        charge,
    })
}

/// The answer to a browser's question before a request, by the route that the request itself is going to take. `None`
/// for every other request, and where that route has nothing to say to browsers.
fn preflight(asked: &Asked<'_>, address: IpAddr, on: &Grounds<'_>, facts: &mut Facts) -> Result<Option<Answered>, Reject> {
    let Some(preflight) = Preflight::read(asked.method, asked.headers) else { return Ok(None) };
    let announced = preflight.headers.map_or(&b""[..], HeaderValue::as_bytes);
    let of_request = Asked { method: &preflight.method, announced: Some(announced), ..*asked };
    let Ok(matched) = on.table.routes.find(&of_request) else { return Ok(None) };
    let policy = &matched.route.policy;
    let Some(cors) = &policy.cors else { return Ok(None) };
    facts.route = Some(matched.index);
    if policy.addresses.as_ref().is_some_and(|addresses| !addresses::admit(addresses, address)) {
        return Err(Reject::AddressNotAllowed);
    }
    Ok(Some(Answered { status: 204, headers: preflight.answer(cors), charge: Charge::Nothing }))
}

/// Among a route's upstreams. `None` where it has none.
fn upstream(incoming: &Incoming<'_>, route: &Route, account: Option<AccountId>) -> Option<usize> {
    if route.split.is_empty() {
        return route.upstream;
    }
    // Who is not known is told apart by nothing: each request is on its own.
    let who =
        account.map_or_else(|| u128::from_be_bytes(*incoming.request_id.as_bytes()), |id| u128::from_be_bytes(*id.as_bytes()));
    split::elsewhere(&route.split, &incoming.parts.headers, who, &route.name).or(route.upstream)
}

fn read<'r>(incoming: &Incoming<'r>, on: &Grounds<'_>) -> Result<RequestView<'r>, Reject> {
    if let Some(head) = incoming.head {
        if incoming.parts.headers.contains_key(http::header::TRANSFER_ENCODING) && head::has_content_length(head) {
            return Err(Reject::Ambiguous("Content-Length together with Transfer-Encoding"));
        }
        if head::has_odd_lines(head) {
            return Err(Reject::Ambiguous("header line that is continued or does not end in CRLF"));
        }
    }
    RequestView::read(incoming.parts, incoming.target, incoming.peer, on.trusted_proxies)
}

/// `None` where the target already is what is to be forwarded.
fn respelled(path: &str, query: Option<&str>, target: &[u8]) -> Option<Vec<u8>> {
    let same = match query {
        None => target == path.as_bytes(),
        Some(query) => target
            .strip_prefix(path.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"?"))
            .is_some_and(|rest| rest == query.as_bytes()),
    };
    if same {
        return None;
    }
    let mut respelled = Vec::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    respelled.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        respelled.push(b'?');
        respelled.extend_from_slice(query.as_bytes());
    }
    Some(respelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_rewritten_only_where_it_is_spelled_differently() {
        assert_eq!(respelled("/a", None, b"/a"), None);
        assert_eq!(respelled("/a", Some("b=c"), b"/a?b=c"), None);
        assert_eq!(respelled("/a", Some(""), b"/a?"), None);
        assert_eq!(respelled("/a", None, b"/%61"), Some(b"/a".to_vec()));
        assert_eq!(respelled("/", Some("q"), b"http://x/orders?q"), Some(b"/?q".to_vec()));
        assert_eq!(respelled("/a", None, b"/a?"), Some(b"/a".to_vec()));
    }
}
