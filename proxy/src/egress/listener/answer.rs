//! What a sender is answered: the receiver's answer without what concerns its connection alone, or why there is none.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use clearway_config::{
    ErrorCode,
    settings::gateway::{AuthMethod, AuthMethods},
};
use clearway_filters::{Reject, webhook};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_LENGTH, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::entry::Entry;
use crate::{
    egress::{
        post::failure::Failed,
        reach::{Answer, AnswerBody, AnswerBroken},
    },
    gateway::{
        State,
        answer::{self as answers, Asked},
        now_ms,
    },
};

const ANSWERED_BY: HeaderName = HeaderName::from_static("clearway-answered-by");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Of this hop only (RFC 9110, 7.6.1); and what would be taken for a word about this listener's own host.
const DROPPED: [HeaderName; 12] = [
    CONNECTION,
    CONTENT_LENGTH,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("alt-svc"),
    HeaderName::from_static("strict-transport-security"),
];

/// Why a request is not passed on, or its answer not passed back.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Reject),
    Failed(Failed),
    /// There is no such webhook, or it is another account's.
    NotFound,
    NotPost,
    MalformedId,
    /// Whoever followed it would post where nobody has looked.
    Redirected(u16),
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl Stop {
    pub(super) fn malformed_id() -> Self {
        Self::MalformedId
    }

    /// Also tells `entry` what it is refused for.
    pub(super) fn answer(self, state: &State, entry: &mut Entry) -> Response<Said> {
        let id = entry.request_id.to_string();
        let takes = AuthMethods::of(AuthMethod::Key);
        let asked = Asked { request_id: &id, trace_id: entry.trace_id, now_ms: now_ms(), takes, policies: None, origin: None };
        let because = |code, reason: &str| answers::failed_because(&asked, code, reason);
        let answer = match &self {
            Self::Refused(reject) => answers::rejected(&asked, reject),
            Self::Failed(failed) => because(failed.code(), &failed.reason),
            Self::NotFound => answers::failed(&asked, ErrorCode::NotFound, None),
            Self::NotPost => answers::failed(&asked, ErrorCode::MethodNotAllowed, None),
            Self::MalformedId => {
                because(ErrorCode::WebhookIdMalformed, "1 to 128 visible characters without a dot are wanted, once")
            }
            Self::Redirected(status) => because(ErrorCode::ReceiverRedirected, &format!("the receiver answered {status}")),
        };
        entry.reject = answer.code;
        if let Some(code) = answer.code {
            state.metrics.rejected(code);
        }
        let mut headers = HeaderMap::new();
        // What it says of its own length is said by the server.
        let told: Result<(), http::header::InvalidHeaderValue> = answer.told(|name, text| {
            if *name != CONTENT_LENGTH {
                headers.append(name.clone(), HeaderValue::from_bytes(text)?);
            }
            Ok(())
        });
        debug_assert!(told.is_ok(), "our own words are ones that a header can carry");
        if matches!(self, Self::NotPost) {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        headers.insert(ANSWERED_BY, HeaderValue::from_static("egress"));
        let mut response = Response::new(Said::Ours(Full::new(answer.body.into())));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }
}

/// The receiver's answer, for the sender. `id`: of the message.
pub(super) fn passed_back(answer: Answer, id: HeaderValue) -> Result<Response<Said>, Stop> {
    let Answer { mut head, body, .. } = answer;
    if head.status.is_redirection() {
        return Err(Stop::Redirected(head.status.as_u16()));
    }
    let nominated: Vec<HeaderName> = head.headers.get_all(CONNECTION).iter().flat_map(nominated).collect();
    for name in DROPPED.iter().chain(&nominated) {
        head.headers.remove(name);
    }
    head.headers.insert(webhook::ID, id);
    head.headers.insert(ANSWERED_BY, HeaderValue::from_static("receiver"));
    let mut response = Response::new(Said::Receivers(Box::new(body)));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

fn nominated(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    value.as_bytes().split(|b| *b == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// An answer as it is sent: with the id that its line in the access log has.
pub(super) fn told(mut response: Response<Said>, mut entry: Entry) -> Response<AnswerStream> {
    entry.status = Some(response.status().as_u16());
    if let Ok(id) = HeaderValue::try_from(entry.request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.map(|said| AnswerStream { said, entry })
}

/// Whose answer it is.
#[derive(Debug)]
pub(super) enum Said {
    Ours(Full<Bytes>),
    Receivers(Box<AnswerBody>),
}

/// The body of either. When it has ended, or nobody reads on, its line is written.
#[derive(Debug)]
pub(super) struct AnswerStream {
    said: Said,
    entry: Entry,
}

impl Body for AnswerStream {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let Self { said, entry } = self.get_mut();
        let frame = match said {
            Said::Ours(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Said::Receivers(body) => Pin::new(body).poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            entry.bytes_out += frame.data_ref().map_or(0, |piece| piece.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.said {
            Said::Ours(body) => body.is_end_stream(),
            Said::Receivers(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.said {
            Said::Ours(body) => body.size_hint(),
            Said::Receivers(body) => body.size_hint(),
        }
    }
}
