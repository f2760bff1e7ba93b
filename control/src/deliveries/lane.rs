//! What the dispatcher remembers of one webhook while it has anything to do for it.

use std::{collections::VecDeque, sync::Arc};

use clearway_config::{AccountId, WebhookId};

use super::{
    breaker::Breaker,
    pace::{Allowance, Pace},
};
use crate::webhooks::RetryPolicy;

/// Deliveries of a webhook in memory, beside those in flight, at most.
const QUEUE_MAX: usize = 256;
/// A webhook with a rate limit has no more than it may be sent in this time.
const QUEUE_S: u32 = 2;
/// A webhook that has attempts in flight and has answered none for this long is not given more to keep.
const HANGS_MS: i64 = 1_000;
/// What is known of a webhook with something due is read anew after this time.
const KNOWN_MS: i64 = 5_000;
/// What was learned of a webhook's health is in the database after this time.
const HEALTH_SETTLES_MS: i64 = 10_000;
/// A whole webhook rests for so long at most because one answer asked for it; that one delivery waits as long as it asked.
const REST_MS_MAX: i64 = 5 * 60_000;
/// Before a delivery is tried again that came to nothing for no fault of the receiver, at first and at most.
const AGAIN_MS_MIN: i64 = 200;
const AGAIN_MS_MAX: i64 = 10_000;

/// Whether anything is to be posted to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    Yes,
    /// Its owner switched it off, or its account is suspended: what is due waits, for a while.
    Resting,
    Disabled,
    Deleted,
}

/// What the dispatcher must know of a webhook, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Terms {
    pub(super) id: WebhookId,
    pub(super) account: AccountId,
    pub(super) live: Live,
    /// Whether deliveries of one object follow each other.
    pub(super) ordered: bool,
    pub(super) concurrency: u32,
    /// Attempts a second.
    pub(super) rate_limit: Option<u32>,
    pub(super) retry: RetryPolicy,
    pub(super) failing_since: Option<i64>,
    pub(super) warned: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) terms: Arc<Terms>,
    /// Keys of deliveries that wait for a place, the oldest first.
    pub(super) queue: VecDeque<u64>,
    pub(super) in_flight: u32,
    pub(super) breaker: Breaker,
    pub(super) failing_since: Option<i64>,
    pub(super) warned: bool,
    /// When either was last learned here.
    pub(super) health_at: i64,
    /// It is about to be disabled: nothing begins, whatever was read of it before.
    pub(super) ending: bool,
    /// Deliveries that are due stand in the database: newer ones go behind them.
    pub(super) backlog: bool,
    /// Whether a batch that is being written claims some of them.
    pub(super) claiming: bool,
    /// Whether it is in the ring of lanes with a queue.
    pub(super) ringed: bool,
    pub(super) used_at: i64,
    /// When it was last read how the webhook is.
    pub(super) looked_at: i64,
    allowance: Allowance,
    pace: Option<Pace>,
    rests_until: i64,
    /// When it last answered, or began to have something in flight.
    heard_at: i64,
    again_ms: i64,
}

