//! What the access log is told of a message that a sender has posted: gathered on its way, and said when the answer has
//! been sent, or the sender has left.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use clearway_config::{AccountId, ErrorCode, KeyId, RequestId, WebhookId};
use clearway_filters::request::RequestView;
use http::{Method, request::Parts};

use crate::{
    access_log::line::Line,
    gateway::{
        Peer, State, now_ms,
        trace::{Trace, fresh_ids},
    },
    ledger::STATUS_CLIENT_GONE,
};

/// What stands for its path where paths are not logged.
const ROUTE_PATH: &str = "/webhooks";

#[derive(Debug)]
pub(super) struct Entry {
    state: Arc<State>,
    began: Instant,
    time_ms: u64,
    pub(super) request_id: RequestId,
    pub(super) trace_id: u128,
    method: Method,
    host: Box<str>,
    path: Box<str>,
    described: String,
    /// Of the answer, once there is one.
    pub(super) status: Option<u16>,
    pub(super) reject: Option<ErrorCode>,
    pub(super) account: Option<AccountId>,
    pub(super) key: Option<KeyId>,
    pub(super) webhook: Option<WebhookId>,
    address: IpAddr,
    upstream: Option<SocketAddr>,
    upstream_took: Option<Duration>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    tls: Option<&'static str>,
}

impl Entry {
    pub(super) fn begin(state: &Arc<State>, parts: &Parts, peer: &Peer) -> Self {
        let time_ms = now_ms();
        let (request_id, random) = fresh_ids(time_ms);
        let incoming = parts.headers.get("traceparent").map(http::HeaderValue::as_bytes);
        Self {
            state: state.clone(),
            began: Instant::now(),
            time_ms,
            request_id,
            trace_id: Trace::continue_or_start(incoming, random, |_| false).id,
            method: parts.method.clone(),
            host: Box::default(),
            path: Box::default(),
            described: String::new(),
            status: None,
            reject: None,
            account: None,
            key: None,
            webhook: None,
            address: peer.address,
            upstream: None,
            upstream_took: None,
            bytes_in: 0,
            bytes_out: 0,
            tls: peer.tls.as_ref().map(|tls| tls.version),
        }
    }

    /// What the request says, in the one way in which it can be read.
    pub(super) fn read(&mut self, view: &RequestView<'_>, parts: &Parts) {
        self.host = view.host().into();
        self.path = view.path().into();
        self.address = view.address();
        let shape = self.state.access_log.shape();
        if shape.describes() {
            shape.describe(view.query().map(str::as_bytes), &parts.headers, &mut self.described);
        }
    }

    /// The receiver was asked, at `address` where anybody was connected to.
    pub(super) fn asked(&mut self, address: Option<IpAddr>, port: u16, took: Duration) {
        self.upstream = address.map(|address| (address, port).into());
        self.upstream_took = Some(took);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let line = Line {
            time_ms: self.time_ms,
            request_id: self.request_id,
            trace_id: self.trace_id,
            method: self.method.as_str(),
            host: &self.host,
            path: &self.path,
            described: &self.described,
            route: None,
            route_path: Some(ROUTE_PATH),
            status: self.status.unwrap_or(STATUS_CLIENT_GONE),
            // Nothing is charged here.
            admitted: false,
            reject: self.reject,
            account_id: self.account,
            key_id: self.key,
            webhook_id: self.webhook,
            plan: None,
            auth: None,
            subject: None,
            address: Some(self.address),
            duration_us: micros(self.began.elapsed()),
            upstream_us: self.upstream_took.map(micros),
            upstream: self.upstream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            cache: None,
            interrupted: false,
            protocol: Some("http/1.1"),
            tls: self.tls,
        };
        self.state.access_log.push(&line, None);
    }
}
