//! The gateway: requests come in here, are decided by [`decide`], and go on to an upstream or back.
//!
//! Two ways lead through it. Plain HTTP/1.1 requests are forwarded as bytes ([`fast`]); for everything
//! else, HTTP/2 ([`h2`]) included, Pingora parses, frames and pools, and its [`phases`] hand on to a function of their own file
//! each. Both ways decide by [`arrival`], speak by [`forward`] and settle by [`exchange`]. How
//! connections are encrypted is said in [`crate::tls`].
//!
//! Where to look:
//!
//! - connections: [`server`] accepts them, [`gate`] counts them, [`connection`] serves one after [`sniff`] has told its
//!   protocol, [`client`] and [`downstream`] are its two shapes, [`baton`] and [`moved`] pass it to another process;
//! - decisions: [`admit`] says who asks, [`signed`] whose signature it is, [`due`] charges what waits for a body,
//!   [`shortage`] waits for a fleet's store, and [`front`] is what is said before any route;
//! - bodies: [`body`] follows their framing, [`pace`] their speed; [`whole_body`] and [`lent`] hold one that is read whole,
//!   [`json`], [`compress`] and [`caching`] change or keep it, [`mirror`] copies it;
//! - upstreams: [`attempt`] tries them, [`failure`] says what becomes of a request that none has served;
//! - answers of the gateway's own: [`answer`] words them, [`refuse`] writes them, [`grpc`] says them as gRPC does;
//! - what is known of a request meanwhile: [`exchange`], its words in [`texts`], its ids in [`trace`].

mod admit;
pub(crate) mod answer;
mod arrival;
mod attempt;
pub(crate) mod baton;
mod body;
mod caching;
mod client;
mod compress;
mod connection;
mod deadline;
pub(crate) mod decide;
mod downstream;
mod due;
mod edits;
mod exchange;
mod failure;
mod fast;
mod forward;
mod frames;
pub(crate) mod front;
pub(crate) mod gate;
mod grpc;
mod h2;
mod handed;
mod head;
mod json;
mod lent;
pub(crate) mod mirror;
pub(crate) mod moved;
mod pace;
mod phases;
mod proved;
mod refuse;
pub(crate) mod server;
mod shortage;
mod signed;
mod sniff;
mod texts;
pub(crate) mod trace;
mod whole_body;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::SystemTime,
};

use clearway_config::settings::process::LimitSettings;
use clearway_filters::quota::Now;
use ipnet::IpNet;

use crate::{
    access_log::AccessLog, auth::Replays, cache::Cache, egress::Egress, lease::Leases, ledger::Ledger, metrics::Metrics,
    routes::RouteFiles, snapshot::Snapshot, spans::Spans, tls::Tls,
};
pub(crate) use arrival::Peer;
use baton::Baton;
pub(crate) use caching::Revalidations;
use front::Front;
use gate::Gate;
use mirror::Mirror;
pub(crate) use pace::Pace;
use phases::Gateway;
pub(crate) use whole_body::{Bodies, Held, TIME_MAX as WHOLE_BODY_TIME_MAX};

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) routes: Arc<RouteFiles>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) ledger: Arc<Ledger>,
    /// Where quotas are shared with other proxies.
    pub(crate) leases: Option<Arc<Leases>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) spans: Spans,
    pub(crate) mirror: Mirror,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) cache: Cache,
    pub(crate) revalidations: Revalidations,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) front: Front,
    pub(crate) limits: LimitSettings,
    pub(crate) gate: Arc<Gate>,
    /// Which signatures have been accepted.
    pub(crate) replays: Replays,
    /// Bytes of a signed body at most.
    pub(crate) signed_body_max: u64,
    /// Where clients can connect encrypted.
    pub(crate) tls: Option<Tls>,
    /// The way out, for webhooks.
    pub(crate) egress: Arc<Egress>,
    /// No further request is taken on any connection.
    pub(crate) draining: AtomicBool,
    /// Whether requests are decided here.
    pub(crate) baton: Arc<Baton>,
}

impl State {
    /// The moment that quotas are counted at: in a fleet by the clock that all proxies share.
    #[inline]
    pub(crate) fn counted_at(&self, now_ms: u64) -> Now {
        counted_at(self.leases.as_ref(), now_ms)
    }
}

#[inline]
fn counted_at(leases: Option<&Arc<Leases>>, now_ms: u64) -> Now {
    leases.map_or_else(|| Now::at(now_ms), |leases| leases.now())
}

/// Milliseconds since 1970 UTC; a clock before that is at 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 UTC.
pub(crate) fn now_s() -> i64 {
    i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX)
}

/// 128 bits for an id.
pub(crate) fn random() -> u128 {
    trace::fresh_ids(0).1.0
}
