//! A request without a body that came as a stream of HTTP/2, on the short way.
//!
//! Frames are the connection's business. Here the request is written for an upstream of HTTP/1.1, and what comes
//! back is handed to the stream as the client takes it: nothing is held but what one read brought.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use pingora::protocols::http::v2::server::HttpSession;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    net::TcpStream,
};

use super::{
    super::{
        answer as answers,
        answer::Answer,
        arrival::{Arrival, Peer},
        attempt::is_idempotent,
        body::Body,
        deadline::Deadline,
        decide::Stop,
        exchange::{Exchange, Outcome},
        refuse::allow,
    },
    Fast, answer,
    attempts::{Asker, Broken, Failed, Over, bounded},
    fields,
    refuse::Said,
};

/// Bytes that the first read brings at most, and every further one: most answers come in one.
const FIRST_READ_BYTES: usize = 4 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// Interim answers to one request at most. A stream has no place for them.
const INTERIM_MAX: usize = 16;

/// What became of a stream.
#[derive(Debug)]
pub(in super::super) enum Streamed {
    Answered,
    /// The client did not wait for its answer, or did not get all of it.
    GivenUp,
    /// It may pass, and its route wants more than is done here.
    HandOver(Box<Exchange>),
}

impl Fast {
    /// Serves a request that has no body, expects nothing and is no gRPC call.
    pub(in super::super) async fn serve_stream(&self, session: &mut HttpSession, peer: &Peer) -> Streamed {
        let mut exchange = Exchange::begin(self.state.clone());
        let request = session.req_header();
        let arrival = Arrival::h2(request.as_ref(), request.raw_path(), false, peer, !self.state.gate.is_crowded());
        let decided = self.decide(&mut exchange, &arrival).await;
        let mut bytes_out = 0;
        let sent = match decided {
            Ok(()) if !exchange.is_plain() => return Streamed::HandOver(Box::new(exchange)),
            Ok(()) => self.forward_stream(session, &mut exchange, &mut bytes_out).await,
            Err(stop) => {
                let answer = answers::stopped(&exchange.asked(), &stop);
                let standing = exchange.standing().copied();
                let said = match &stop {
                    Stop::Refused(reject) => Said { standing: reject.standing(), allow: allow(reject), keep: true },
                    Stop::Answered(_) => Said { standing: standing.as_ref(), allow: None, keep: true },
                };
                send(session, &mut exchange, answer, &said).await
            }
        };
        exchange.conclude(Outcome { status: exchange.answered.or(exchange.status), bytes_in: 0, bytes_out });
        if sent { Streamed::Answered } else { Streamed::GivenUp }
    }

    /// Says whether the client has been sent its whole answer.
    async fn forward_stream(&self, session: &mut HttpSession, exchange: &mut Exchange, bytes_out: &mut u64) -> bool {
        let request = session.req_header();
        let (method, mut head) = (request.method.clone(), Vec::with_capacity(1024));
        fields::request(&mut head, request.as_ref(), request.raw_path(), exchange);
        let deadline = Deadline::at(Instant::now() + self.state.limits.idle_timeout);
        let mut stream = Stream { session, method, head, deadline, interim: 0, bytes_out };
        match self.attempts(&mut stream, exchange).await {
            Ok(()) => true,
            Err(Failed::Silently) => {
                // So that it does not take a part for the whole; one that has left is told nothing.
                session.shutdown();
                false
            }
            Err(Failed::With(code)) => {
                let answer = self.failed(exchange, code);
                let standing = exchange.standing().copied();
                send(session, exchange, answer, &Said { standing: standing.as_ref(), allow: None, keep: true }).await
            }
        }
    }
}

/// Sends an answer of the gateway's own. Says whether the client took it.
async fn send(session: &mut HttpSession, exchange: &mut Exchange, answer: Answer, said: &Said<'_>) -> bool {
    let bodiless = session.req_header().method == Method::HEAD || answer.body.is_empty();
    let head = fields::own(&answer, said, exchange);
    exchange.release(answer.status);
    exchange.answered = Some(answer.status);
    session.write_response_header(head, bodiless).is_ok()
        && (bodiless || session.write_body(Bytes::from(answer.body), true).await.is_ok())
}

/// A client behind a stream, asking.
struct Stream<'a> {
    session: &'a mut HttpSession,
    method: Method,
    /// What the upstream is sent.
    head: Vec<u8>,
    deadline: Deadline,
    interim: usize,
    bytes_out: &'a mut u64,
}

