//! One request from its head to its line in the log: what the phases hand to each other.
//!
//! An exchange is concluded exactly once: by the logging phase, or, where the request's task is
//! dropped in the middle (a panic, the end of a drain), by being dropped. Either way the ledger gets its
//! concurrency back and the log its line.

mod cached;
mod conclude;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use clearway_config::{
    ErrorCode, RequestId,
    settings::{
        Route,
        gateway::{Mirror, rewrite::HostRewrite},
    },
};
use clearway_filters::{
    Reject,
    policy::Policies,
    quota::{Now, Standing},
};
use http::Method;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Bodies, State,
    answer::Asked,
    attempt::Attempts,
    caching::{Caching, Came},
    compress::Compressing,
    decide::{Charge, Facts},
    due::Due,
    json::Gathered,
    mirror::Copying,
    now_ms,
    pace::Pace,
    texts::{Texts, Word},
    trace::{Trace, fresh_ids},
    whole_body::{Held, Loan},
};
use crate::{
    auth::Visit,
    ledger::{Admission, Unlogged},
    routes::Table,
    tls::acceptor::TlsFacts,
    upstreams::Upstream,
};

#[derive(Debug)]
pub(crate) struct Exchange {
    state: Arc<State>,
    table: Option<Arc<Table>>,
    pub(super) started: Instant,
    pub(super) now_ms: u64,
    pub(super) request_id: RequestId,
    pub(super) random: (u128, u64),
    pub(super) trace: Trace,
    method: Method,
    pub(super) texts: Texts,
    pub(super) facts: Facts,
    pub(super) upgrade: bool,
    /// Bytes of the request's body so far, where Pingora reads it.
    pub(super) body_bytes: u64,
    /// When its first bytes came, there.
    pub(super) body_began: Option<Instant>,
    pub(super) target: Option<Vec<u8>>,
    /// As the log names it; an upgrade is known for what it is later.
    pub(super) protocol: Option<&'static str>,
    /// For a request that Pingora serves, until its connection has become a tunnel.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Of an encrypted connection: what its handshake has shown, the client's certificate among it.
    pub(super) tls: Option<Arc<TlsFacts>>,
    pub(super) forwarded_proto: ForwardedProto,
    /// Its answer is the last on its connection.
    pub(super) parting: bool,
    hold: Hold,
    /// What an anonymous request has been given instead.
    visit: Option<Visit>,
    /// Of the upstream's answer, once its head has come.
    pub(super) status: Option<u16>,
    /// Of an answer of the gateway's own, once it has been sent.
    pub(super) answered: Option<u16>,
    pub(super) attempts: Attempts,
    /// While the request is being copied for another upstream.
    pub(super) copying: Option<Copying>,
    /// Whether it has been settled that it is copied, or is not.
    pub(super) mirrored: bool,
    /// What waits for the request's body.
    pub(super) due: Option<Box<Due>>,
    /// The client's session, where something of ours is in between.
    pub(super) loan: Option<Arc<Loan>>,
    /// What it holds of bodies that have been read.
    pub(super) held: Option<Held>,
    /// Bytes of the body that upstreams are sent, where it is not the client's.
    pub(super) rewritten: Option<usize>,
    /// While an answer's body is gathered to be changed.
    pub(super) gathered: Option<Box<Gathered>>,
    pub(super) compressing: Option<Box<Compressing>>,
    /// Where the cache may have something to do with it, and what it had.
    pub(super) caching: Option<Box<Caching>>,
    pub(super) came: Option<Came>,
    /// Nothing behind the head of the answer is for the client.
    pub(super) bodiless: bool,
    /// What it may have changed is not given out of the cache any more.
    forgotten: bool,
    /// Nobody waits for it: it brings an answer for the cache.
    pub(super) background: bool,
    /// Why it failed, where the error itself does not say so.
    pub(super) fault: Option<ErrorCode>,
    /// Whether it has been decided already, by whoever read it.
    pub(super) decided: bool,
    /// What it came to, where the answer's status does not say so.
    pub(super) meant: Option<u16>,
    concluded: bool,
}

/// What the ledger has given for the request.
#[derive(Debug)]
enum Hold {
    /// It was not counted.
    Nothing,
    /// It is being served, and takes one place.
    Place(Admission),
    /// Its answer is complete; its line is not written yet.
    Ticket(Unlogged),
}

/// How the request reached the gateway, or a trusted proxy before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ForwardedProto {
    #[default]
    Http,
    Https,
}

