//! A client's connection, as Pingora reads and writes it for one request.
//!
//! Pingora is given this request's bytes and no more, those that were read already first: what follows
//! them is the next request, and is kept for whoever serves that. And Pingora answers a request that it
//! refuses by itself, before any phase runs, with an empty body. This wrapper knows whether a phase has
//! taken the request on; what is written before that is Pingora's own refusal, and an envelope of ours
//! goes out in its place. Everything else passes through untouched, in one write where head and body fit
//! into one.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use clearway_config::ErrorCode;
use futures_util::FutureExt as _;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID,
    UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use super::{
    State, answer,
    arrival::Peer,
    body::Body,
    client::{AHEAD_BYTES_MAX, Client, Wire},
    deadline::Deadline,
};

/// What is gathered before it is written: a head and a small body.
const WRITE_BYTES: usize = 4096;
/// What a read makes room for.
const READ_BYTES: usize = 8192;

/// One request's share of a connection.
pub(crate) struct Downstream {
    wire: BufWriter<Box<dyn Wire>>,
    ahead: BytesMut,
    frame: Frame,
    peer: Peer,
    deadline: Deadline,
    state: Arc<State>,
    /// Set by the first phase.
    taken_on: AtomicBool,
    /// Where the request is a WebSocket.
    tunnel: OnceLock<Tunnel>,
    /// Our answer in place of Pingora's, while it is being written.
    refusal: Option<Refusal>,
}

/// How long a WebSocket goes on.
#[derive(Debug, Clone, Copy)]
struct Tunnel {
    /// Since this moment nothing has moved.
    last: Instant,
    ends: Option<Instant>,
}

/// Where the request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    head_left: usize,
    /// `None`: it is not known, and everything belongs to it.
    body: Option<Body>,
    /// The body is not framed as HTTP frames one. Nobody reads on: another reader might find another end.
    malformed: bool,
}

impl Frame {
    pub(super) fn new(head_bytes: usize, body: Option<Body>) -> Self {
        Self { head_left: head_bytes, body, malformed: false }
    }

    /// How many of `bytes` belong to the request.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let of_head = self.head_left.min(bytes.len());
        self.head_left -= of_head;
        let rest = &bytes[of_head..];
        let advance = self.body.as_mut().map(|body| body.advance(rest));
        match advance {
            Some(Ok(advance)) => of_head + advance.taken,
            Some(Err(_)) => {
                self.malformed = true;
                of_head
            }
            None => bytes.len(),
        }
    }

    fn is_over(&self) -> bool {
        !self.malformed && self.head_left == 0 && self.body.is_some_and(|body| body.is_over())
    }
}

