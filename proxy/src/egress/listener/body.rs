//! The body of a sender's request: read whole, for its signature goes before it, and hashed as it comes.

use bytes::{Bytes, BytesMut};
use clearway_filters::Reject;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::gateway::{Held, Pace, State, WHOLE_BODY_TIME_MAX};

/// A body that has been read to its end.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    /// Counts what all requests hold, for as long as this is held.
    _held: Held,
}

/// Reads a body of `bytes_max` at most, and shows `hash` every piece of it.
pub(super) async fn read(
    state: &State,
    mut body: Incoming,
    bytes_max: u64,
    mut hash: impl FnMut(&[u8]),
) -> Result<Whole, Reject> {
    if body.size_hint().lower() > bytes_max {
        return Err(Reject::BodyTooLarge);
    }
    let mut held = state.bodies.none();
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut patience = None;
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                let (end, pace) = patience.get_or_insert_with(|| (Instant::now() + WHOLE_BODY_TIME_MAX, Pace::default()));
                let began = Instant::now();
                let due = (*end).min(began + pace.left(&state.limits).min(WHOLE_BODY_TIME_MAX));
                let frame = timeout_at(due, body.frame()).await.map_err(|_| Reject::BodyTooSlow)?;
                pace.waited(began.elapsed());
                frame
            }
        };
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(|_| Reject::MalformedBody("it broke off"))?.into_data() else { continue };
        if let Some((_, pace)) = &mut patience {
            pace.moved(piece.len());
        }
        if (first.len() + rest.len() + piece.len()) as u64 > bytes_max {
            return Err(Reject::BodyTooLarge);
        }
        if !held.add(piece.len()) {
            return Err(Reject::Overloaded);
        }
        hash(&piece);
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&piece);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(Whole { bytes: if rest.is_empty() { first } else { rest.freeze() }, _held: held })
}
