//! HTTP/2 connections: bounded in everything that a client decides, each stream served as one request.
//!
//! Frames, flow control and header compression are the `h2` crate's, through Pingora; so are its limits on
//! CONTINUATION, on header lists, and on resets that arrive before their request is taken up. What is added here is
//! a bound on requests that are taken up and then given up, on frames that ask for nothing ([`Frames`]), on idle
//! connections, and a farewell while draining.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ::h2::{Ping, PingPong, Reason};
use async_trait::async_trait;
use clearway_config::settings::process::LimitSettings;
use http::{
    Method,
    header::{CONTENT_LENGTH, EXPECT},
};
use pingora::{
    apps::HttpServerApp as _,
    http::ResponseHeader,
    protocols::{
        Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
        UniqueIDType,
        http::{
            ServerSession,
            v2::server::{H2Accept, H2Options, HttpSession, handshake},
        },
        raw_connect::ProxyDigest,
    },
    proxy::Session,
};
use tokio::{
    io::{self, AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::Notify,
    time::timeout,
};

use super::{
    arrival::Peer,
    baton::{Unfinished, passed},
    client::Wire,
    connection::Service,
    fast::stream::Streamed,
    frames::Frames,
    grpc, handed,
};
use crate::metrics::Refused;

/// Requests of one connection at the same time.
const STREAMS_MAX: u32 = 128;
/// Bytes of a body that may be on their way without having been asked for: of one request, and of all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers that are kept for a stream whose client does not take them.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// Streams that the client has reset before they were taken up, and streams that were reset for its
/// mistakes: with more of them the connection ends.
const RESETS_PENDING_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 128;
/// Requests that cannot be read.
const MALFORMED_MAX: u32 = 32;
/// Requests that were given up before their answer: beyond so many, and when they are more than half of
/// all, they are the client's trade.
const GIVEN_UP_MAX: u32 = 128;
/// From the connection's beginning to its preface and settings.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client gets to say farewell.
const FAREWELL: Duration = Duration::from_secs(2);

fn options(limits: &LimitSettings) -> H2Options {
    let mut options = H2Options::default();
    options
        .max_concurrent_streams(STREAMS_MAX)
        // Uncompressed, and with 32 bytes for each header (RFC 9113, 10.5.1).
        .max_header_list_size(u32::try_from(limits.head_bytes()).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX));
    options
}

/// What the requests of a connection share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    active: AtomicUsize,
    /// No request is being served.
    idle: Notify,
    answered: AtomicU32,
    given_up: AtomicU32,
}

