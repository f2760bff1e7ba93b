//! The dispatcher's memory: which deliveries are queued, in flight, or done and not yet written; and what the next write
//! shall hold. No IO and no clock: the loop around it reads, writes and hands over.
//!
//! A fresh delivery is not written when it is made, but once it has succeeded or a moment has passed. What makes that safe
//! is [`Batch::fanned_out`]: an event counts as fanned out only in the transaction that holds all its deliveries, so that a
//! successor begins with the first event of which any is missing.

mod back;
mod enter;
mod job;
mod settle;
mod write;

pub(super) use self::{
    job::{Claimed, Event},
    settle::DISABLE_MS,
};

use std::collections::{HashMap, HashSet, VecDeque};

use clearway_config::{WebhookId, egress::v1};

use self::job::{Job, Stage, Unwritten, attempt};
use super::{batch::Batch, lane::Lane, vain::Vain};
use crate::{metrics::Metrics, world::World};

/// How long a claim lasts: longer than any attempt and all that it waits for before.
pub(super) const CLAIM_MS: i64 = 150_000;
/// Fresh deliveries that are not written yet, at most.
const UNWRITTEN_MAX: usize = 4_096;
/// Deliveries in memory that wait for a place, over all webhooks, at most.
const QUEUED_MAX: usize = 8_192;
/// Bytes of bodies in memory at which no more are taken in.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is done about a webhook because of how it fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Warn,
    /// It has failed for too long.
    Disable,
    /// Its receiver answered 410.
    Gone,
    Recovered,
}

#[derive(Debug)]
pub(super) struct Board {
    world: World,
    metrics: Metrics,
    lanes: HashMap<WebhookId, Lane>,
    jobs: HashMap<u64, Job>,
    last_key: u64,
    unwritten: VecDeque<Unwritten>,
    /// Lanes with a queue, in turn.
    ring: VecDeque<WebhookId>,
    /// Lanes with due deliveries in the database.
    backlogged: HashSet<WebhookId>,
    queued: usize,
    /// Bytes of the bodies of all deliveries in memory.
    held_bytes: usize,
    /// Whether a fresh delivery cannot begin before it is written.
    urgent: bool,
    /// What the next write holds, fresh deliveries apart.
    next: Batch,
    pub(super) acts: Vec<(WebhookId, Act)>,
    /// Deliveries that proxies did not attempt.
    vain: Vain,
}

impl Board {
    pub(super) fn new(world: World, metrics: Metrics) -> Self {
        Self {
            world,
            metrics,
            lanes: HashMap::new(),
            jobs: HashMap::new(),
            last_key: 0,
            unwritten: VecDeque::new(),
            ring: VecDeque::new(),
            backlogged: HashSet::new(),
            queued: 0,
            held_bytes: 0,
            urgent: false,
            next: Batch::default(),
            acts: Vec::new(),
            vain: Vain::default(),
        }
    }

    /// Forgets everything, because another process is the holder now. Numbers are never used twice.
    pub(super) fn clear(&mut self) {
        let empty = Self::new(self.world.clone(), self.metrics.clone());
        *self = Self { last_key: self.last_key, ..empty };
    }

    /// Whether more events may be fanned out.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten.len() < UNWRITTEN_MAX && self.held_bytes < HELD_BYTES_MAX
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.unwritten.is_empty() && self.backlogged.is_empty() && self.next.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.jobs.values().filter(|job| matches!(job.stage, Stage::InFlight { .. })).count()
    }

    /// Webhooks whose due deliveries are known of and need not be looked for.
    pub(super) fn known_due(&self) -> Vec<WebhookId> {
        let now_ms = self.world.now_ms();
        let known = |webhook: &&WebhookId| self.lanes.get(webhook).is_some_and(|lane| lane.is_known(now_ms));
        self.backlogged.iter().filter(known).copied().collect()
    }

    /// What is to be handed over now, `room` attempts at most: of each webhook in turn, so that none is kept waiting by
    /// another that has more.
    pub(super) fn take(&mut self, mut room: usize) -> Vec<v1::Attempt> {
        let now_ms = self.world.now_ms();
        let mut taken = Vec::new();
        let mut waiting = self.ring.len();
        while room > 0 && waiting > 0 {
            waiting -= 1;
            let Some(webhook) = self.ring.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&webhook) else { continue };
            // A fair part of the room, and what others leave of theirs in the next round.
            let share = (room / (waiting + 1)).max(1).min(lane.places(now_ms));
            let mut given = 0;
            while given < share && !lane.queue.is_empty() && lane.on_time(now_ms) {
                let Some(key) = lane.queue.pop_front() else { break };
                self.queued -= 1;
                let Some(job) = self.jobs.get_mut(&key) else { continue };
                job.stage = Stage::InFlight { began_at: now_ms };
                lane.began(now_ms);
                given += 1;
                taken.push(attempt(key, job));
            }
            room -= given;
            lane.ringed = !lane.queue.is_empty();
            if lane.ringed {
                self.ring.push_back(webhook);
            }
        }
        taken
    }

    /// An attempt was given back: it goes to the front again.
    pub(super) fn not_taken(&mut self, key: u64) {
        let now_ms = self.world.now_ms();
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.stage = Stage::Queued;
        let Some(lane) = self.lanes.get_mut(&job.webhook) else { return };
        lane.not_taken(now_ms);
        lane.queue.push_front(key);
        self.queued += 1;
        Self::into_ring(&mut self.ring, lane);
    }

    /// Whether something waits for the next write.
    pub(super) fn is_urgent(&self) -> bool {
        let now_ms = self.world.now_ms();
        let claimable = |webhook| self.lanes.get(webhook).is_some_and(|lane: &Lane| lane.claims(now_ms, 1) > 0);
        self.urgent || !self.next.promote.is_empty() || !self.next.cancel.is_empty() || self.backlogged.iter().any(claimable)
    }

    fn hold(&mut self, key: u64, job: Job) {
        self.held_bytes += job.event.body.len();
        self.jobs.insert(key, job);
    }

    fn release(&mut self, key: u64) -> Option<Job> {
        let job = self.jobs.remove(&key)?;
        self.held_bytes -= job.event.body.len();
        Some(job)
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    fn into_ring(ring: &mut VecDeque<WebhookId>, lane: &mut Lane) {
        if !lane.ringed {
            lane.ringed = true;
            ring.push_back(lane.terms.id);
        }
    }
}
