//! One attempt at an upstream: a request sent, its answer brought back, both at the same time.
//!
//! Nothing is held but what one read brought: where one side does not take its bytes, the other is not
//! read. While the upstream is waited for, the client is listened to, so that it is noticed leaving.

use std::{
    future::poll_fn,
    io::Write as _,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _};
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    net::TcpStream,
};

use super::{
    super::{attempt::is_idempotent, client::Client, deadline::Deadline, exchange::Exchange, pace::Pace},
    answer::{self, Begun},
    attempts::{Asker, Broken, Over},
    buffers::Buffers,
    head::Head,
};

/// Bytes that one read brings at most.
const READ_BYTES: usize = 16 * 1024;
/// Interim answers to one request at most.
const INTERIM_MAX: usize = 16;

/// What is still to be done of a request; outlives an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// Bytes of its body that have not been read from the client.
    pub(super) body_left: u64,
    /// Whether all that was sent of it is still there to be sent again.
    pub(super) whole: bool,
}

/// A client on a connection of HTTP/1.1, asking.
#[derive(Debug)]
pub(super) struct Connected<'a> {
    client: &'a mut Client,
    head: &'a Head,
    /// `request` holds what is to be sent first.
    buffers: &'a mut Buffers,
    request: &'a mut Request,
    bytes_out: &'a mut u64,
    keeps: bool,
    interim: usize,
}

impl<'a> Connected<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        head: &'a Head,
        buffers: &'a mut Buffers,
        request: &'a mut Request,
        bytes_out: &'a mut u64,
    ) -> Self {
        Self { client, head, buffers, request, bytes_out, keeps: false, interim: 0 }
    }

    /// Whether the connection goes on behind an answer that was passed on whole.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }
}

impl Asker for Connected<'_> {
    fn method(&self) -> &Method {
        &self.head.parts.method
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.client.deadline
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_gone(cx)
    }

    async fn ask(&mut self, exchange: &mut Exchange, over: Over) -> Result<Option<TcpStream>, Broken> {
        let Self { client, head, buffers, request, bytes_out, .. } = self;
        let progress = Progress::new(over.began, head.keeps_alive());
        let relay = Relay { client, exchange, head, buffers, request, bytes_out, over, progress };
        let (outcome, progress) = relay.run().await;
        (self.keeps, self.interim) = (progress.keep, progress.interim);
        if outcome.is_err() {
            self.buffers.inbox.clear();
        }
        outcome
    }

    fn can_repeat(&self) -> bool {
        self.request.whole && self.interim == 0
    }

    fn has_begun(&self, exchange: &Exchange) -> bool {
        exchange.status.is_some() || !self.buffers.answer.is_empty()
    }
}

#[derive(Debug)]
struct Relay<'a> {
    client: &'a mut Client,
    exchange: &'a mut Exchange,
    head: &'a Head,
    buffers: &'a mut Buffers,
    request: &'a mut Request,
    bytes_out: &'a mut u64,
    over: Over,
    progress: Progress,
}

/// Where an attempt stands.
#[derive(Debug)]
struct Progress {
    /// Bytes of the request's buffer that have been sent.
    sent: usize,
    /// The upstream takes no more of the request; its answer may be on its way all the same.
    deaf: bool,
    answer: Option<Begun>,
    interim: usize,
    /// Bytes of the answer's buffer that the client has taken.
    written: usize,
    flushed: bool,
    /// Everything is in the answer's buffer.
    over: bool,
    /// The upstream sent more than its answer.
    excess: bool,
    keep: bool,
    last: Instant,
    moved: bool,
    /// What the client does, where it is waited for.
    client: Option<Does>,
    sends: Pace,
    takes: Pace,
}

/// What a client is waited for to do.
#[derive(Debug, Clone, Copy)]
enum Does {
    Send,
    Take,
}

impl Progress {
    /// At the beginning; `keep`: whether the client's connection may be kept.
    fn new(now: Instant, keep: bool) -> Self {
        Self {
            sent: 0,
            deaf: false,
            answer: None,
            interim: 0,
            written: 0,
            flushed: true,
            over: false,
            excess: false,
            keep,
            last: now,
            moved: false,
            client: None,
            sends: Pace::default(),
            takes: Pace::default(),
        }
    }
}

