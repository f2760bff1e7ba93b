//! Writing an answer of the gateway's own, and leaving the connection in a state that cannot be
//! misread.

use std::time::Duration;

use bytes::Bytes;
use clearway_config::ErrorCode;
use clearway_filters::{Reject, quota::Standing, signature::Refusal};
use http::{
    Method, Version,
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, EXPECT},
};
use pingora::{Result, http::ResponseHeader, proxy::Session};

use super::{
    answer::{self, Answer},
    decide::Stop,
    exchange::Exchange,
    forward, grpc,
};
use crate::metrics::Metrics;

/// Of a refused request's body so much is read and thrown away, so that its connection can go on.
pub(super) const BODY_DRAINED_MAX: usize = 64 * 1024;
/// And no longer than this.
pub(super) const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);
/// What is read of a longer body after the answer: closing on unread bytes resets the connection, and
/// the answer with it.
pub(super) const BODY_LINGERED_MAX: usize = 1024 * 1024;

/// Answers a refused request. Its connection goes on only if its body has been read to the end.
pub(super) async fn refuse(session: &mut Session, exchange: &mut Exchange, stop: &Stop) -> Result<()> {
    let answer = answer::stopped(&exchange.asked(), stop);
    // A call that streams may wait for this answer before it sends anything.
    let read = grpc::is_call(session.req_header()) || drain(session, BODY_DRAINED_MAX).await;
    let doubtful = matches!(stop, Stop::Refused(Reject::Ambiguous(_) | Reject::Signature(Refusal::Digest)));
    if !read || doubtful {
        // Where an ambiguous request ends is a matter of opinion too; and who has changed a body may have changed more.
        session.set_keepalive(None);
    }
    let extra = match stop {
        Stop::Refused(reject) => Some(Extra { standing: reject.standing(), allow: allow(reject) }),
        Stop::Answered(_) => None,
    };
    write(session, exchange, answer, extra).await?;
    if !read {
        drain(session, BODY_LINGERED_MAX).await;
    }
    Ok(())
}

/// Answers a request that was admitted and goes no further all the same.
pub(super) async fn fail(metrics: &Metrics, session: &mut Session, exchange: &mut Exchange, code: ErrorCode) -> Result<()> {
    exchange.failed(code);
    metrics.rejected(code);
    let answer = answer::failed(&exchange.asked(), code, exchange.standing());
    let read = drain(session, BODY_DRAINED_MAX).await;
    if !read {
        session.set_keepalive(None);
    }
    write(session, exchange, answer, None).await?;
    if !read {
        drain(session, BODY_LINGERED_MAX).await;
    }
    Ok(())
}

/// RFC 9110, 15.5.6: a 405 names the methods that would do.
pub(super) fn allow(reject: &Reject) -> Option<String> {
    if let Reject::MethodNotAllowed(methods) = reject { Some(methods.to_string()) } else { None }
}

/// What only a refusal says.
pub(super) struct Extra<'a> {
    standing: Option<&'a Standing>,
    allow: Option<String>,
}

pub(super) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    answer: Answer,
    extra: Option<Extra<'_>>,
) -> Result<()> {
    let call = answer.code.filter(|_| grpc::is_call(session.req_header()));
    let mut head = ResponseHeader::build(if call.is_some() { 200 } else { answer.status }, Some(14))?;
    head.set_version(Version::HTTP_11);
    answer.told(|name, text| head.insert_header(name.clone(), forward::value(text)?))?;
    let mut standing = exchange.standing();
    if let Some(extra) = extra {
        standing = extra.standing;
        if let Some(allow) = extra.allow {
            head.insert_header(ALLOW, allow)?;
        }
    }
    forward::standing_headers(&mut head, exchange, standing)?;
    exchange.release(answer.status);
    if let Some(code) = call {
        exchange.meant = Some(answer.status);
        return write_call(session, head, code).await;
    }
    let bodiless = session.req_header().method == Method::HEAD || answer.body.is_empty();
    session.write_response_header(Box::new(head), bodiless).await?;
    if bodiless {
        session.as_downstream_mut().finish_body().await
    } else {
        session.write_response_body(Some(Bytes::from(answer.body)), true).await
    }
}

/// A head, and what it comes to behind it, as gRPC has it.
async fn write_call(session: &mut Session, mut head: ResponseHeader, code: ErrorCode) -> Result<()> {
    head.remove_header(&CONTENT_LENGTH);
    head.insert_header(CONTENT_TYPE, grpc::MEDIA_TYPE)?;
    session.write_response_header(Box::new(head), false).await?;
    session.as_downstream_mut().write_response_trailers(grpc::trailers(code)).await
}

/// Reads what is left of the request's body and throws it away. Says whether that was all of it.
async fn drain(session: &mut Session, bytes_max: usize) -> bool {
    let downstream = session.as_downstream_mut();
    if downstream.is_body_done() {
        return true;
    }
    if downstream.get_header(EXPECT).is_some() {
        // The client waits to be asked for its body, and is not going to be.
        return false;
    }
    let read = async {
        let mut left = bytes_max;
        while let Ok(chunk) = downstream.read_request_body().await {
            let Some(chunk) = chunk else { return true };
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        false
    };
    tokio::time::timeout(DRAIN_TIME_MAX, read).await.unwrap_or(false)
}
