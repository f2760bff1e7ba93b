//! The short way through the gateway: plain HTTP/1.1 requests, read, forwarded and answered as bytes.
//!
//! Decisions, headers and answers are those of every request ([`arrival`], [`super::forward`], [`answer`]); what
//! is left out is a general proxy's machinery between two connections. What is not plain does not come
//! here, or is handed on: see [`Served::HandOver`]. Upstreams over TLS, HTTP/2, upgrades, requests in
//! chunks and those that expect an interim answer are Pingora's.

mod answer;
mod buffers;
pub(super) mod head;
mod pool;
mod refuse;
mod relay;
mod write;

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Instant};

use clearway_config::ErrorCode;
use tokio::net::{TcpSocket, TcpStream};

use super::{
    State, answer as answers,
    arrival::{self, Arrival},
    attempt::is_idempotent,
    client::Client,
    exchange::{Exchange, Outcome},
};
use crate::{
    descriptors,
    upstreams::{Again, Failure},
};
use buffers::{Buffers, Stock};
use head::Head;
pub(super) use pool::{Pool, SWEEP_EVERY};
use refuse::Said;
use relay::{Broken, Progress, Relay, Relayed, Request};

/// What the requests of one worker share.
#[derive(Debug)]
pub(super) struct Fast {
    state: Arc<State>,
    pub(super) pool: Pool,
    stock: Stock,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Served {
    /// The connection may bring another.
    Kept,
    /// The connection is to be closed. `unread`: the client may still be sending.
    Ended { unread: bool },
    /// It may pass, and its route wants more than is done here.
    HandOver(Box<Exchange>),
}

impl Fast {
    pub(super) fn new(state: Arc<State>, idle_max: usize) -> Self {
        Self { state, pool: Pool::new(idle_max), stock: Stock::default() }
    }

    /// Serves the request whose head has been taken off the connection.
    pub(super) async fn serve(&self, client: &mut Client, head: &Head) -> Served {
        let mut exchange = Exchange::begin(self.state.clone());
        let body = head.body_bytes();
        let mut request = Request { body_left: body, whole: true };
        let arrival = Arrival::h1(&head.parts, &head.bytes, &client.peer);
        let (mut bytes_out, kept) = (
            0,
            match arrival::decide(&self.state, &mut exchange, &arrival) {
                Ok(()) if !exchange.is_plain() => return Served::HandOver(Box::new(exchange)),
                Ok(()) => None,
                Err(stop) => Some(refuse::refuse(client, head, &mut exchange, &mut request.body_left, &stop).await),
            },
        );
        let kept = match kept {
            Some(kept) => kept,
            None => self.forward(client, head, &mut exchange, &mut request, &mut bytes_out).await,
        };
        let (status, bytes_in) = (exchange.answered.or(exchange.status), body - request.body_left);
        exchange.conclude(Outcome { status, bytes_in, bytes_out });
        if kept { Served::Kept } else { Served::Ended { unread: request.body_left > 0 } }
    }

    /// Says whether the client's connection goes on.
    async fn forward(
        &self,
        client: &mut Client,
        head: &Head,
        exchange: &mut Exchange,
        request: &mut Request,
        bytes_out: &mut u64,
    ) -> bool {
        let mut buffers = self.stock.take();
        write::request(&mut buffers.request, head, exchange);
        let here = usize::try_from(request.body_left).unwrap_or(usize::MAX).min(client.ahead.len());
        buffers.request.extend_from_slice(&client.ahead.split_to(here));
        request.body_left -= here as u64;
        let kept = match self.attempts(client, head, exchange, request, &mut buffers, bytes_out).await {
            Ok(keep) => keep,
            Err(Failed::Silently) => false,
            Err(Failed::With(code)) => {
                exchange.failed(code);
                self.state.metrics.rejected(code);
                let standing = exchange.standing().copied();
                let mut answer = answers::failed(&exchange.asked(), code, None, standing.as_ref());
                answer.retry_after_s = exchange.attempts.retry_after_s().or(answer.retry_after_s);
                let keep = request.body_left == 0 && head.keeps_alive() && !exchange.is_draining();
                let said = Said { standing: standing.as_ref(), allow: None, keep };
                refuse::send(client, head, exchange, &answer, &said).await && keep
            }
        };
        self.stock.give_back(buffers);
        kept
    }