impl Relay<'_> {
    /// Until the answer has been passed on.
    async fn run(mut self) -> (Result<Option<TcpStream>, Broken>, Progress) {
        let mut first = true;
        let outcome = poll_fn(|cx| self.poll(cx, mem::take(&mut first))).await;
        let Self { request, buffers, over, progress, .. } = self;
        let outcome = outcome.map(|()| {
            let all_sent = request.body_left == 0 && progress.sent == buffers.request.len() && !progress.deaf;
            let keeps = progress.answer.is_some_and(|answer| answer.keeps);
            (all_sent && keeps && !progress.excess).then_some(over.upstream)
        });
        (outcome, progress)
    }

    fn poll(&mut self, cx: &mut Context<'_>, first: bool) -> Poll<Result<(), Broken>> {
        self.poll_send(cx)?;
        if let Poll::Ready(outcome) = self.poll_answer(cx) {
            return Poll::Ready(outcome);
        }
        if (self.request.body_left == 0 || self.progress.deaf) && self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::Client));
        }
        // The clock was read just before the first time.
        if mem::take(&mut self.progress.moved) && !first {
            let (now, last) = (Instant::now(), self.progress.last);
            self.progress.last = now;
            match self.progress.client {
                Some(Does::Send) => self.progress.sends.waited(now - last),
                Some(Does::Take) => self.progress.takes.waited(now - last),
                None => {}
            }
        }
        let (patience, mut broken) = self.waits_for();
        let mut until = self.progress.last + patience;
        if let Some(all) = self.over.until.filter(|all| *all < until) {
            (until, broken) = (all, Broken::Timeout);
        }
        self.client.deadline.set(until);
        self.client.deadline.poll(cx).map(|()| Err(broken))
    }

    /// Who is to move next, for how long that is waited for, and what it is called if it does not.
    fn waits_for(&mut self) -> (Duration, Broken) {
        let Progress { sent, deaf, written, sends, takes, .. } = self.progress;
        let limits = self.client.limits;
        self.progress.client = None;
        if written < self.buffers.answer.len() || !self.progress.flushed {
            self.progress.client = Some(Does::Take);
            (limits.write_timeout.min(takes.left(&limits)), Broken::Client)
        } else if sent < self.buffers.request.len() && !deaf {
            (self.over.timeouts.write, Broken::Timeout)
        } else if self.request.body_left > 0 && !deaf {
            self.progress.client = Some(Does::Send);
            (limits.body_timeout.min(sends.left(&limits)), Broken::Slow)
        } else if self.progress.answer.is_none() {
            (self.over.patience, Broken::Timeout)
        } else {
            (self.over.timeouts.read, Broken::Timeout)
        }
    }

    /// Sends what can be sent of the request now.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let Self { client, request, progress, buffers, over: Over { upstream, .. }, .. } = self;
        let to_send = &mut buffers.request;
        while !progress.deaf {
            if progress.sent < to_send.len() {
                match Pin::new(&mut *upstream).poll_write(cx, &to_send[progress.sent..]) {
                    Poll::Ready(Ok(n @ 1..)) => progress.sent += n,
                    // Perhaps it has answered early and closed: that is seen when it is read.
                    Poll::Ready(_) => progress.deaf = true,
                    Poll::Pending => break,
                }
            } else if request.body_left > 0 {
                (progress.sent, request.whole) = (0, false);
                to_send.clear();
                let Poll::Ready(n) = poll_body(client, cx, to_send, request.body_left) else { break };
                let n = n?;
                request.body_left -= n as u64;
                progress.sends.moved(n);
            } else {
                break;
            }
            progress.moved = true;
        }
        Ok(())
    }

    /// Passes on what can be passed on of the answer now. Ready when that is all of it.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_write(cx))?;
            if self.progress.over {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_read(cx))?;
            self.progress.moved = true;
            if self.progress.answer.is_none() {
                self.begin()?;
            }
            if let Some(answer) = self.progress.answer.filter(|_| !self.progress.over) {
                self.pass(answer)?;
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Self { client, buffers, progress, .. } = self;
        while progress.written < buffers.answer.len() {
            let n = ready!(client.poll_write(cx, &buffers.answer[progress.written..])).map_err(|_| Broken::Client)?;
            (progress.written, progress.flushed, progress.moved) = (progress.written + n, false, true);
            progress.takes.moved(n);
        }
        if !progress.flushed {
            ready!(client.poll_flush(cx)).map_err(|_| Broken::Client)?;
            progress.flushed = true;
        }
        buffers.answer.clear();
        progress.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads more of the answer; its end, where it has none of its own, makes it over.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Self { over: Over { upstream, .. }, buffers, progress, .. } = self;
        buffers.inbox.reserve(READ_BYTES);
        let read = ready!(pin!(upstream.read_buf(&mut (&mut buffers.inbox).limit(READ_BYTES))).poll(cx));
        match (read, &progress.answer) {
            (Ok(1..), _) => Poll::Ready(Ok(())),
            (Ok(0), Some(Begun { chunked: true, status, .. })) => {
                buffers.answer.extend_from_slice(b"0\r\n\r\n");
                progress.over = true;
                self.exchange.release(*status);
                Poll::Ready(Ok(()))
            }
            (_, None) if buffers.inbox.is_empty() && progress.interim == 0 => Poll::Ready(Err(Broken::Untouched)),
            _ => Poll::Ready(Err(Broken::Upstream)),
        }
    }

    /// Reads the answer's head, and interim answers before it, if they are there.
    fn begin(&mut self) -> Result<(), Broken> {
        let Self { exchange, head, request, buffers, progress, .. } = self;
        while progress.answer.is_none() {
            // With a request that is not read to its end its connection cannot go on.
            let keep = progress.keep && request.body_left == 0 && !exchange.is_draining();
            let begun = answer::begin(&buffers.inbox, &mut buffers.answer, exchange, &head.parts.method, keep);
            let Some(begun) = begun.map_err(|_| Broken::Upstream)? else { return Ok(()) };
            buffers.inbox.drain(..begun.head_bytes);
            if !begun.is_interim() {
                exchange.attempts.answered(begun.status);
                let again = progress.interim == 0 && request.whole && is_idempotent(&head.parts.method);
                if again && exchange.upstream().is_some_and(|to| exchange.attempts.may_replace(to, begun.status)) {
                    buffers.answer.clear();
                    return Err(Broken::Replaced);
                }
                exchange.status = Some(begun.status);
                (progress.answer, progress.keep) = (Some(begun), keep);
                return Ok(());
            }
            progress.interim += 1;
            if progress.interim > INTERIM_MAX {
                return Err(Broken::Upstream);
            }
            if buffers.inbox.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves what the inbox has of the body to the client's buffer.
    fn pass(&mut self, mut answer: Begun) -> Result<(), Broken> {
        let Self { exchange, buffers: Buffers { inbox, answer: to, .. }, progress, .. } = self;
        let advance = answer.body.advance(inbox).map_err(|_| Broken::Upstream)?;
        *self.bytes_out += advance.payload;
        if answer.chunked {
            if !inbox.is_empty() {
                write!(to, "{:x}\r\n", inbox.len()).expect("a Vec takes everything");
                to.extend_from_slice(inbox);
                to.extend_from_slice(b"\r\n");
            }
        } else if to.is_empty() && advance.passed == inbox.len() && advance.tail.is_empty() {
            mem::swap(to, inbox);
        } else {
            to.extend_from_slice(&inbox[..advance.passed]);
            to.extend_from_slice(advance.tail);
        }
        progress.excess = advance.taken < inbox.len();
        inbox.clear();
        progress.over = answer.body.is_over();
        progress.answer = Some(answer);
        if progress.over {
            exchange.release(answer.status);
        }
        Ok(())
    }
}

/// Moves more of a request's body, of which `left` bytes are still to come, to `to`.
fn poll_body(client: &mut Client, cx: &mut Context<'_>, to: &mut Vec<u8>, left: u64) -> Poll<Result<usize, Broken>> {
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
    if !client.ahead.is_empty() {
        let n = most.min(client.ahead.len());
        to.extend_from_slice(&client.ahead[..n]);
        client.ahead.advance(n);
        return Poll::Ready(Ok(n));
    }
    to.reserve(most);
    match ready!(pin!(client.wire.read_buf(&mut to.limit(most))).poll(cx)) {
        Ok(n @ 1..) => Poll::Ready(Ok(n)),
        Ok(0) | Err(_) => Poll::Ready(Err(Broken::Client)),
    }
}