#[derive(Debug)]
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Downstream {
    /// Of a connection that has read at least a request's head.
    pub(super) fn new(client: Client, frame: Frame, state: Arc<State>) -> Self {
        let Client { wire, ahead, peer, deadline, .. } = client;
        let wire = BufWriter::with_capacity(WRITE_BYTES, wire);
        Self {
            wire,
            ahead,
            frame,
            peer,
            deadline,
            state,
            taken_on: AtomicBool::new(false),
            tunnel: OnceLock::new(),
            refusal: None,
        }
    }

    /// The connection under `stream`; every stream that the gateway serves over HTTP/1 is one.
    pub(crate) fn of(stream: &Stream) -> Option<&Self> {
        (**stream).as_any().downcast_ref()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// From here on the phases answer.
    pub(crate) fn take_on(&self) {
        self.taken_on.store(true, Ordering::Relaxed);
    }

    /// From here on it is a WebSocket, which may be silent for a while and may have an end.
    pub(crate) fn tunnels(&self) {
        let (now, lifetime) = (Instant::now(), self.state.limits.websocket_lifetime);
        // Whoever says so twice means the first time.
        let _ = self.tunnel.set(Tunnel { last: now, ends: (!lifetime.is_zero()).then(|| now + lifetime) });
    }

    /// Something has moved.
    fn moved(&mut self) {
        if let Some(tunnel) = self.tunnel.get_mut() {
            tunnel.last = Instant::now();
        }
    }

    /// Ready when a WebSocket has been silent for too long, or has lasted as long as it may.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Tunnel { last, ends }) = self.tunnel.get().copied() else { return Poll::Pending };
        let silent = last + self.state.limits.websocket_idle_timeout;
        self.deadline.set(ends.map_or(silent, |ends| ends.min(silent)));
        self.deadline.poll(cx)
    }

    /// The connection, after its request has been answered and read to its end. `None` where it is not
    /// certain that the next byte is another request's.
    pub(super) async fn into_client(mut self) -> Option<Client> {
        self.wire.flush().await.ok()?;
        let certain = self.frame.body.is_none() || self.frame.is_over();
        let wire = std::mem::replace(&mut self.wire, BufWriter::with_capacity(0, Box::new(tokio::io::empty())));
        let (ahead, deadline) =
            (std::mem::take(&mut self.ahead), std::mem::replace(&mut self.deadline, Deadline::at(Instant::now())));
        certain.then(|| Client { wire: wire.into_inner(), ahead, peer: self.peer.clone(), deadline, limits: self.state.limits })
    }

    /// Reads into `ahead`; 0 is the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.reserve(READ_BYTES);
        pin!(self.wire.read_buf(&mut self.ahead)).poll(cx)
    }

    fn refuse(&self, pingoras: &[u8]) -> Refusal {
        // CONNECT is the one thing that Pingora parses and refuses nevertheless.
        let code = match pingoras {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'4', b'0', b'5', ..] => ErrorCode::MethodNotAllowed,
            _ => ErrorCode::AmbiguousRequest,
        };
        self.state.metrics.unreadable(code);
        Refusal { bytes: answer::unreadable(code), written: 0 }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.frame.is_over() {
                // The next request is kept. Only that the client leaves is to be seen.
                if this.ahead.len() >= AHEAD_BYTES_MAX {
                    return Poll::Pending;
                }
                match ready!(this.poll_ahead(cx))? {
                    0 if this.ahead.is_empty() => return Poll::Ready(Ok(())),
                    0 => return Poll::Pending,
                    _ => continue,
                }
            }
            if !this.ahead.is_empty() {
                let most = this.ahead.len().min(buf.remaining());
                let n = this.frame.take(&this.ahead[..most]);
                if n == 0 && this.frame.malformed {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                buf.put_slice(&this.ahead[..n]);
                this.ahead.advance(n);
                return Poll::Ready(Ok(()));
            }
            match this.poll_ahead(cx) {
                Poll::Ready(read) => {
                    if read? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    this.moved();
                }
                Poll::Pending => return this.poll_over(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.taken_on.load(Ordering::Relaxed) {
            let written = ready!(Pin::new(&mut self.wire).poll_write(cx, buf));
            self.moved();
            return Poll::Ready(written);
        }
        let mut refusal = self.refusal.take().unwrap_or_else(|| self.refuse(buf));
        while refusal.written < refusal.bytes.len() {
            match Pin::new(&mut self.wire).poll_write(cx, &refusal.bytes[refusal.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => refusal.written += n,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    self.refusal = Some(refusal);
                    return Poll::Pending;
                }
            }
        }
        // Pingora closes after a refusal of its own; should it write more, that goes nowhere.
        self.refusal = Some(refusal);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.taken_on.load(Ordering::Relaxed) {
            let written = ready!(Pin::new(&mut self.wire).poll_write_vectored(cx, bufs));
            self.moved();
            return Poll::Ready(written);
        }
        let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| &**b);
        let written = ready!(self.poll_write(cx, first))?;
        Poll::Ready(Ok(written))
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
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The connection ends either way.
        let _ = AsyncWriteExt::shutdown(&mut self.wire).await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        // It tells connections of a pool apart, and this one is in none.
        0
    }
}

impl Ssl for Downstream {}

impl Peek for Downstream {}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // Asked for on every request, and nothing of ours reads it.
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _: ProxyDigest) {}
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }

    fn set_socket_digest(&mut self, _: SocketDigest) {}
}

impl Drop for Downstream {
    fn drop(&mut self) {
        // An answer that broke off is sent as far as it came; one that the socket does not take now is lost.
        let _ = self.wire.flush().now_or_never();
    }
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downstream").field("peer", &self.peer).field("frame", &self.frame).finish_non_exhaustive()
    }
}
