//! The gateway: requests come in here, are decided by [`decide`], and go on to an upstream or back.
//!
//! Pingora parses, frames and pools; this module is the only one that speaks its types. Phases are
//! thin: each hands on to a function of its own file. TLS towards clients is not done here.

mod answer;
pub(crate) mod decide;
mod downstream;
mod exchange;
mod failure;
mod forward;
mod head;
mod refuse;
pub(crate) mod server;
mod texts;
mod trace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::Version;
use ipnet::IpNet;
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use crate::{access_log::AccessLog, ledger::Ledger, metrics::Metrics, routes::RouteFiles, snapshot::Snapshot, spans::Spans};
use decide::{Grounds, Incoming};
use downstream::Downstream;
use exchange::{Exchange, ForwardedProto, Outcome};
use texts::{Word, Writer};
use trace::Trace;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) routes: Arc<RouteFiles>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) spans: Spans,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// No further request is taken on any connection.
    pub(crate) draining: AtomicBool,
}

/// The phases. One a worker thread, over one [`State`].
#[derive(Debug)]
pub(crate) struct Gateway {
    state: Arc<State>,
}

/// Milliseconds since 1970 UTC; a clock before that is at 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 128 bits for an id.
pub(crate) fn random() -> u128 {
    trace::fresh_ids(0).1.0
}

impl Gateway {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Decides; synchronous, so that what it borrows from the snapshot is held across no await.
    fn decide(&self, session: &Session, exchange: &mut Exchange) -> Result<(), clearway_filters::Reject> {
        let request = session.req_header();
        let table = self.state.routes.current();
        exchange.under(table.clone(), &request.method);
        let peer = session.stream().and_then(Downstream::of).map(|downstream| {
            downstream.take_on();
            downstream.peer()
        });
        let peer = peer.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        let traceparent = request.headers.get(forward::TRACEPARENT).map(http::HeaderValue::as_bytes);
        exchange.trace = Trace::continue_or_start(traceparent, exchange.random, |id| self.state.spans.samples(id));
        exchange.forwarded_proto = self.forwarded_proto(request, peer);

        let head = session.to_h1_raw();
        let mut words = Writer::with_capacity(256 + head.len() / 4);
        words.put(Word::RequestId, exchange.request_id);
        words.put_with(Word::Traceparent, |to| exchange.trace.write(to));
        let shape = self.state.access_log.shape();
        if shape.describes() {
            let query = head::target(&head).splitn(2, |&b| b == b'?').nth(1);
            words.put_with(Word::Described, |to| shape.describe(query, &request.headers, to));
        }
        let incoming =
            Incoming { parts: request.as_ref(), head: &head, peer, now_ms: exchange.now_ms, request_id: exchange.request_id };
        let grounds = Grounds {
            table: &table,
            snapshot: &self.state.snapshot,
            ledger: &self.state.ledger,
            trusted_proxies: &self.state.trusted_proxies,
        };
        let decision = decide::decide(&incoming, &grounds, &mut exchange.facts, &mut words);
        exchange.texts = words.done();
        let passage = decision?;
        exchange.upgrade = passage.upgrade;
        exchange.target = passage.target;
        exchange.admitted(passage.admission);
        exchange.attempts.turn = table.upstreams[passage.upstream].turn();
        Ok(())
    }

    /// `https` only on the word of a trusted proxy.
    fn forwarded_proto(&self, request: &RequestHeader, peer: std::net::IpAddr) -> ForwardedProto {
        let said = request.headers.get(forward::FORWARDED_PROTO);
        let https = said.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
        if https && self.state.trusted_proxies.iter().any(|net| net.contains(&peer.to_canonical())) {
            ForwardedProto::Https
        } else {
            ForwardedProto::Http
        }
    }

    fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several futures.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        Box::new(Exchange::begin(self.state.clone()))
    }

    /// None: Pingora's compression module would cost every request, and bodies are not ours to change.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        match self.decide(session, exchange) {
            Ok(()) => {
                if exchange.upgrade {
                    server::prepare_upgrade(session);
                }
                Ok(false)
            }
            Err(reject) => {
                self.state.metrics.rejected(reject.code());
                exchange.facts.reject = Some(reject.code());
                // It fails only where the client has gone.
                refuse::refuse(session, exchange, &reject).await.map_err(Error::into_down)?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, exchange: &mut Box<Exchange>) -> Result<Box<HttpPeer>> {
        let passage = exchange.table().zip(exchange.facts.upstream);
        let Some((table, upstream)) = passage else {
            return Error::e_explain(ErrorType::InternalError, "a request without an upstream reached its phase");
        };
        let upstream = &table.upstreams[upstream];
        let Some(target) = upstream.pick(exchange.attempts.turn, exchange.attempts.made) else {
            self.state.metrics.upstream_failed(&upstream.name, "unresolved");
            return Err(Error::explain(ErrorType::ConnectNoRoute, "no address is known").into_up());
        };
        let peer = upstream.peer(&target, exchange.upgrade);
        exchange.attempts.made += 1;
        exchange.attempts.target = Some(target.address);
        exchange.attempts.began = Some(Instant::now());
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        forward::request(upstream, exchange)
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        _: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        exchange.attempts.took = exchange.attempts.began.map(|began| began.elapsed());
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if self.is_draining() {
            session.set_keepalive(None);
        }
        let client: Version = session.req_header().version;
        forward::response(answer, client, exchange)?;
        if forward::ends_with_head(answer, &session.req_header().method) {
            exchange.release(answer.status.as_u16());
        }
        exchange.status = Some(answer.status.as_u16());
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if end && let Some(status) = exchange.status {
            exchange.release(status);
        }
        Ok(None)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, exchange: &mut Box<Exchange>, error: Box<Error>) -> Box<Error> {
        failure::on_connect(&self.state.metrics, exchange, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Box<Exchange>,
        reused: bool,
    ) -> Box<Error> {
        failure::while_proxying(&self.state.metrics, session, exchange, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Box<Exchange>) -> FailToProxy {
        failure::answer(&self.state.metrics, session, exchange, error).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, exchange: &mut Box<Exchange>) {
        exchange.conclude(Outcome {
            status: session.response_written().map(|answer| answer.status.as_u16()),
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: session.body_bytes_sent() as u64,
        });
    }

    fn suppress_error_log(&self, _: &Session, _: &Box<Exchange>, _: &Error) -> bool {
        // The access log and the metrics say it; Pingora's own line would repeat it with the query string.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Exchange>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
