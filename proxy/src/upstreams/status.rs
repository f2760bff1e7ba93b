//! How upstreams are, for the status page and the metrics.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use super::{
    Upstream,
    breaker::BreakerState,
    target::{EJECTED, UNHEALTHY, WARMING},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamHealth {
    pub(crate) name: String,
    /// `None`: it has no breaker.
    pub(crate) breaker: Option<BreakerState>,
    pub(crate) targets: Vec<TargetHealth>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetHealth {
    pub(crate) address: SocketAddr,
    /// Host and port as the settings name it.
    pub(crate) named: String,
    pub(crate) tls: bool,
    pub(crate) weight: u16,
    pub(crate) state: TargetState,
    pub(crate) in_flight: u32,
    /// Failed requests in a row; counted where there is a setting for outliers.
    pub(crate) failures: u32,
    /// Why the last active check failed, if it did.
    pub(crate) check_failed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetState {
    Healthy,
    /// Healthy again, but without its whole share yet.
    Warming,
    /// By active checks.
    Unhealthy,
    /// By failed requests.
    Ejected,
}

impl TargetState {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warming => "warming",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }

    /// Whether it is asked, as long as there is one that is.
    pub(crate) const fn is_up(self) -> bool {
        matches!(self, Self::Healthy | Self::Warming)
    }
}

impl BreakerState {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Upstream {
    pub(crate) fn health(&self) -> UpstreamHealth {
        let plan = self.plan.load();
        let target = |t: &std::sync::Arc<super::Target>| TargetHealth {
            address: t.address,
            named: t.authority.to_string(),
            tls: t.tls.is_some(),
            weight: t.weight,
            state: if t.is(UNHEALTHY) {
                TargetState::Unhealthy
            } else if t.is(EJECTED) {
                TargetState::Ejected
            } else if t.is(WARMING) {
                TargetState::Warming
            } else {
                TargetState::Healthy
            },
            in_flight: t.in_flight.load(Relaxed),
            failures: t.failures.load(Relaxed),
            check_failed: t.checks.failed(),
        };
        UpstreamHealth {
            name: self.name.clone(),
            breaker: self.pool.breaker.as_ref().map(super::breaker::Breaker::state),
            targets: plan.targets.iter().map(target).collect(),
        }
    }
}
