//! A client's connection: its bytes, those that were read ahead of their time, and its timer.
//!
//! What a client sends while its request is being served is kept, up to a bound: it is the next
//! request. So a look for more bytes is also how it is noticed that the client has left.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf as _, BytesMut};
use clearway_config::settings::process::LimitSettings;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Empty},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::{arrival::Peer, deadline::Deadline, refuse::DRAIN_TIME_MAX};

/// Bytes that are kept of what follows the request being served.
pub(super) const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// What a read makes room for: a head, as a rule.
const READ_BYTES: usize = 4096;
/// With less room than this a read is not worth while.
const READ_BYTES_MIN: usize = 512;

/// What carries bytes: a socket, or encryption over one.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Where bytes are in no hands but the kernel's: another process could go on with it.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Wire for TcpStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Wire for UnixStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Wire for TlsStream<TcpStream> {}

/// A wire that was taken away.
impl Wire for Empty {}

#[cfg(test)]
impl Wire for tokio::io::DuplexStream {}

/// One connection.
pub(super) struct Client {
    pub(super) wire: Box<dyn Wire>,
    /// Read and not used.
    pub(super) ahead: BytesMut,
    pub(super) peer: Peer,
    pub(super) deadline: Deadline,
    pub(super) limits: LimitSettings,
}

impl Client {
    pub(super) fn new(wire: Box<dyn Wire>, peer: Peer, limits: LimitSettings) -> Self {
        Self { wire, ahead: BytesMut::new(), peer, deadline: Deadline::at(Instant::now() + limits.idle_timeout), limits }
    }

    /// Reads more into `ahead`; 0 is the end. Not where it is full.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ahead.capacity() - self.ahead.len() < READ_BYTES_MIN {
            self.ahead.reserve(READ_BYTES);
        }
        pin!(self.wire.read_buf(&mut self.ahead)).poll(cx)
    }

    /// Ready when the client has left; what it sends until then is kept.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD_BYTES_MAX {
            match ready!(self.poll_ahead(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.wire).poll_write(cx, bytes)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    /// Pushes out what the wire itself holds back; a socket holds nothing.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    /// Writes all of it, as long as the client takes some every now and then.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        self.deadline.set(Instant::now() + self.limits.write_timeout);
        poll_fn(|cx| {
            while written < bytes.len() {
                match self.poll_write(cx, &bytes[written..]) {
                    Poll::Ready(n) => written += n?,
                    Poll::Pending => return self.deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                }
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Reads what is left of a request's body, but no more than `bytes_max` and not for long, and throws it
    /// away. Says whether that was all of it.
    pub(super) async fn discard(&mut self, left: &mut u64, bytes_max: usize) -> bool {
        if *left == 0 {
            return true;
        }
        let mut budget = bytes_max as u64;
        self.deadline.set(Instant::now() + DRAIN_TIME_MAX);
        poll_fn(|cx| {
            loop {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(self.ahead.len());
                self.ahead.advance(n);
                *left -= n as u64;
                budget = budget.saturating_sub(n as u64);
                if *left == 0 || budget == 0 {
                    return Poll::Ready(*left == 0);
                }
                match self.poll_ahead(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| false),
                }
            }
        })
        .await
    }

    /// Ends the connection in a way that lets the client read its answer: says that nothing more comes,
    /// and takes what the client still sends for a moment, but no more than `bytes_max`.
    pub(super) async fn close(mut self, bytes_max: usize) {
        if poll_fn(|cx| Pin::new(&mut self.wire).poll_shutdown(cx)).await.is_ok() {
            let mut without_end = u64::MAX;
            self.discard(&mut without_end, bytes_max).await;
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("peer", &self.peer).finish_non_exhaustive()
    }
}
