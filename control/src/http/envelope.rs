//! The outermost layer: gives every request its [`Context`], and every answer its v1 envelope, whatever
//! made it (a handler, the router, a timeout or a panic). Counts and logs what was answered, once.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use clearway_config::{
    ErrorCode,
    envelope::{Failure, Meta, Success},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::Instrument;

use super::{Api, ApiError, Context, answer::Data, error::Refusal, time::rfc3339};

pub(super) async fn wrap(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let context = Context::read(&request, &api.world);
    // The template, never the path: a client must not be able to make labels.
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let span = tracing::info_span!(
        "request",
        request.id = %context.request_id,
        trace.id = %context.trace_id,
        http.method = %request.method(),
        http.route = %route,
    );
    request.extensions_mut().insert(context.clone());
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let response = seal(response, &context, api.world.now_ms());
    note(&api, &response, &route, began.elapsed());
    response
}

/// Gives up on a request that takes too long.
pub(super) async fn limit_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(api.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorCode::TimedOut).into_response(),
    }
}

fn seal(mut response: Response, context: &Context, now_ms: i64) -> Response {
    let status = response.status();
    let meta = Meta { timestamp: rfc3339(now_ms), rate_limit: context.rate_limit, trace_id: context.trace_id.clone() };
    let id = context.request_id.to_string();
    if let Some(Data(data)) = response.extensions_mut().remove::<Data>() {
        put(&mut response, &Success { id, status: "success".into(), code: status.as_u16(), data, meta });
    } else if let Some(refusal) = response.extensions().get::<Refusal>() {
        let error = refusal.problem.clone();
        put(&mut response, &Failure { id, status: "error".into(), code: status.as_u16(), error, meta });
    }
    let id = HeaderValue::try_from(context.request_id.to_string()).expect("an id is ASCII");
    response.headers_mut().insert("x-request-id", id);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn put(response: &mut Response, body: &impl Serialize) {
    let body = serde_json::to_vec(body).expect("an envelope has text keys and no failing parts");
    *response.body_mut() = body.into();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

fn note(api: &Api, response: &Response, route: &str, took: Duration) {
    let status = response.status();
    let refusal = response.extensions().get::<Refusal>();
    api.metrics.answered(route, status, refusal.map(|refusal| refusal.code), took);
    let duration_ms = took.as_secs_f64() * 1e3;
    let code = refusal.map_or("", |refusal| refusal.code.as_str());
    match refusal {
        Some(Refusal { cause: Some(cause), .. }) if status.is_server_error() => {
            tracing::error!(http.status = status.as_u16(), error.code = code, error.cause = cause, duration_ms, "request failed");
        }
        _ => tracing::debug!(http.status = status.as_u16(), error.code = code, duration_ms, "request answered"),
    }
}

/// A panic of a handler: logged with its place by the panic hook, and answered as a fault of ours.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}

pub(super) async fn no_such_path() -> ApiError {
    ApiError::new(ErrorCode::RouteNotFound)
}

pub(super) async fn no_such_method() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed)
}

/// The class of a status, for metrics.
pub(crate) fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
