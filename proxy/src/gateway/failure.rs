//! What becomes of a request that passed and could not be served.

use clearway_config::ErrorCode;
use pingora::{
    Error, ErrorSource, ErrorType, RetryType,
    proxy::{FailToProxy, Session},
};

use super::{answer, attempt::is_idempotent, exchange::Exchange, grpc, refuse, whole_body};
use crate::{
    descriptors,
    metrics::Metrics,
    upstreams::{Again, Failure},
};

/// Nothing has been sent: another target may be tried, whatever the request.
pub(super) fn on_connect(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    if is_shortage(&error) {
        exchange.attempts.failed(Failure::NoDescriptors);
        error.set_retry(false);
        return error;
    }
    exchange.attempts.failed(Failure::Connect);
    let again = exchange.upstream().is_some_and(|upstream| exchange.attempts.may_go_on(upstream, Again::Elsewhere));
    error.set_retry(again);
    error
}

/// An answer that is better asked for elsewhere than passed on, if it is one.
pub(super) fn replaced(session: &Session, exchange: &Exchange, status: u16) -> Option<Box<Error>> {
    let upstream = exchange.upstream()?;
    let again = may_be_sent_again(session, exchange) && exchange.attempts.may_replace(upstream, status);
    again.then(|| {
        let mut error = Error::explain(ErrorType::HTTPStatus(status), "another target is asked").into_up();
        error.set_retry(true);
        error
    })
}

/// Something may have been sent. Unless the upstream has said that it did nothing with it, only what may be
/// done twice is tried again: at another target, or at the same one where the connection had been closed
/// while it was idle.
pub(super) fn while_proxying(session: &mut Session, exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    // Asked for a condition that is not decided yet, Pingora panics.
    let decided = matches!(error.retry, RetryType::Decided(true));
    if matches!(error.etype(), ErrorType::HTTPStatus(_)) && decided {
        return error;
    }
    if error.esource != ErrorSource::Upstream {
        error.set_retry(false);
        return error;
    }
    if *error.etype() == ErrorType::ReadTimedout && is_waiting_for_body(session, exchange) {
        let mut slow = Error::because(ErrorType::ReadTimedout, "the body stopped coming", error).into_down();
        slow.set_retry(false);
        return slow;
    }
    // Of HTTP/2 streams that the upstream refused Pingora says so without any condition.
    let undone = decided;
    error.retry.decide_reuse(reused);
    let rested = error.retry();
    let timed_out = is_timeout(&error);
    exchange.attempts.failed(if timed_out { Failure::Timeout } else { Failure::Broken });
    let again = exchange.upstream().is_some_and(|upstream| {
        let where_to = if undone || rested { Again::Anywhere } else { Again::Elsewhere };
        let waits = timed_out && upstream.retries().per_try_timeout.is_none();
        let allowed = if undone { is_whole(session, exchange) } else { may_be_sent_again(session, exchange) };
        allowed && !waits && exchange.attempts.may_go_on(upstream, where_to)
    });
    error.set_retry(again);
    error
}

/// Whether an upstream cannot be expected to answer yet, and it is the client that has stopped. A call that streams
/// has its upstream answer before its end, and is no such case.
fn is_waiting_for_body(session: &mut Session, exchange: &Exchange) -> bool {
    let is_stream = exchange.upgrade || grpc::is_call(session.req_header());
    !is_stream && session.response_written().is_none() && !session.as_downstream_mut().is_body_done()
}

/// Whether the request is still there to be sent again, and nobody has seen a byte of an answer.
fn is_whole(session: &Session, exchange: &Exchange) -> bool {
    session.response_written().is_none() && !session.as_downstream().retry_buffer_truncated() && !exchange.upgrade
}

fn may_be_sent_again(session: &Session, exchange: &Exchange) -> bool {
    is_idempotent(exchange.method()) && is_whole(session, exchange)
}

/// Answers, where there is somebody to answer and nothing has been answered yet.
pub(super) async fn answer(metrics: &Metrics, session: &mut Session, exchange: &mut Exchange, error: &Error) -> FailToProxy {
    let nothing = FailToProxy { error_code: 0, can_reuse_downstream: false };
    let code = exchange.attempts.refused().or(exchange.fault).or_else(|| code(error));
    // An upgraded connection that falls silent is not a request that came too slowly.
    if exchange.background {
        return nothing;
    }
    let Some(code) = code.filter(|code| !(exchange.upgrade && *code == ErrorCode::RequestTimeout)) else { return nothing };
    exchange.failed(code);
    metrics.rejected(code);
    if session.response_written().is_some_and(|answer| !answer.status.is_informational() || answer.status == 101) {
        return nothing;
    }
    if *error.esource() == ErrorSource::Internal && code != ErrorCode::GatewayOverloaded && exchange.fault.is_none() {
        tracing::error!(error = %error, request.id = exchange.asked().request_id, "request failed inside the gateway");
    }
    if let Some(loan) = exchange.loan.take() {
        // With what it kept back.
        whole_body::give_back(session, &loan);
    }
    let mut answer = answer::failed(&exchange.asked(), code, exchange.standing());
    answer.retry_after_s = exchange.attempts.retry_after_s().or(answer.retry_after_s);
    // Where the request's body stands is unknown: the connection is not used again.
    session.set_keepalive(None);
    if let Err(e) = refuse::write(session, exchange, answer, None).await {
        tracing::debug!(error = %e, "client left before its answer");
    }
    FailToProxy { error_code: code.status(), can_reuse_downstream: false }
}

/// `None`: the client has gone.
fn code(error: &Error) -> Option<ErrorCode> {
    match error.esource() {
        ErrorSource::Upstream | ErrorSource::Internal if is_shortage(error) => Some(ErrorCode::GatewayOverloaded),
        ErrorSource::Upstream if is_timeout(error) => Some(ErrorCode::UpstreamTimeout),
        ErrorSource::Upstream => Some(ErrorCode::UpstreamUnreachable),
        ErrorSource::Downstream => match error.etype() {
            ErrorType::InvalidHTTPHeader => Some(ErrorCode::AmbiguousRequest),
            ErrorType::HTTPStatus(408) | ErrorType::ReadTimedout => Some(ErrorCode::RequestTimeout),
            ErrorType::HTTPStatus(413) => Some(ErrorCode::BodyTooLarge),
            _ => None,
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(ErrorCode::InternalError),
    }
}

/// Whether there was no file descriptor.
fn is_shortage(error: &Error) -> bool {
    error.root_cause().downcast_ref().is_some_and(descriptors::are_used_up)
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_was_decides_the_answer() {
        let code_of = |etype, source: fn(Box<Error>) -> Box<Error>| code(&source(Error::new(etype)));
        assert_eq!(code_of(ErrorType::ConnectRefused, Error::into_up), Some(ErrorCode::UpstreamUnreachable));
        assert_eq!(code_of(ErrorType::ReadTimedout, Error::into_up), Some(ErrorCode::UpstreamTimeout));
        assert_eq!(code_of(ErrorType::ConnectionClosed, Error::into_down), None);
        assert_eq!(code_of(ErrorType::InvalidHTTPHeader, Error::into_down), Some(ErrorCode::AmbiguousRequest));
        assert_eq!(code_of(ErrorType::InternalError, Error::into_in), Some(ErrorCode::InternalError));
    }
}
