//! Says so where the connection ends with an answer: one that is given before the request's body was read to its end.
//! hyper closes such a connection, and whoever keeps it for the next request would lose that (RFC 9112, section 9.6).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, header};
use http_body::{Frame, SizeHint};

pub(super) async fn close(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let request = request.map(|inner| Body::new(Watched { inner, ended: ended.clone() }));
    let mut response = next.run(request).await;
    if !ended.load(Ordering::Acquire) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body, and whether it has been read to its end.
struct Watched {
    inner: Body,
    ended: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.ended.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::post};
    use http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(path: &str, body: &'static str) -> (StatusCode, bool) {
        let routes = Router::new()
            .route("/reads", post(async |body: Bytes| body.len().to_string()))
            .route("/refuses", post(async || StatusCode::UNAUTHORIZED))
            .layer(middleware::from_fn(close));
        let request = Request::post(path).body(Body::from(body)).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        (response.status(), response.headers().get(header::CONNECTION).is_some_and(|said| said == "close"))
    }

    #[tokio::test]
    async fn an_answer_to_what_was_not_read_ends_its_connection_and_says_so() {
        assert_eq!(answer("/refuses", "a body").await, (StatusCode::UNAUTHORIZED, true));
        assert_eq!(answer("/refuses", "").await, (StatusCode::UNAUTHORIZED, false), "there was nothing to read");
        assert_eq!(answer("/reads", "a body").await, (StatusCode::OK, false));
    }
}
