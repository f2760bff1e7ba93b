//! How the proxy is, as one document: for `/status`, its page, and `clearway top`.
//!
//! Gathered when it is asked for, off the request path. Every list is bounded. Keys and accounts are
//! named by their ids; nothing here is a secret, yet it is not for strangers either.

mod busiest;
mod page;
mod process;
mod rates;

use std::{net::SocketAddr, sync::Arc};

use clearway_config::ErrorCode;
use serde::Serialize;

pub(crate) use busiest::{Busiest, Looks};
pub(crate) use page::{Page, page};
pub(crate) use process::Process;
pub(crate) use rates::{RATES_EVERY, Rates, Sample};

use crate::{
    gateway::State,
    lease::Leases,
    ledger::IN_FLIGHT_MAX,
    routes::Table,
    snapshot::Mode,
    upstreams::{BreakerState, UpstreamHealth},
};

/// Upstreams, and targets of one, that are shown.
const UPSTREAMS_SHOWN_MAX: usize = 100;

/// All of it. Rates are a second, over [`Traffic::window_s`].
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    /// Milliseconds since 1970.
    pub(crate) now_ms: u64,
    pub(crate) uptime_s: u64,
    /// Why requests should not be sent here, if they should not.
    pub(crate) unready: Option<&'static str>,
    pub(crate) snapshot: SnapshotStatus,
    pub(crate) traffic: Traffic,
    /// The busiest, busiest first; `traffic.routes` is how many there are.
    pub(crate) routes: Vec<RouteStatus>,
    /// Most frequent first.
    pub(crate) rejects: Vec<RejectStatus>,
    pub(crate) busiest: Busiest,
    pub(crate) ledger: LedgerStatus,
    /// `null` where this proxy counts for itself.
    pub(crate) fleet: Option<FleetStatus>,
    pub(crate) upstreams: Vec<UpstreamStatus>,
    pub(crate) certificates: Vec<CertificateStatus>,
    pub(crate) process: Process,
    pub(crate) telemetry: Telemetry,
}

/// What requests are decided by, and how current it is.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotStatus {
    pub(crate) revision: u64,
    pub(crate) credentials: usize,
    pub(crate) accounts: usize,
    /// `null` where there is no control plane.
    pub(crate) connected: Option<bool>,
    /// `strict` or `available`.
    pub(crate) mode: &'static str,
    pub(crate) lease_left_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Traffic {
    pub(crate) window_s: f64,
    pub(crate) requests_total: u64,
    pub(crate) requests_per_s: f64,
    /// Answers of 500 and above.
    pub(crate) errors_per_s: f64,
    pub(crate) rejects_per_s: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) in_flight: i64,
    pub(crate) connections: i64,
    pub(crate) routes: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct RouteStatus {
    /// `none`: requests that reached no route.
    pub(crate) name: String,
    pub(crate) requests_total: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) errors_per_s: f64,
    pub(crate) rejects_per_s: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p90_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// To the head of the upstream's answer.
    pub(crate) upstream_p50_ms: Option<f64>,
    pub(crate) upstream_p99_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RejectStatus {
    pub(crate) code: ErrorCode,
    pub(crate) total: u64,
    pub(crate) per_s: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct LedgerStatus {
    /// Accounts and keys that are counted.
    pub(crate) subjects: u32,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) flush_age_ms: u64,
    /// Days that control has not acknowledged.
    pub(crate) spooled_days: Option<usize>,
}

/// Quotas that are shared with other proxies.
#[derive(Debug, Serialize)]
pub(crate) struct FleetStatus {
    /// Whether the store answers.
    pub(crate) store_up: bool,
    pub(crate) members: usize,
    /// Granted to this proxy and not spent, of days and of months.
    pub(crate) unspent_day: u64,
    pub(crate) unspent_month: u64,
    /// Requests that may have been admitted beyond limits at most, while the store was lost.
    pub(crate) excess_max: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct UpstreamStatus {
    pub(crate) name: String,
    /// `null` where there is none.
    pub(crate) breaker: Option<&'static str>,
    pub(crate) targets: Vec<TargetStatus>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TargetStatus {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) weight: u16,
    pub(crate) in_flight: u32,
    /// `null` where nothing looks.
    pub(crate) health: Option<&'static str>,
    /// Why the last active check failed, if it did.
    pub(crate) check_failed: Option<String>,
}

/// A certificate that clients are shown.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateStatus {
    pub(crate) names: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// What was lost of what should have been told.
#[derive(Debug, Serialize)]
pub(crate) struct Telemetry {
    pub(crate) access_log_dropped: u64,
    pub(crate) access_log_errors: u64,
    pub(crate) spans_exported: u64,
    pub(crate) spans_dropped: u64,
}

impl SnapshotStatus {
    pub(crate) fn of(state: &State, connected: Option<bool>) -> Self {
        let snapshot = &state.snapshot;
        Self {
            revision: snapshot.revision(),
            credentials: snapshot.credentials(),
            accounts: snapshot.accounts(),
            connected,
            mode: match snapshot.lease().mode() {
                Mode::Strict => "strict",
                Mode::Available => "available",
            },
            lease_left_ms: u64::try_from(snapshot.lease().left().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl LedgerStatus {
    pub(crate) fn of(state: &State, flush_age_ms: u64) -> Self {
        let ledger = &state.ledger;
        Self {
            subjects: ledger.subjects(),
            in_flight: ledger.in_flight(),
            in_flight_max: IN_FLIGHT_MAX,
            flush_age_ms,
            spooled_days: ledger.spooled_days().ok().map(|days| days.len()),
        }
    }
}

impl FleetStatus {
    pub(crate) fn of(leases: &Leases) -> Self {
        let (unspent_day, unspent_month) = leases.unspent();
        Self { store_up: leases.is_up(), members: leases.members(), unspent_day, unspent_month, excess_max: leases.excess_max() }
    }
}

/// The upstreams of the current routes and how their targets are.
pub(crate) fn upstreams(table: &Arc<Table>) -> Vec<UpstreamStatus> {
    let shown = table.upstreams.iter().take(UPSTREAMS_SHOWN_MAX);
    shown
        .map(|upstream| {
            let UpstreamHealth { name, breaker, targets } = upstream.health();
            let watched = upstream.is_watched();
            let targets = targets.into_iter().take(UPSTREAMS_SHOWN_MAX).map(|target| TargetStatus {
                address: target.address,
                tls: target.tls,
                weight: target.weight,
                in_flight: target.in_flight,
                health: watched.then(|| target.state.label()),
                check_failed: target.check_failed,
            });
            UpstreamStatus { name, breaker: breaker.map(BreakerState::label), targets: targets.collect() }
        })
        .collect()
}

/// Three digits behind the point: what lies below is noise.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