    async fn attempts(
        &self,
        client: &mut Client,
        head: &Head,
        exchange: &mut Exchange,
        request: &mut Request,
        buffers: &mut Buffers,
        bytes_out: &mut u64,
    ) -> Result<bool, Failed> {
        let Some(upstream) = exchange.upstream().cloned() else { return Err(Failed::With(ErrorCode::InternalError)) };
        let timeouts = upstream.timeouts();
        let again = is_idempotent(&head.parts.method);
        let mut pooled = true;
        loop {
            let began = Instant::now();
            let address = exchange.attempts.begin(&upstream, began).map_err(Failed::With)?.address;
            let until = exchange.attempts.deadline();
            let reused = if pooled { self.pool.take(&address, began) } else { None };
            let is_reused = reused.is_some();
            let stream = match reused {
                Some(stream) => stream,
                None => match connect(client, address, bounded(began + timeouts.connect, until)).await {
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
            let relay = Relay {
                patience: exchange.attempts.patience(&upstream, &head.parts.method),
                until,
                client: &mut *client,
                exchange: &mut *exchange,
                head,
                buffers: &mut *buffers,
                request: &mut *request,
                bytes_out: &mut *bytes_out,
                upstream: stream,
                timeouts,
                progress: Progress::new(began, head.keeps_alive()),
            };
            let (outcome, progress) = relay.run().await;
            let why = match outcome {
                Ok(Relayed { upstream }) => {
                    if let Some(stream) = upstream {
                        self.pool.give_back(address, stream, began);
                    }
                    return Ok(progress.keep);
                }
                Err(Broken::Client) => return Err(Failed::Silently),
                Err(Broken::Slow) if exchange.status.is_none() && buffers.answer.is_empty() => {
                    return Err(Failed::With(ErrorCode::RequestTimeout));
                }
                Err(Broken::Slow) => return Err(Failed::Silently),
                Err(why) => why,
            };
            buffers.inbox.clear();
            if why == Broken::Replaced {
                continue;
            }
            exchange.attempts.failed(if why == Broken::Timeout { Failure::Timeout } else { Failure::Broken });
            if exchange.status.is_some() || !buffers.answer.is_empty() {
                // The client has a part of an answer, and is not to take it for a whole one.
                exchange.failed(code(why));
                self.state.metrics.rejected(code(why));
                return Err(Failed::Silently);
            }
            // Where it had been closed while it rested, the same target will do.
            let rested = why == Broken::Untouched && is_reused;
            let waits = why == Broken::Timeout && upstream.retries().per_try_timeout.is_none();
            let again = again && request.whole && progress.interim == 0 && !waits;
            if !again || !exchange.attempts.may_go_on(&upstream, if rested { Again::Anywhere } else { Again::Elsewhere }) {
                return Err(Failed::With(code(why)));
            }
            pooled &= !rested;
        }
    }
}

/// A request that passed and could not be served.
#[derive(Debug, Clone, Copy)]
enum Failed {
    /// There is nobody to tell, or it is too late to.
    Silently,
    With(ErrorCode),
}

fn code(why: Broken) -> ErrorCode {
    match why {
        Broken::Timeout => ErrorCode::UpstreamTimeout,
        Broken::Slow => ErrorCode::RequestTimeout,
        Broken::NoDescriptors => ErrorCode::GatewayOverloaded,
        Broken::Client | Broken::Untouched | Broken::Upstream | Broken::Replaced => ErrorCode::UpstreamUnreachable,
    }
}

fn bounded(until: Instant, all: Option<Instant>) -> Instant {
    all.map_or(until, |all| all.min(until))
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    descriptors::spare(&socket)?;
    Ok(socket)
}

/// Connects, unless the client leaves meanwhile.
async fn connect(client: &mut Client, address: SocketAddr, until: Instant) -> Result<TcpStream, Broken> {
    client.deadline.set(until);
    let socket =
        socket_for(address).map_err(|e| if descriptors::are_used_up(&e) { Broken::NoDescriptors } else { Broken::Upstream })?;
    let mut connecting = pin!(socket.connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected.map_err(|_: io::Error| Broken::Upstream));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::Client));
        }
        client.deadline.poll(cx).map(|()| Err(Broken::Timeout))
    });
    let stream = connected.await?;
    // It only makes small requests slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