impl Lane {
    pub(super) fn new(terms: Arc<Terms>, now_ms: i64) -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: 0,
            breaker: Breaker::default(),
            failing_since: terms.failing_since,
            warned: terms.warned,
            health_at: i64::MIN / 2,
            ending: false,
            backlog: false,
            claiming: false,
            ringed: false,
            used_at: now_ms,
            looked_at: now_ms,
            allowance: Allowance::default(),
            pace: terms.rate_limit.map(Pace::new),
            rests_until: 0,
            heard_at: now_ms,
            again_ms: AGAIN_MS_MIN,
            terms,
        }
    }

    /// Goes by what the webhook is like now.
    pub(super) fn adopt(&mut self, terms: &Arc<Terms>, now_ms: i64) {
        self.used_at = now_ms;
        if Arc::ptr_eq(&self.terms, terms) || self.terms == *terms {
            return;
        }
        if self.pace.map(|pace| pace.rate()) != terms.rate_limit {
            self.pace = terms.rate_limit.map(Pace::new);
        }
        let was_over = self.terms.live == Live::Disabled;
        if was_over && terms.live == Live::Yes {
            self.breaker = Breaker::default();
            self.allowance = Allowance::default();
            (self.failing_since, self.warned) = (terms.failing_since, terms.warned);
        }
        self.terms = terms.clone();
    }

    /// Takes over what the database knew of the webhook's health a moment ago: its owner may have ended it. Not while what
    /// was learned here may still be on its way there; nor ever from terms that are remembered, which are older.
    pub(super) fn adopt_health(&mut self, terms: &Terms, now_ms: i64) {
        if self.health_at + HEALTH_SETTLES_MS <= now_ms {
            self.failing_since = terms.failing_since;
            self.warned = terms.warned;
        }
    }

    pub(super) fn is_known(&self, now_ms: i64) -> bool {
        self.looked_at + KNOWN_MS > now_ms
    }

    /// Whether it may be tried out: also while its breaker is open, which that is a probe of then.
    pub(super) fn tries_out(&mut self, now_ms: i64) -> bool {
        if self.terms.live != Live::Yes || self.ending {
            return false;
        }
        self.rests_until = self.rests_until.min(now_ms);
        self.breaker.probe_now(now_ms);
        true
    }

    fn may_begin(&self, now_ms: i64) -> bool {
        self.terms.live == Live::Yes && !self.ending && self.rests_until <= now_ms
    }

    /// Whether it has been silent although it should have answered.
    fn hangs(&self, now_ms: i64) -> bool {
        self.in_flight > 0 && now_ms - self.heard_at >= HANGS_MS
    }

    /// How many attempts may begin now, pace apart.
    pub(super) fn places(&self, now_ms: i64) -> usize {
        if !self.may_begin(now_ms) {
            return 0;
        }
        let places = self.allowance.within(self.terms.concurrency).saturating_sub(self.in_flight);
        self.breaker.allows(now_ms).min(places as usize)
    }

    /// Whether one attempt more is on time; takes it.
    pub(super) fn on_time(&mut self, now_ms: i64) -> bool {
        self.pace.as_mut().is_none_or(|pace| pace.take(now_ms))
    }

    pub(super) fn began(&mut self, now_ms: i64) {
        if self.in_flight == 0 {
            self.heard_at = now_ms;
        }
        self.in_flight += 1;
        self.breaker.began(now_ms);
    }

    /// An attempt that began did not, after all.
    pub(super) fn not_taken(&mut self, now_ms: i64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.learned_nothing(now_ms);
    }

    /// How many more it may be given to keep.
    fn keeps(&self, now_ms: i64) -> usize {
        if !self.may_begin(now_ms) {
            return 0;
        }
        if !self.breaker.is_closed() {
            // A probe, and nothing behind it.
            return self.breaker.allows(now_ms).saturating_sub(self.queue.len() + self.in_flight as usize);
        }
        if self.hangs(now_ms) {
            return self.places(now_ms).saturating_sub(self.queue.len());
        }
        let most = self.terms.rate_limit.map_or(QUEUE_MAX, |rate| (rate * QUEUE_S) as usize).min(QUEUE_MAX);
        most.saturating_sub(self.queue.len())
    }

    /// Whether a delivery that is not in the database may go straight into the queue.
    pub(super) fn takes_fresh(&self, now_ms: i64) -> bool {
        !self.backlog && !self.terms.ordered && self.breaker.is_closed() && self.keeps(now_ms) > 0
    }

    /// How many due deliveries to claim; none while the queue is still half full.
    pub(super) fn claims(&self, now_ms: i64, most: usize) -> usize {
        let keeps = self.keeps(now_ms);
        if self.claiming || self.queue.len() > keeps { 0 } else { keeps.min(most) }
    }

    pub(super) fn succeeded(&mut self, now_ms: i64) {
        self.answered(now_ms);
        self.breaker.succeeded();
        self.allowance.succeeded(self.terms.concurrency);
    }

    /// `took_ms`: an attempt that failed late held its place for long.
    pub(super) fn failed(&mut self, now_ms: i64, took_ms: i64) {
        self.answered(now_ms);
        self.breaker.failed(now_ms);
        if took_ms >= HANGS_MS {
            self.allowance.failed();
        }
    }

    fn answered(&mut self, now_ms: i64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.heard_at = now_ms;
        self.used_at = now_ms;
        self.again_ms = AGAIN_MS_MIN;
    }

    /// An attempt came to nothing for no fault of the receiver: when to try again.
    pub(super) fn learned_nothing(&mut self, now_ms: i64) -> i64 {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.heard_at = now_ms;
        self.breaker.learned_nothing(now_ms);
        let at = now_ms + self.again_ms;
        // Those that come back together wait alike; only one after another is longer.
        if self.in_flight == 0 {
            self.again_ms = (self.again_ms * 2).min(AGAIN_MS_MAX);
        }
        at
    }

    pub(super) fn rest(&mut self, now_ms: i64, for_ms: u64) {
        let for_ms = i64::try_from(for_ms).unwrap_or(i64::MAX).min(REST_MS_MAX);
        self.rests_until = self.rests_until.max(now_ms + for_ms);
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        self.queue.is_empty()
            && self.in_flight == 0
            && !self.backlog
            && !self.claiming
            && self.rests_until <= now_ms
            && self.breaker == Breaker::default()
    }
}