/// What the answer came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Exchange {
    /// Reads the clock: the one time that the request is decided, logged and answered by.
    pub(super) fn begin(state: Arc<State>) -> Self {
        let now_ms = now_ms();
        let (request_id, random) = fresh_ids(now_ms);
        state.metrics.in_flight.inc();
        Self {
            state,
            table: None,
            started: Instant::now(),
            now_ms,
            request_id,
            random,
            trace: Trace { id: random.0, span: random.1, parent: None, flags: 0 },
            method: Method::GET,
            texts: Texts::default(),
            facts: Facts::default(),
            upgrade: false,
            body_bytes: 0,
            body_began: None,
            target: None,
            protocol: None,
            room: None,
            tls: None,
            forwarded_proto: ForwardedProto::default(),
            parting: false,
            hold: Hold::Nothing,
            visit: None,
            status: None,
            answered: None,
            attempts: Attempts::default(),
            copying: None,
            mirrored: false,
            due: None,
            loan: None,
            held: None,
            rewritten: None,
            gathered: None,
            compressing: None,
            caching: None,
            came: None,
            bodiless: false,
            forgotten: false,
            background: false,
            fault: None,
            decided: false,
            meant: None,
            concluded: false,
        }
    }

    /// The routes that this request is served by, whatever is loaded meanwhile.
    pub(super) fn under(&mut self, table: Arc<Table>, method: &Method) {
        self.table = Some(table);
        self.method.clone_from(method);
    }

    /// What the answer tells browsers about encryption.
    pub(super) fn hsts(&self) -> Option<&str> {
        self.tls.as_ref().and_then(|_| self.state.front.hsts())
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The route's mirror, and where it leads.
    pub(super) fn mirror(&self) -> Option<(Mirror, &Arc<Upstream>)> {
        let mirror = self.route()?.mirror?;
        Some((mirror, self.table.as_ref()?.upstreams.get(mirror.upstream)?))
    }

    /// Once one has been found.
    pub(super) fn route(&self) -> Option<&Route> {
        self.table.as_ref().zip(self.facts.route).map(|(table, route)| &table.routes.all()[route])
    }

    /// What it is under: the route's policy, once a route has been found, and the account's.
    pub(super) fn policies(&self) -> Option<Policies<'_>> {
        let route = self.route()?;
        Some(Policies { route: &route.policy, account: self.facts.account_policy.as_deref() })
    }

    /// Once one has been chosen.
    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.table.as_ref().zip(self.facts.upstream).map(|(table, upstream)| &table.upstreams[upstream])
    }

    /// The Host that the upstream is told in the place of the client's.
    pub(super) fn rewritten_host(&self) -> Option<&[u8]> {
        match &self.route()?.rewrite.host {
            HostRewrite::Kept => None,
            HostRewrite::Upstream => self.upstream().map(|upstream| upstream.host().as_bytes()),
            HostRewrite::Named(host) => Some(host.as_bytes()),
        }
    }

    pub(super) fn bodies(&self) -> &Arc<Bodies> {
        &self.state.bodies
    }

    /// Whether route and upstream can be served without Pingora.
    pub(super) fn is_plain(&self) -> bool {
        let chosen = self.facts.route.zip(self.facts.upstream);
        self.table.as_ref().zip(chosen).is_some_and(|(table, (route, upstream))| table.is_plain(route, upstream))
    }

    pub(super) fn charged(&mut self, charge: Charge) {
        match charge {
            Charge::Nothing => {}
            Charge::Admission(admission) => self.hold = Hold::Place(admission),
            Charge::Visit(visit) => self.visit = Some(visit),
            Charge::Due(due) => self.due = Some(due),
        }
    }

    /// Charges an anonymous request to its address.
    pub(super) fn visit(&self, now: &Now, address: IpAddr) -> Result<Visit, Reject> {
        let anonymous = self.route().and_then(|route| Some((&route.name, route.anonymous.as_ref()?)));
        let ((name, limits), table) = anonymous.zip(self.table.as_ref()).ok_or(Reject::CredentialMissing)?;
        table.callers.addresses().admit(now, name, address, limits)
    }

    /// What is left of its limits, while it holds its place.
    pub(super) fn standing(&self) -> Option<&Standing> {
        self.admission().map(Admission::standing).or_else(|| self.visit.as_ref().map(Visit::standing))
    }

    /// While it holds its place.
    pub(super) fn admission(&self) -> Option<&Admission> {
        match &self.hold {
            Hold::Place(admission) => Some(admission),
            Hold::Nothing | Hold::Ticket(_) => None,
        }
    }

    /// Gives the place back, the answer being complete but for its last bytes. Before these are sent: a
    /// client that has read its answer and asks again must not meet its own last request.
    pub(super) fn release(&mut self, status: u16) {
        self.forget(status);
        self.visit = None;
        self.attempts.end();
        if matches!(self.hold, Hold::Place(_))
            && let Hold::Place(admission) = std::mem::replace(&mut self.hold, Hold::Nothing)
        {
            let took = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.hold = Hold::Ticket(admission.finish(status, took));
        }
    }

    /// Whether a body that Pingora reads has come more slowly than it may. The time that an upstream took to take
    /// it counts, too; but that is little beside what a client is credited for the bytes it waited with.
    pub(super) fn body_is_slow(&mut self) -> bool {
        let began = *self.body_began.get_or_insert_with(Instant::now);
        let mut pace = Pace::default();
        pace.moved(usize::try_from(self.body_bytes).unwrap_or(usize::MAX));
        pace.waited(began.elapsed());
        pace.left(&self.state.limits).is_zero()
    }

    /// Whether the gateway is stopping, or this connection is.
    pub(super) fn is_draining(&self) -> bool {
        self.parting || self.state.draining.load(Ordering::Relaxed)
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            request_id: self.texts.text(Word::RequestId).unwrap_or_default(),
            trace_id: self.trace.id,
            now_ms: self.now_ms,
            takes: self.route().map(|route| route.auth.methods()).unwrap_or_default(),
            policies: self.policies(),
            origin: self.facts.origin.as_ref(),
        }
    }

    /// Whether it waits for a body before it is charged.
    pub(super) fn waits_for_body(&self) -> bool {
        self.due.is_some()
    }

    /// A request that passed and failed for this reason.
    pub(super) fn failed(&mut self, code: ErrorCode) {
        self.facts.reject = Some(code);
    }
}
