//! What becomes of a request that passed and could not be served.

use clearway_config::ErrorCode;
use http::Method;
use pingora::{
    Error, ErrorSource, ErrorType,
    proxy::{FailToProxy, Session},
};

use super::{answer, exchange::Exchange, refuse};
use crate::metrics::Metrics;

/// Addresses of an upstream that one request is tried at.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// Whether doing it twice does no more than doing it once, and changes nothing (RFC 9110, 9.2.1).
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Nothing has been sent: another address may be tried.
pub(super) fn on_connect(metrics: &Metrics, exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    let mut addresses = 1;
    if let Some(upstream) = exchange.upstream() {
        addresses = upstream.targets_len();
        metrics.upstream_failed(&upstream.name, "connect");
    }
    error.set_retry(exchange.attempts.made < ATTEMPTS_MAX.min(addresses));
    error
}

/// Something may have been sent. Only a safe method on a connection that turned out to have been closed
/// while it was idle is tried again; anything else might be done twice.
pub(super) fn while_proxying(
    metrics: &Metrics,
    session: &Session,
    exchange: &Exchange,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let safe = is_safe(&session.req_header().method);
    let untouched = session.response_written().is_none() && !session.as_downstream().retry_buffer_truncated();
    if safe && untouched && !exchange.upgrade && exchange.attempts.made < ATTEMPTS_MAX {
        error.retry.decide_reuse(reused);
    } else {
        error.set_retry(false);
    }
    if error.esource == ErrorSource::Upstream
        && let Some(upstream) = exchange.upstream()
    {
        metrics.upstream_failed(&upstream.name, if is_timeout(&error) { "timeout" } else { "broken" });
    }
    error
}

/// Answers, where there is somebody to answer and nothing has been answered yet.
pub(super) async fn answer(metrics: &Metrics, session: &mut Session, exchange: &mut Exchange, error: &Error) -> FailToProxy {
    let nothing = FailToProxy { error_code: 0, can_reuse_downstream: false };
    let Some(code) = code(error) else { return nothing };
    exchange.failed(code);
    metrics.rejected(code);
    if session.response_written().is_some_and(|answer| !answer.status.is_informational() || answer.status == 101) {
        return nothing;
    }
    if *error.esource() == ErrorSource::Internal {
        tracing::error!(error = %error, request.id = exchange.asked().request_id, "request failed inside the gateway");
    }
    let answer = answer::failed(&exchange.asked(), code, exchange.standing());
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
        ErrorSource::Upstream if is_timeout(error) => Some(ErrorCode::UpstreamTimeout),
        ErrorSource::Upstream => Some(ErrorCode::UpstreamUnreachable),
        ErrorSource::Downstream => match error.etype() {
            ErrorType::InvalidHTTPHeader => Some(ErrorCode::AmbiguousRequest),
            _ => None,
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(ErrorCode::InternalError),
    }
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
