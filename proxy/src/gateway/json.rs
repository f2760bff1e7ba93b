//! JSON bodies, changed as a policy says. A request's is read whole before an upstream hears of it; of an answer's
//! the head is kept back until the body has been seen, so that one that cannot be changed can still be a 502.

use bytes::{Bytes, BytesMut};
use clearway_config::{
    ErrorCode,
    settings::gateway::policy::json::{Fact, Json, Otherwise},
};
use clearway_filters::{Reject, json, policy::body::is_longer};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, EXPECT, IF_RANGE, RANGE, TRANSFER_ENCODING,
    },
};
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{exchange::Exchange, texts::Word, whole_body::Held};

/// Digests of a body, which is another one now (RFC 9530, RFC 3230, RFC 1864).
pub(super) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// An answer's body that is being gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    body: BytesMut,
    held: Held,
}

/// How the request's body is to be changed, as far as its head tells.
pub(super) fn edits<'e>(session: &mut Session, exchange: &'e Exchange) -> Result<Option<&'e Json>, Reject> {
    let policy = exchange.route().map(|route| &route.policy).filter(|_| !exchange.upgrade);
    let Some(json) = policy.and_then(|policy| policy.request_json.as_deref()) else { return Ok(None) };
    if session.as_mut().is_body_empty() {
        return Ok(None);
    }
    let headers = &session.req_header().headers;
    let unfit = if !json::is_json(headers) {
        Some(Reject::UnsupportedMediaType)
    } else {
        is_encoded(headers).then_some(Reject::UnsupportedEncoding)
    };
    match unfit {
        Some(reject) if json.otherwise == Otherwise::Refuse => Err(reject),
        Some(_) => Ok(None),
        None => Ok(Some(json)),
    }
}

/// What upstreams are sent of a request's body.
pub(super) fn edited(json: &Json, body: &[u8], exchange: &Exchange) -> Result<Bytes, Reject> {
    let edited = json::edit(body, &json.edits, |fact| known(exchange, fact));
    edited.map(Bytes::from).map_err(|unusable| Reject::MalformedBody(unusable.as_str()))
}

/// Whether answers to this request may have to be gathered.
pub(super) fn changes_answers(exchange: &Exchange) -> bool {
    !exchange.upgrade && exchange.route().is_some_and(|route| route.policy.response_json.is_some())
}

/// Says to the upstream what its body is now, and that an answer is wanted whole and as it is.
pub(super) fn upstream_request(upstream: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    if let Some(length) = exchange.rewritten {
        upstream.remove_header(&TRANSFER_ENCODING);
        upstream.remove_header(&EXPECT);
        for name in &DIGESTS {
            upstream.remove_header(name);
        }
        upstream.insert_header(CONTENT_LENGTH, length)?;
    }
    if of_answers(exchange).is_some() {
        upstream.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
        upstream.remove_header(&RANGE);
        upstream.remove_header(&IF_RANGE);
    }
    Ok(())
}

fn of_answers(exchange: &Exchange) -> Option<&Json> {
    exchange.route()?.policy.response_json.as_deref().filter(|_| exchange.loan.is_some())
}

/// Settles whether an answer's body is going to be changed.
pub(super) fn answer(answer: &mut ResponseHeader, client: Version, exchange: &mut Exchange) -> Result<()> {
    let Some(json) = of_answers(exchange) else { return Ok(()) };
    let status = answer.status.as_u16();
    let length = answer.headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    if answer.status.is_informational() || matches!(status, 204 | 205 | 304) || length == Some(b"0") {
        return Ok(());
    }
    if !json::is_json(&answer.headers) {
        return Ok(());
    }
    if status == 206 || is_encoded(&answer.headers) || is_longer(&answer.headers, json.size_max) {
        return if json.otherwise == Otherwise::Pass { Ok(()) } else { Err(unusable(exchange, "it cannot be read")) };
    }
    for name in DIGESTS.iter().chain([&CONTENT_LENGTH, &ACCEPT_RANGES]) {
        answer.remove_header(name);
    }
    weaken(answer)?;
    if *exchange.method() == Method::HEAD {
        return Ok(());
    }
    if client != Version::HTTP_10 {
        answer.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    if let Some(loan) = &exchange.loan {
        loan.hold_head();
    }
    exchange.gathered = Some(Box::new(Gathered { body: BytesMut::new(), held: exchange.bodies().none() }));
    Ok(())
}

/// RFC 9110, 8.8.1: what is derived from another representation is at most like it.
pub(super) fn weaken(answer: &mut ResponseHeader) -> Result<()> {
    let Some(tag) = answer.headers.get(ETAG) else { return Ok(()) };
    if tag.as_bytes().starts_with(b"W/") {
        return Ok(());
    }
    let weak = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok();
    match weak.filter(|_| tag.as_bytes().starts_with(b"\"")) {
        Some(weak) => answer.insert_header(ETAG, weak),
        None => {
            answer.remove_header(&ETAG);
            Ok(())
        }
    }
}

/// A part of an answer's body, the last where `end`: kept, and given out changed when it is whole.
pub(super) fn answer_body(body: &mut Option<Bytes>, end: bool, exchange: &mut Exchange) -> Result<()> {
    let Some(mut gathered) = exchange.gathered.take() else { return Ok(()) };
    let Some((max, otherwise)) = of_answers(exchange).map(|json| (json.size_max, json.otherwise)) else { return Ok(()) };
    let part = body.take().unwrap_or_default();
    gathered.body.extend_from_slice(&part);
    let fits = gathered.body.len() as u64 <= max && gathered.held.add(part.len());
    if fits && !end {
        exchange.gathered = Some(gathered);
        return Ok(());
    }
    let whole = gathered.body.freeze();
    let edited = match of_answers(exchange) {
        Some(json) if fits => json::edit(&whole, &json.edits, |fact| known(exchange, fact)).map_err(json::Unusable::as_str),
        _ => Err("is too long"),
    };
    *body = Some(match edited {
        Ok(edited) => edited.into(),
        Err(_) if otherwise == Otherwise::Pass => whole,
        Err(why) => return Err(unusable(exchange, why)),
    });
    Ok(())
}

fn unusable(exchange: &mut Exchange, why: &'static str) -> Box<Error> {
    tracing::debug!(request.id = exchange.asked().request_id, why, "an answer's body cannot be changed");
    exchange.fault = Some(ErrorCode::UpstreamBodyUnusable);
    Error::explain(ErrorType::InternalError, why).into_in()
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn known(exchange: &Exchange, fact: Fact) -> Option<&str> {
    exchange.texts.text(match fact {
        Fact::AccountId => Word::AccountId,
        Fact::KeyId => Word::KeyId,
        Fact::Plan => Word::Plan,
        Fact::Subject => Word::Subject,
        Fact::RequestId => Word::RequestId,
        Fact::Address => Word::Address,
    })
}
