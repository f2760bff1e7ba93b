//! A request's body, read whole before anything goes to an upstream; and an answer's head, kept back until its body
//! has been seen.
//!
//! Pingora reads a body while it sends it on, and keeps no more of it than 64 KiB to send it again. So the client's
//! session is lent to one of our own in between: this one hands out the body that has been read, or one made of it,
//! to as many upstreams as are tried, and everything else goes through to the client's. It is given back before the
//! request ends, so that its connection can bring another. What all requests hold together is bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use clearway_config::settings::process::LimitSettings;
use http::header::EXPECT;
use parking_lot::Mutex;
use pingora::{ErrorType, protocols::http::ServerSession, proxy::Session};
use tokio::time::{Instant, timeout_at};

use super::{
    lent::{Lent, nobody},
    pace::Pace,
};

/// Bytes of all bodies together that are held at the same time.
const ALL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a body may take from its first byte to its last.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(60);

/// How much all requests hold.
#[derive(Debug, Default)]
pub(crate) struct Bodies(AtomicUsize);

/// Bytes that are held; no more once this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Bodies {
    /// The beginning of something that is held.
    pub(crate) fn none(self: &Arc<Self>) -> Held {
        Held { bodies: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Whether there is room for so many more.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let all = self.bodies.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        all <= ALL_BYTES_MAX
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body that has been read to its end.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    /// Keep it for as long as the bytes.
    pub(super) held: Held,
}

/// Why a body has not been read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    /// All requests hold as much as they may.
    NoRoom,
    /// The client has gone, or its body is framed wrongly.
    Broken,
}

/// Reads the request's body, of `bytes_max` at most. One that the client sends only when asked is asked for.
pub(super) async fn read(
    session: &mut Session,
    bytes_max: u64,
    bodies: &Arc<Bodies>,
    limits: &LimitSettings,
) -> Result<Whole, Unread> {
    let mut held = bodies.none();
    let session = session.as_downstream_mut();
    if session.is_body_empty() {
        return Ok(Whole { bytes: Bytes::new(), held });
    }
    if session.get_header(EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.write_continue_response().await.map_err(|_| Unread::Broken)?;
    }
    let (end, mut pace) = (Instant::now() + TIME_MAX, Pace::default());
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let began = Instant::now();
        let patience = began + pace.left(limits).min(TIME_MAX);
        let chunk = timeout_at(end.min(patience), session.read_request_body()).await.map_err(|_| Unread::TooSlow)?;
        let Some(chunk) = chunk.map_err(|error| match error.etype() {
            ErrorType::ReadTimedout => Unread::TooSlow,
            _ => Unread::Broken,
        })?
        else {
            break;
        };
        pace.waited(began.elapsed());
        pace.moved(chunk.len());
        if (held.bytes + chunk.len()) as u64 > bytes_max {
            return Err(Unread::TooLarge);
        }
        if !held.add(chunk.len()) {
            return Err(Unread::NoRoom);
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(Whole { bytes: if rest.is_empty() { first } else { rest.freeze() }, held })
}

/// A client's session that has been lent, until it is given back.
pub(super) struct Loan {
    pub(super) home: Mutex<Option<ServerSession>>,
    holds_head: AtomicBool,
}

impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan").field("holds_head", &self.holds_head).finish_non_exhaustive()
    }
}

impl Loan {
    /// From now on the head of the answer is kept back until the first byte of its body. Before it is written.
    pub(super) fn hold_head(&self) {
        self.holds_head.store(true, Ordering::Relaxed);
    }

    pub(super) fn holds_head(&self) -> bool {
        self.holds_head.load(Ordering::Relaxed)
    }
}

/// Lends the client's session. Upstreams are sent `body`, where the client's has been read; without one, what the
/// client goes on to send.
pub(super) fn lend(session: &mut Session, body: Option<Bytes>) -> Arc<Loan> {
    let loan = Arc::new(Loan { home: Mutex::new(None), holds_head: false.into() });
    let inner = std::mem::replace(&mut *session.downstream_session, nobody());
    *session.downstream_session = Lent::new(inner, body, loan.clone()).into_session();
    loan
}

/// Gives the client's session back.
pub(super) fn give_back(session: &mut Session, loan: &Loan) {
    drop(std::mem::replace(&mut *session.downstream_session, nobody()));
    if let Some(inner) = loan.home.lock().take() {
        *session.downstream_session = inner;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_bodies_hold_is_bounded_and_given_back() {
        let bodies = Arc::new(Bodies::default());
        let (mut one, mut two) = (bodies.none(), bodies.none());
        assert!(one.add(ALL_BYTES_MAX - 1) && two.add(1) && !two.add(1));
        drop(two);
        assert!(one.add(1) && !one.add(1));
        drop(one);
        assert_eq!(bodies.0.load(Ordering::Relaxed), 0);
    }
}