impl Connection {
    /// The connection of a request that came by HTTP/2.
    pub(super) fn of(session: &Session) -> Option<&Arc<Self>> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// A request is over: it was answered, or the client gave it up.
    pub(super) fn concluded(&self, answered: bool) {
        let count = if answered { &self.answered } else { &self.given_up };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn is_abused(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up > GIVEN_UP_MAX && given_up > self.answered.load(Ordering::Relaxed)
    }

    /// Ends when there has been no request for as long as that.
    async fn has_been_idle(&self, for_: Duration) {
        loop {
            let idle = self.idle.notified();
            if self.active.load(Ordering::Acquire) > 0 {
                idle.await;
                continue;
            }
            return tokio::time::sleep(for_).await;
        }
    }
}

/// One request's place in the count.
struct Active(Arc<Connection>);

impl Active {
    fn new(connection: Arc<Connection>) -> Self {
        connection.active.fetch_add(1, Ordering::AcqRel);
        Self(connection)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Service {
    /// Serves a connection that speaks HTTP/2, to its end.
    pub(super) async fn serve_h2(self: &Arc<Self>, wire: Box<dyn Wire>, peer: Peer, unfinished: Unfinished) {
        let (limits, parting) = (self.state.limits, peer.parting);
        let flooded = Arc::new(Notify::new());
        let bytes = Bytes { wire, frames: Frames::new(), flooded: flooded.clone() };
        let begun = timeout(BEGIN_TIMEOUT, handshake(Box::new(bytes), Some(options(&limits)))).await;
        let Ok(Ok(mut h2)) = begun else { return };
        let Ok(head) = ResponseHeader::build(200, Some(0)) else { return };
        let connection = Arc::new(Connection {
            peer,
            active: AtomicUsize::new(0),
            idle: Notify::new(),
            answered: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
        });
        // The one place of a digest that holds what is ours.
        let digest = ProxyDigest::new(Box::new(head), Some(Box::new(connection.clone())));
        let digest = Arc::new(Digest { proxy_digest: Some(Arc::new(digest)), ..Digest::default() });
        let mut closing = self.closing.clone();
        let mut hang_up = pin!(self.hang_up.notified());
        let (mut leaving, mut malformed, mut floods) = (false, 0, false);
        // Its answer comes after all that the client sent before it knew that the connection ends.
        let (mut ping, mut unfinished) = (h2.ping_pong(), Some(unfinished));
        loop {
            // Each of these can be dropped and asked again; the first one also moves every stream's bytes.
            let accepted = tokio::select! {
                accepted = HttpSession::from_h2_conn(&mut h2, digest.clone()) => accepted,
                _ = closing.wait_for(|closing| *closing || parting), if !leaving => {
                    h2.graceful_shutdown();
                    leaving = true;
                    if ping.as_mut().is_none_or(|ping| ping.send_ping(Ping::opaque()).is_err()) {
                        ping = None;
                    }
                    continue;
                }
                () = answered(&mut ping), if leaving && unfinished.is_some() => {
                    unfinished = None;
                    continue;
                }
                () = connection.has_been_idle(limits.idle_timeout), if !leaving => {
                    h2.graceful_shutdown();
                    leaving = true;
                    continue;
                }
                () = connection.has_been_idle(FAREWELL), if leaving => return,
                () = flooded.notified() => {
                    floods = true;
                    Ok(Some(H2Accept::Rejected))
                }
                // Where another process has taken over, it is told what to do with what it still sends.
                () = hang_up.as_mut(), if connection.active.load(Ordering::Acquire) == 0 && self.state.baton.is_here() => return,
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => self.serve_stream(session, &connection),
                Ok(Some(H2Accept::Rejected)) if floods => {}
                Ok(Some(H2Accept::Rejected)) => {
                    self.state.metrics.unreadable(clearway_config::ErrorCode::AmbiguousRequest);
                    malformed += 1;
                }
                Ok(None) | Err(_) => return,
            }
            if floods || malformed > MALFORMED_MAX || connection.is_abused() {
                self.state.gate.turn_away(None, Refused::Flood);
                h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let _ = timeout(FAREWELL, poll_fn(|cx| h2.poll_closed(cx))).await;
                return;
            }
        }
    }

    fn serve_stream(self: &Arc<Self>, stream: HttpSession, connection: &Arc<Connection>) {
        let (service, active) = (self.clone(), Active::new(connection.clone()));
        tokio::spawn(async move {
            let (mut stream, connection) = (stream, &active.0);
            if service.state.baton.settled().await.is_some() {
                // It has not been looked at: its client may send it again, elsewhere (RFC 9113, 8.7).
                return stream.shutdown_with_reason(Reason::REFUSED_STREAM);
            }
            // From here to the decision nothing is waited for, but in Pingora's hands.
            stream.set_write_timeout(Some(service.state.limits.write_timeout));
            let decided = match is_short(&stream) {
                false => None,
                true => match service.fast.serve_stream(&mut stream, &connection.peer).await {
                    Streamed::HandOver(exchange) => Some(exchange),
                    served => return connection.concluded(matches!(served, Streamed::Answered)),
                },
            };
            let session = ServerSession::new_http2(stream);
            passed(service.pass(), handed::along(decided, service.proxy.process_new_http(session, &service.closing))).await;
        });
    }
}

/// Whether the short way can serve the request: a head, and nothing behind it.
fn is_short(stream: &HttpSession) -> bool {
    let request = stream.req_header();
    // One that says how long its body is may be waited for, be it 0.
    let is_whole = stream.is_body_empty() && !request.headers.contains_key(CONTENT_LENGTH);
    is_whole && request.method != Method::CONNECT && !request.headers.contains_key(EXPECT) && !grpc::is_call(request)
}

/// Ends when the last ping has been answered, or cannot be any more.
async fn answered(ping: &mut Option<PingPong>) {
    match ping {
        Some(ping) => drop(poll_fn(|cx| ping.poll_pong(cx)).await),
        // It could not be sent: the connection is about to end.
        None => std::future::pending().await,
    }
}

/// A connection as Pingora wants it.
struct Bytes {
    wire: Box<dyn Wire>,
    frames: Frames,
    /// Told when they have become a flood.
    flooded: Arc<Notify>,
}

impl Bytes {
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = written {
            self.frames.wrote(*n);
        }
    }
}

impl AsyncRead for Bytes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.wire).poll_read(cx, buf);
        self.frames.read(&buf.filled()[before..]);
        if self.frames.is_flood() {
            self.flooded.notify_one();
        }
        read
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write(cx, buf);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write_vectored(cx, bufs);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Bytes {
    async fn shutdown(&mut self) {
        // The connection ends either way.
        let _ = self.wire.shutdown().await;
    }
}

impl UniqueID for Bytes {
    fn id(&self) -> UniqueIDType {
        // It tells connections of a pool apart, and this one is in none.
        0
    }
}

impl Ssl for Bytes {}

impl Peek for Bytes {}

impl GetTimingDigest for Bytes {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Bytes {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _: ProxyDigest) {}
}

impl GetSocketDigest for Bytes {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }

    fn set_socket_digest(&mut self, _: SocketDigest) {}
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bytes").finish_non_exhaustive()
    }
}
