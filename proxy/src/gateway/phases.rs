//! The phases of a request that Pingora serves: each hands on to a function of its own file, and decides nothing itself.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use clearway_filters::Reject;
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable},
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use super::{
    State,
    arrival::{self, Arrival, Peer},
    baton, caching, compress,
    decide::Stop,
    downstream::Downstream,
    due,
    exchange::{Exchange, Outcome},
    failure, forward, grpc, h2, handed, json, mirror, refuse,
    shortage::Patience,
    whole_body,
};

/// The phases. One a worker thread, over one [`State`].
#[derive(Debug)]
pub(crate) struct Gateway {
    state: Arc<State>,
}

impl Gateway {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    fn decide(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Stop> {
        let connection = session.stream().and_then(Downstream::of);
        if let Some(connection) = connection {
            connection.take_on();
        }
        exchange.room = self.state.gate.room();
        let has_room = exchange.room.is_some() && !self.state.gate.is_crowded();
        if exchange.decided {
            return if has_room { Ok(()) } else { Err(arrival::refused(&self.state, exchange, Reject::Overloaded)) };
        }
        let request = session.req_header();
        if let Some(connection) = h2::Connection::of(session) {
            // What follows a CONNECT is a tunnel.
            let follows = request.method != Method::CONNECT && session.as_http2().is_some_and(|session| !session.is_body_empty());
            let arrival = Arrival::h2(request.as_ref(), request.raw_path(), follows, &connection.peer, has_room);
            return arrival::decide(&self.state, exchange, &arrival);
        }
        let nobody = Peer { address: Ipv4Addr::UNSPECIFIED.into(), tls: None, parting: false };
        let peer = connection.map_or(&nobody, Downstream::peer);
        let head = session.to_h1_raw();
        arrival::decide(&self.state, exchange, &Arrival::h1(request.as_ref(), &head, peer, has_room))
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several futures.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        handed::take().unwrap_or_else(|| Box::new(Exchange::begin(self.state.clone())))
    }

    /// None: Pingora's compression module would cost every request, and bodies are not ours to change.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        if session.subrequest_ctx.is_some() {
            // Pingora's own, in the name of a request that has been decided.
            exchange.background = true;
            let Some(shadow) = self.state.revalidations.take(session) else { return Ok(true) };
            *exchange = shadow;
            return Ok(false);
        }
        let mut decision = self.decide(session, exchange);
        let mut patience = Patience::default();
        while let Some(wanted) = exchange.facts.wanted.take() {
            decision = match patience.ask(&self.state, &wanted).await {
                Ok(()) => self.decide(session, exchange),
                Err(reject) => Err(arrival::refused(&self.state, exchange, reject)),
            };
        }
        if exchange.due.is_none() {
            baton::decided();
        }
        match decision {
            Ok(()) => {
                if exchange.upgrade {
                    // Silence on an upgraded connection is not a fault, unless it lasts.
                    session.set_read_timeout(None);
                    if let Some(connection) = session.stream().and_then(Downstream::of) {
                        connection.tunnels();
                    }
                }
                let settled = due::settle(&self.state, session, exchange).await;
                // Its charge may have waited for its body.
                baton::decided();
                let settled = settled?;
                if let Err(stop) = &settled {
                    refuse::refuse(session, exchange, stop).await.map_err(Error::into_down)?;
                }
                Ok(settled.is_err())
            }
            Err(stop) => {
                // It fails only where the client has gone.
                refuse::refuse(session, exchange, &stop).await.map_err(Error::into_down)?;
                Ok(true)
            }
        }
    }

    fn request_cache_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        caching::begin(session, exchange);
        Ok(())
    }

    fn cache_key_callback(&self, _: &Session, exchange: &mut Box<Exchange>) -> Result<CacheKey> {
        let key = exchange.cache_key();
        key.ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a key asks the cache"))
    }

    fn cache_miss(&self, session: &mut Session, _: &mut Box<Exchange>) {
        caching::missed(session);
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        _: &mut HitHandler,
        is_fresh: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<ForcedFreshness>> {
        Ok(caching::found(session, exchange, meta, is_fresh))
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        let Some(code) = caching::forbidden(exchange) else { return Ok(true) };
        refuse::fail(&self.state.metrics, session, exchange, code).await.map_err(Error::into_down)?;
        Ok(false)
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        answer: &ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<RespCacheable> {
        Ok(caching::keep(session, exchange, answer))
    }

    fn should_serve_stale(&self, session: &mut Session, exchange: &mut Box<Exchange>, error: Option<&Error>) -> bool {
        caching::serves_stale(&self.state.revalidations, session, exchange, error)
    }

    async fn upstream_peer(&self, _: &mut Session, exchange: &mut Box<Exchange>) -> Result<Box<HttpPeer>> {
        let Some(upstream) = exchange.upstream().cloned() else {
            return Error::e_explain(ErrorType::InternalError, "a request without an upstream reached its phase");
        };
        let now = Instant::now();
        let upgrade = exchange.upgrade;
        let target = exchange.attempts.begin(&upstream, now);
        let target = target.map_err(|code| Error::explain(ErrorType::ConnectNoRoute, code.as_str()).into_up())?;
        let mut peer = upstream.peer(target, upgrade);
        if !upgrade {
            let left = exchange.attempts.deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
            let options = &mut peer.options;
            options.read_timeout = Some(exchange.attempts.patience(&upstream, exchange.method()).min(left));
            options.total_connection_timeout = options.total_connection_timeout.map(|timeout| timeout.min(left));
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        // A further attempt sends the body from its first byte.
        exchange.body_bytes = 0;
        exchange.body_began = None;
        caching::upstream_request(upstream, exchange)?;
        forward::request(upstream, exchange)?;
        json::upstream_request(upstream, exchange)?;
        if !exchange.mirrored && exchange.route().is_some_and(|route| route.mirror.is_some()) {
            let bodiless = session.as_mut().is_body_empty();
            mirror::begin(&self.state.mirror, exchange, upstream, bodiless);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        // A body that has not said how long it is.
        exchange.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        let max = exchange.policies().and_then(|policies| policies.body_max()).filter(|_| !exchange.upgrade);
        if max.is_some_and(|max| exchange.body_bytes > max) {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is longer than its route takes").into_down());
        }
        if !end && !exchange.upgrade && exchange.body_is_slow() && !grpc::is_call(session.req_header()) {
            return Err(Error::explain(ErrorType::HTTPStatus(408), "the body comes too slowly").into_down());
        }
        if exchange.copying.is_some() {
            mirror::copy(&self.state.mirror, exchange, body.as_deref().unwrap_or_default(), end);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        let status = answer.status.as_u16();
        if answer.status.is_informational() && status != 101 {
            return Ok(());
        }
        exchange.attempts.answered(status);
        caching::answered(answer, exchange);
        failure::replaced(session, exchange, status).map_or(Ok(()), Err)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if exchange.is_draining() {
            session.set_keepalive(None);
        }
        let client: Version = session.req_header().version;
        forward::response(answer, client, exchange)?;
        json::answer(answer, client, exchange)?;
        compress::answer(answer, session, exchange)?;
        caching::answer(answer, session, exchange)?;
        exchange.bodiless = exchange.caching.is_some()
            && (session.req_header().method == Method::HEAD || matches!(answer.status.as_u16(), 204 | 304));
        if forward::ends_with_head(answer, &session.req_header().method) {
            exchange.release(answer.status.as_u16());
        }
        exchange.status = Some(answer.status.as_u16());
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            exchange.room = None;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if exchange.bodiless {
            // It was fetched for the cache.
            *body = None;
        }
        json::answer_body(body, end, exchange)?;
        compress::answer_body(body, end, exchange)?;
        if end && let Some(status) = exchange.status {
            exchange.release(status);
        } else if !exchange.upgrade && exchange.attempts.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::explain(ErrorType::ReadTimedout, "all of it took too long").into_up());
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        _: &mut HeaderMap,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Bytes>> {
        // The body ended without saying so.
        let mut rest = None;
        json::answer_body(&mut rest, true, exchange)?;
        compress::answer_body(&mut rest, true, exchange)?;
        Ok(rest)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, exchange: &mut Box<Exchange>, error: Box<Error>) -> Box<Error> {
        failure::on_connect(exchange, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Box<Exchange>,
        reused: bool,
    ) -> Box<Error> {
        failure::while_proxying(session, exchange, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Box<Exchange>) -> FailToProxy {
        failure::answer(&self.state.metrics, session, exchange, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Box<Exchange>) {
        if let Some(loan) = exchange.loan.take() {
            whole_body::give_back(session, &loan);
        }
        if let Some(connection) = h2::Connection::of(session).filter(|_| !exchange.background) {
            connection.concluded(!error.is_some_and(|error| *error.esource() == ErrorSource::Downstream));
        }
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