impl Asker for Stream<'_> {
    fn method(&self) -> &Method {
        &self.method
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(self.session.idle()).poll(cx).map(|_| ())
    }

    async fn ask(&mut self, exchange: &mut Exchange, mut over: Over) -> Result<Option<TcpStream>, Broken> {
        self.deadline.set(bounded(over.began + over.timeouts.write, over.until));
        let all_sent = self.send_head(&mut over.upstream).await?;
        self.deadline.set(bounded(over.began + over.patience, over.until));
        let mut inbox = BytesMut::with_capacity(FIRST_READ_BYTES);
        let begun = loop {
            if self.read(&mut over.upstream, &mut inbox).await?.unwrap_or(0) == 0 {
                let untouched = inbox.is_empty() && self.interim == 0;
                return Err(if untouched { Broken::Untouched } else { Broken::Upstream });
            }
            if let Some(begun) = self.begin(&mut inbox, exchange)? {
                break begun;
            }
        };
        let body = self.pass(begun.body, begun.status, &mut inbox, exchange, &mut over).await?;
        let reusable = all_sent && begun.keeps && body.is_over() && inbox.is_empty();
        Ok(reusable.then_some(over.upstream))
    }

    fn can_repeat(&self) -> bool {
        self.interim == 0
    }

    fn has_begun(&self, exchange: &Exchange) -> bool {
        exchange.status.is_some()
    }
}

impl Stream<'_> {
    /// Says whether the upstream took all of it. One that does not may have answered all the same.
    async fn send_head(&mut self, upstream: &mut TcpStream) -> Result<bool, Broken> {
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < self.head.len() {
                match Pin::new(&mut *upstream).poll_write(cx, &self.head[sent..]) {
                    Poll::Ready(Ok(n @ 1..)) => sent += n,
                    Poll::Ready(_) => return Poll::Ready(Ok(false)),
                    Poll::Pending if self.poll_gone(cx).is_ready() => return Poll::Ready(Err(Broken::Client)),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| Err(Broken::Timeout)),
                }
            }
            Poll::Ready(Ok(true))
        })
        .await
    }

    /// Reads more of the answer; 0 is the end. What the upstream does is in the inner result.
    async fn read(&mut self, upstream: &mut TcpStream, inbox: &mut BytesMut) -> Result<io::Result<usize>, Broken> {
        poll_fn(|cx| {
            if let Poll::Ready(read) = pin!(upstream.read_buf(inbox)).poll(cx) {
                return Poll::Ready(Ok(read));
            }
            if self.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            self.deadline.poll(cx).map(|()| Err(Broken::Timeout))
        })
        .await
    }

    /// Reads the answer's head, and what is interim before it, and passes it on. `None` while it is not complete.
    fn begin(&mut self, inbox: &mut BytesMut, exchange: &mut Exchange) -> Result<Option<answer::Begun>, Broken> {
        loop {
            let mut head = None;
            let begun = answer::read(inbox, &self.method, |read| head = Some(fields::answer(read, exchange)));
            let Some((begun, head)) = begun.map_err(|_| Broken::Upstream)?.zip(head) else {
                inbox.reserve(FIRST_READ_BYTES);
                return Ok(None);
            };
            inbox.advance(begun.head_bytes);
            if begun.is_interim() {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(Broken::Upstream);
                }
                continue;
            }
            exchange.attempts.answered(begun.status);
            let again = self.interim == 0 && is_idempotent(&self.method);
            if again && exchange.upstream().is_some_and(|to| exchange.attempts.may_replace(to, begun.status)) {
                return Err(Broken::Replaced);
            }
            exchange.status = Some(begun.status);
            let over = begun.body.is_over();
            if over {
                exchange.release(begun.status);
            } else if let Some(charged) = exchange.admission() {
                charged.ends_soon();
            }
            self.session.write_response_header(head, over).map_err(|_| Broken::Client)?;
            return Ok(Some(begun));
        }
    }

    /// Passes the body on, to its end.
    async fn pass(
        &mut self,
        mut body: Body,
        status: u16,
        inbox: &mut BytesMut,
        exchange: &mut Exchange,
        over: &mut Over,
    ) -> Result<Body, Broken> {
        if body.is_over() {
            return Ok(body);
        }
        loop {
            while !inbox.is_empty() && !body.is_over() {
                let piece = body.piece(inbox).map_err(|_| Broken::Upstream)?;
                inbox.advance(piece.framing);
                let payload = inbox.split_to(piece.payload).freeze();
                let last = body.is_over();
                if last {
                    exchange.release(status);
                }
                *self.bytes_out += payload.len() as u64;
                if !payload.is_empty() || last {
                    self.session.write_body(payload, last).await.map_err(|_| Broken::Client)?;
                }
            }
            if body.is_over() {
                return Ok(body);
            }
            self.deadline.set(bounded(Instant::now() + over.timeouts.read, over.until));
            inbox.reserve(READ_BYTES);
            // A connection that is broken off is not the end of a body, not even of one that goes on to the end of it.
            if self.read(&mut over.upstream, inbox).await?.map_err(|_| Broken::Upstream)? == 0 {
                if body != Body::UntilClose {
                    return Err(Broken::Upstream);
                }
                exchange.release(status);
                self.session.finish().map_err(|_| Broken::Client)?;
                return Ok(body);
            }
        }
    }
}
