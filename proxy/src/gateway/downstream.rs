//! A client's connection, as Pingora reads and writes it.
//!
//! Pingora answers a request that it cannot parse by itself, before any phase runs, with an empty
//! body. This wrapper knows whether a phase has taken the request on; what is written before that is
//! Pingora's own refusal, and an envelope of ours goes out in its place. Everything else passes
//! through untouched, in one write where head and body fit into one.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use clearway_config::ErrorCode;
use futures_util::FutureExt as _;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest, UniqueID,
    UniqueIDType, l4::stream::Stream as L4Stream, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use super::{State, answer};

/// What is gathered before it is written: a head and a small body. Reads need no buffer here, Pingora has one.
const WRITE_BYTES: usize = 4096;

/// One connection.
pub(crate) struct Downstream {
    inner: BufWriter<L4Stream>,
    state: Arc<State>,
    peer: IpAddr,
    /// Set by the first phase of every request, cleared between requests.
    taken_on: AtomicBool,
    /// Our answer in place of Pingora's, while it is being written.
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Downstream {
    pub(crate) fn new(inner: L4Stream, peer: IpAddr, state: Arc<State>) -> Self {
        let inner = BufWriter::with_capacity(WRITE_BYTES, inner);
        Self { inner, state, peer, taken_on: AtomicBool::new(false), refusal: None }
    }

    /// The connection under `stream`; every stream that the gateway serves is one.
    pub(crate) fn of(stream: &Stream) -> Option<&Self> {
        (**stream).as_any().downcast_ref()
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// From here on the phases answer.
    pub(crate) fn take_on(&self) {
        self.taken_on.store(true, Ordering::Relaxed);
    }

    /// The request has been answered; the next one is Pingora's again.
    pub(crate) fn rest(&self) {
        self.taken_on.store(false, Ordering::Relaxed);
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
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.taken_on.load(Ordering::Relaxed) {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        }
        let mut refusal = self.refusal.take().unwrap_or_else(|| self.refuse(buf));
        while refusal.written < refusal.bytes.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &refusal.bytes[refusal.written..]) {
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
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| &**b);
        let written = ready!(self.poll_write(cx, first))?;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        // The connection ends either way.
        let _ = AsyncWriteExt::shutdown(&mut self.inner).await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        self.inner.get_ref().id()
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
        let _ = self.inner.flush().now_or_never();
    }
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downstream").field("peer", &self.peer).finish_non_exhaustive()
    }
}
