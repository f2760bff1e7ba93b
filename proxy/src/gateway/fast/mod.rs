//! The short way through the gateway: plain HTTP/1.1 requests, read, forwarded and answered as bytes.
//!
//! Decisions, headers and answers are those of every request ([`arrival`], [`super::forward`], [`answer`]); what
//! is left out is a general proxy's machinery between two connections. What is not plain does not come
//! here, or is handed on: see [`Served::HandOver`]. Upstreams over TLS, HTTP/2 to them, upgrades, requests in
//! chunks and those that expect an interim answer are Pingora's.
//!
//! Requests that come by HTTP/2 without a body go the same way to their upstream: [`stream`].

mod answer;
mod attempts;
mod buffers;
mod fields;
pub(super) mod head;
mod pool;
mod refuse;
mod relay;
pub(super) mod stream;
mod write;

use std::sync::Arc;

use clearway_config::ErrorCode;

use super::{
    State,
    answer::{self as answers, Answer},
    arrival::{self, Arrival},
    client::Client,
    decide::Stop,
    exchange::{Exchange, Outcome},
    server::{Counted, Open},
    shortage::Patience,
};
use attempts::Failed;
use buffers::Stock;
use head::Head;
pub(super) use pool::{Pool, SWEEP_EVERY};
use refuse::Said;
use relay::{Connected, Request};

/// What the requests of one worker share.
#[derive(Debug)]
pub(super) struct Fast {
    state: Arc<State>,
    pub(super) pool: Pool,
    stock: Stock,
    /// Of the worker: requests that are decided later than at once.
    undecided: Arc<Open>,
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
    pub(super) fn new(state: Arc<State>, idle_max: usize, undecided: Arc<Open>) -> Self {
        Self { state, pool: Pool::new(idle_max), stock: Stock::default(), undecided }
    }

    /// Decides, and where what this node was granted is spent, asks for more and decides again.
    async fn decide(&self, exchange: &mut Exchange, arrival: &Arrival<'_>) -> Result<(), Stop> {
        let decided = arrival::decide(&self.state, exchange, arrival);
        if exchange.facts.wanted.is_none() {
            return decided;
        }
        // Seldom: it costs other requests no room.
        Box::pin(self.decide_again(exchange, arrival, decided)).await
    }

    async fn decide_again(
        &self,
        exchange: &mut Exchange,
        arrival: &Arrival<'_>,
        mut decided: Result<(), Stop>,
    ) -> Result<(), Stop> {
        // Before anything is waited for: whoever takes over waits for the decision.
        let _undecided = Counted::new(self.undecided.clone());
        let mut patience = Patience::default();
        while let Some(wanted) = exchange.facts.wanted.take() {
            decided = match patience.ask(&self.state, &wanted).await {
                Ok(()) => arrival::decide(&self.state, exchange, arrival),
                Err(reject) => Err(arrival::refused(&self.state, exchange, reject)),
            };
        }
        decided
    }

    /// Serves the request whose head has been taken off the connection.
    pub(super) async fn serve(&self, client: &mut Client, head: &Head) -> Served {
        let mut exchange = Exchange::begin(self.state.clone());
        let body = head.body_bytes();
        let mut request = Request { body_left: body, whole: true };
        let arrival = Arrival::h1(&head.parts, &head.bytes, &client.peer, !self.state.gate.is_crowded());
        let (mut bytes_out, kept) = (
            0,
            match self.decide(&mut exchange, &arrival).await {
                Ok(()) if !exchange.is_plain() || exchange.waits_for_body() => return Served::HandOver(Box::new(exchange)),
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
        let mut connected = Connected::new(client, head, &mut buffers, request, bytes_out);
        let kept = match self.attempts(&mut connected, exchange).await {
            Ok(()) => connected.keeps(),
            Err(Failed::Silently) => false,
            Err(Failed::With(code)) => {
                let answer = self.failed(exchange, code);
                let keep = request.body_left == 0 && head.keeps_alive() && !exchange.is_draining();
                let standing = exchange.standing().copied();
                let said = Said { standing: standing.as_ref(), allow: None, keep };
                refuse::send(client, head, exchange, &answer, &said).await && keep
            }
        };
        self.stock.give_back(buffers);
        kept
    }

    /// The answer to a request that passed and could not be served.
    fn failed(&self, exchange: &mut Exchange, code: ErrorCode) -> Answer {
        exchange.failed(code);
        self.state.metrics.rejected(code);
        let mut answer = answers::failed(&exchange.asked(), code, exchange.standing());
        answer.retry_after_s = exchange.attempts.retry_after_s().or(answer.retry_after_s);
        answer
    }
}
