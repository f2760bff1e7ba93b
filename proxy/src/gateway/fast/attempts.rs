//! A request's attempts at its upstream: to which target, over which connection, and what is done after a failure.
//!
//! Who asks, and in which protocol, is behind [`Asker`].

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use clearway_config::{ErrorCode, settings::gateway::upstream::Timeouts};
use http::Method;
use tokio::net::{TcpSocket, TcpStream};

use super::{
    super::{attempt::is_idempotent, deadline::Deadline, exchange::Exchange},
    Fast,
};
use crate::{
    descriptors,
    upstreams::{Again, Failure},
};

/// The client's side of a request that is being forwarded.
pub(super) trait Asker: Send {
    fn method(&self) -> &Method;

    fn deadline(&mut self) -> &mut Deadline;

    /// Ready when the client has left.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends the request and passes the answer on, both whole. The connection comes back where it can be used again.
    fn ask(&mut self, exchange: &mut Exchange, over: Over) -> impl Future<Output = Result<Option<TcpStream>, Broken>> + Send;

    /// Whether the whole request is still there to be sent again, and the client has seen nothing of an answer.
    fn can_repeat(&self) -> bool;

    /// Whether the client has a part of the answer, or is about to get it.
    fn has_begun(&self, exchange: &Exchange) -> bool;
}

/// What an attempt goes over, and how long it may take.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) upstream: TcpStream,
    pub(super) began: Instant,
    pub(super) timeouts: Timeouts,
    /// For the head of the answer.
    pub(super) patience: Duration,
    /// For all attempts together.
    pub(super) until: Option<Instant>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client left, or no longer takes its bytes.
    Client,
    /// The connection ended before the first byte of an answer.
    Untouched,
    Upstream,
    Timeout,
    /// The client sends its request's body too slowly, or has stopped.
    Slow,
    /// There is no file descriptor for a connection.
    NoDescriptors,
    /// It was answered with what is better asked for elsewhere; the client has seen nothing of it.
    Replaced,
}

/// A request that passed and could not be served.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failed {
    /// There is nobody to tell, or it is too late to.
    Silently,
    With(ErrorCode),
}

impl Fast {
    /// Until the answer has been passed on.
    pub(super) async fn attempts<A: Asker>(&self, asker: &mut A, exchange: &mut Exchange) -> Result<(), Failed> {
        let Some(upstream) = exchange.upstream().cloned() else { return Err(Failed::With(ErrorCode::InternalError)) };
        let timeouts = upstream.timeouts();
        let again = is_idempotent(asker.method());
        let mut pooled = true;
        loop {
            let began = Instant::now();
            let address = exchange.attempts.begin(&upstream, began).map_err(Failed::With)?.address;
            let until = exchange.attempts.deadline();
            let reused = if pooled { self.pool.take(&address, began) } else { None };
            let is_reused = reused.is_some();
            let stream = match reused {
                Some(stream) => stream,
                None => match connect(asker, address, bounded(began + timeouts.connect, until)).await {
                    Ok(stream) => stream,
                    Err(Broken::Client) => return Err(Failed::Silently),
                    Err(Broken::NoDescriptors) => {
                        exchange.attempts.failed(Failure::NoDescriptors);
                        return Err(Failed::With(ErrorCode::GatewayOverloaded));
                    }
                    Err(why) => {
                        exchange.attempts.failed(Failure::Connect);
                        if exchange.attempts.may_go_on(&upstream, Again::Elsewhere) {
                            continue;
                        }
                        return Err(Failed::With(code(why)));
                    }
                },
            };
            let patience = exchange.attempts.patience(&upstream, asker.method());
            let why = match asker.ask(exchange, Over { upstream: stream, began, timeouts, patience, until }).await {
                Ok(kept) => {
                    if let Some(stream) = kept {
                        self.pool.give_back(address, stream, began);
                    }
                    return Ok(());
                }
                Err(Broken::Client) => return Err(Failed::Silently),
                Err(Broken::Slow) if asker.has_begun(exchange) => return Err(Failed::Silently),
                Err(Broken::Slow) => return Err(Failed::With(ErrorCode::RequestTimeout)),
                Err(Broken::Replaced) => continue,
                Err(why) => why,
            };
            exchange.attempts.failed(if why == Broken::Timeout { Failure::Timeout } else { Failure::Broken });
            if asker.has_begun(exchange) {
                // The client has a part of an answer, and is not to take it for a whole one.
                exchange.failed(code(why));
                self.state.metrics.rejected(code(why));
                return Err(Failed::Silently);
            }
            // Where it had been closed while it rested, the same target will do.
            let rested = why == Broken::Untouched && is_reused;
            let waits = why == Broken::Timeout && upstream.retries().per_try_timeout.is_none();
            let again = again && asker.can_repeat() && !waits;
            if !again || !exchange.attempts.may_go_on(&upstream, if rested { Again::Anywhere } else { Again::Elsewhere }) {
                return Err(Failed::With(code(why)));
            }
            pooled &= !rested;
        }
    }
}

fn code(why: Broken) -> ErrorCode {
    match why {
        Broken::Timeout => ErrorCode::UpstreamTimeout,
        Broken::Slow => ErrorCode::RequestTimeout,
        Broken::NoDescriptors => ErrorCode::GatewayOverloaded,
        Broken::Client | Broken::Untouched | Broken::Upstream | Broken::Replaced => ErrorCode::UpstreamUnreachable,
    }
}

pub(super) fn bounded(until: Instant, all: Option<Instant>) -> Instant {
    all.map_or(until, |all| all.min(until))
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    descriptors::spare(&socket)?;
    Ok(socket)
}

/// Connects, unless the client leaves meanwhile.
async fn connect<A: Asker>(asker: &mut A, address: SocketAddr, until: Instant) -> Result<TcpStream, Broken> {
    asker.deadline().set(until);
    let socket =
        socket_for(address).map_err(|e| if descriptors::are_used_up(&e) { Broken::NoDescriptors } else { Broken::Upstream })?;
    let mut connecting = pin!(socket.connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected.map_err(|_: io::Error| Broken::Upstream));
        }
        if asker.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::Client));
        }
        asker.deadline().poll(cx).map(|()| Err(Broken::Timeout))
    });
    let stream = connected.await?;
    // It only makes small requests slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
