//! Where requests are sent: the targets of each upstream, which of them to ask, and how they are.
//!
//! A request takes a [`Lease`] by [`Upstream::lease`], connects to its target, and tells the lease how it
//! went. From that, and from [`health`] checks in the background, follows who is asked next: targets
//! that fail are left out, and a [`breaker`] refuses for an upstream that fails as a whole. Names are
//! resolved when settings are loaded and again every [`RESOLVE_EVERY`], never on a request.
//!
//! Nothing here speaks HTTP with an upstream but the health checks; connections are the gateway's.

mod balance;
mod breaker;
mod budget;
mod clock;
pub(crate) mod health;
mod lease;
mod peer;
mod pick;
mod pool;
mod resolve;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use clearway_config::settings::{
    SettingsError,
    gateway::upstream::{Balance, HashBy, Retries, Timeouts, Upstream as Settings},
};
use parking_lot::Mutex;

use crate::metrics::Metrics;
pub(crate) use breaker::BreakerState;
use budget::Budget;
pub(crate) use clock::hash;
pub(crate) use lease::{Failure, Lease, Tried};
pub(crate) use peer::IDLE;
pub(crate) use pick::NoTarget;
use pick::Plan;
use pool::Pool;
pub(crate) use status::UpstreamHealth;
#[cfg(test)]
pub(crate) use status::{TargetHealth, TargetState};
pub(crate) use target::Target;

/// How often names are resolved and certificates read again.
pub(crate) const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// One upstream of the current routes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    host: String,
    settings: Settings,
    pool: Arc<Pool>,
    plan: ArcSwap<Plan>,
    tls: ArcSwap<tls::Material>,
    /// Requests so far, modulo 2³²: whose turn it is, and what may be tried again.
    requests: AtomicU32,
    budget: Budget,
    /// Held while names are resolved: two at once would each keep its own targets.
    resolving: Mutex<()>,
}

/// What a target is picked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PickFor {
    /// Of what [`Upstream::hash_by`] names, by [`hash`]; of no account where it names nothing.
    pub(crate) hash: u64,
    pub(crate) tried: Tried,
}

/// Where a request may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// At another target only: this one has just failed.
    Elsewhere,
    /// At the same one too: its connection had been closed before the request was sent. No load comes of that.
    Anywhere,
}

impl Upstream {
    /// Reads files and resolves names; blocks while it does. Where `before` was made of the same settings
    /// it is kept, with all it knows about its targets.
    pub(crate) fn new(
        settings: &Settings,
        before: Option<&Arc<Self>>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, SettingsError> {
        if let Some(before) = before.filter(|before| before.settings == *settings) {
            before.refresh();
            return Ok(before.clone());
        }
        let upstream = Self {
            name: settings.name.clone(),
            host: settings.targets.first().map(|target| target.address.authority()).unwrap_or_default(),
            tls: ArcSwap::from_pointee(tls::read(&settings.name, &settings.tls)?),
            pool: Arc::new(Pool::new(settings, metrics.clone())),
            plan: ArcSwap::default(),
            requests: AtomicU32::new(0),
            budget: Budget::new(settings.retries.budget_percent),
            resolving: Mutex::default(),
            settings: settings.clone(),
        };
        upstream.resolve();
        Ok(Arc::new(upstream))
    }

    /// Of its first target, as it is written: for routes that tell the upstream its own Host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Resolves names and reads files again; blocks while it does. What fails is said in the log, and the old stays.
    pub(crate) fn refresh(&self) {
        if resolve::are_named(&self.settings.targets) {
            self.resolve();
        }
        if self.settings.tls.ca_file.is_some() || self.settings.tls.identity.is_some() {
            match tls::read(&self.name, &self.settings.tls) {
                Ok(material) if material.group == self.tls.load().group => {}
                Ok(material) => {
                    tracing::info!(upstream = self.name, "certificates changed");
                    self.tls.store(Arc::new(material));
                }
                Err(e) => tracing::error!(error = %e, "certificates refused, the old ones stay"),
            }
        }
    }

    fn resolve(&self) {
        let _one = self.resolving.lock();
        let before = self.plan.load_full();
        let places = resolve::places(&self.name, &self.settings.targets, &self.settings.tls, &before.targets);
        let same = places.len() == before.targets.len()
            && places.iter().all(|place| before.targets.iter().any(|target| target.is_at(place)));
        if same {
            return;
        }
        let target = |place| {
            let known = before.targets.iter().find(|target| target.is_at(&place));
            known.cloned().unwrap_or_else(|| Target::new(place, self.pool.clone()))
        };
        let plan = Plan::new(places.into_iter().map(target).collect(), &self.settings.balance);
        self.pool.replace(&before.targets, &plan.targets, clock::now_ms());
        self.plan.store(Arc::new(plan));
    }

    /// Takes a place at a target. The first attempt of a request is a turn, further ones are not.
    pub(crate) fn lease(&self, wanted: &PickFor) -> Result<Lease, NoTarget> {
        let pass = self.pool.breaker.as_ref().map(|breaker| breaker.admit(clock::now_ms));
        let pass = pass.transpose().map_err(NoTarget::CircuitOpen)?;
        let turn = if wanted.tried.is_empty() { self.requests.fetch_add(1, Relaxed) } else { self.requests.load(Relaxed) };
        let plan = self.plan.load();
        let taken = plan.take(&self.pool, &self.settings.balance, turn.into(), wanted.hash, &wanted.tried);
        match taken {
            Ok(target) => Ok(Lease::new(target.clone(), pass)),
            Err(none) => {
                if let Some((breaker, pass)) = self.pool.breaker.as_ref().zip(pass) {
                    breaker.given_up(pass);
                }
                if none == NoTarget::Unresolved {
                    self.pool.metrics.upstream_failed(&self.name, "unresolved");
                }
                Err(none)
            }
        }
    }

    /// Whether a request may be tried again after those attempts. Takes from the budget: ask once, last.
    pub(crate) fn may_retry(&self, tried: &Tried, again: Again) -> bool {
        if tried.len() > self.settings.retries.attempts as usize {
            return false;
        }
        if again == Again::Elsewhere {
            // One that is unavailable will do, if there is no other: it may have come back.
            if self.plan.load().targets.iter().all(|target| tried.contains(target)) {
                return false;
            }
            if !self.budget.take(self.requests.load(Relaxed), clock::now_ms()) {
                self.pool.metrics.upstreams.budget_exhausted(&self.name);
                return false;
            }
        }
        self.pool.metrics.upstreams.retried(&self.name);
        true
    }

    /// What a request's [`PickFor::hash`] is made of.
    pub(crate) fn hash_by(&self) -> Option<&HashBy> {
        match &self.settings.balance {
            Balance::Hash(by) => Some(by),
            Balance::RoundRobin | Balance::LeastConnections => None,
        }
    }

    pub(crate) fn retries(&self) -> &Retries {
        &self.settings.retries
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    /// What the passing of time does: ejected targets come back, and warm up.
    pub(crate) fn tick(&self, now_ms: u64) {
        for target in &self.plan.load().targets {
            self.pool.tick(target, now_ms);
        }
    }
}
