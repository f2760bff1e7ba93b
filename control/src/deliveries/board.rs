//! The dispatcher's memory: which deliveries are queued, in flight, or done and not yet written; and what the next write
//! shall hold. No IO and no clock: the loop around it reads, writes and hands over.
//!
//! A fresh delivery is not written when it is made, but once it has succeeded or a moment has passed. What makes that safe
//! is [`Batch::fanned_out`]: an event counts as fanned out only in the transaction that holds all its deliveries, so that a
//! successor begins with the first event of which any is missing.

mod settle;

pub(super) use settle::DISABLE_MS;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use axum::body::Bytes;
use clearway_config::{AccountId, DeliveryId, EventId, WebhookId, egress::v1};

use super::{
    batch::{AttemptRow, Batch, Cancel, Insert, Promotion, Standing, Update},
    lane::{Lane, Live, Terms},
    model::State,
};
use crate::{metrics::Metrics, world::World};

/// How long a claim lasts: longer than any attempt and all that it waits for before.
pub(super) const CLAIM_MS: i64 = 150_000;
/// An attempt that was not answered in this time is given up, before its claim ends.
const UNANSWERED_MS: i64 = 140_000;
/// A fresh delivery that is not done is written after this time.
const WRITE_AFTER_MS: i64 = 100;
/// Fresh deliveries that are not written yet, at most.
const UNWRITTEN_MAX: usize = 4_096;
/// Deliveries in memory that wait for a place, over all webhooks, at most.
const QUEUED_MAX: usize = 8_192;
/// Bytes of bodies in memory at which no more are taken in.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A delivery that has waited for a place this long is put back into the database.
const QUEUED_MS_MAX: i64 = 5_000;
/// Rows of one write, about.
const WRITE_ROWS_MAX: usize = 1_000;
/// Bytes of attempts in one write, about.
const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Due deliveries of one webhook that one write claims at most.
const CLAIM_MAX: usize = 128;
/// Webhooks that one write claims of, at most.
const CLAIM_WEBHOOKS_MAX: usize = 64;
/// A webhook of which nothing has been heard for this long is forgotten.
const IDLE_MS: i64 = 10 * 60_000;
/// What is due to a webhook that rests waits this long, looked at so often.
const RESTING_MS_MAX: i64 = 7 * 86_400_000;
const RESTING_LOOK_MS: i64 = 60_000;

/// An event, as it is posted.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) sequence: i64,
    pub(super) id: EventId,
    pub(super) account: AccountId,
    pub(super) kind: String,
    pub(super) object_id: Option<String>,
    pub(super) body: Bytes,
    pub(super) created_at: i64,
    /// Nobody else is told of it, and it is posted before anything else: the webhook is tried out.
    pub(super) only_for: Option<WebhookId>,
}

/// A delivery that was claimed in the database.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) id: DeliveryId,
    pub(super) webhook: WebhookId,
    pub(super) attempts: u32,
    pub(super) schedule_start: u32,
    pub(super) order_key: Option<String>,
    /// `None`: it is no longer kept.
    pub(super) event: Option<Arc<Event>>,
}

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
struct Job {
    id: DeliveryId,
    webhook: WebhookId,
    event: Arc<Event>,
    order_key: Option<String>,
    attempts: u32,
    schedule_start: u32,
    /// When it came into memory.
    since: i64,
    stage: Stage,
    /// Whether it is in the database, or in a batch on its way there.
    written: bool,
}

#[derive(Debug)]
enum Stage {
    Queued,
    InFlight {
        began_at: i64,
    },
    /// Of one that is not written: what is to be written of it.
    Settled(Standing, Option<Box<AttemptRow>>),
}

/// A place among the deliveries that are not written yet, in the order of their events.
#[derive(Debug)]
struct Unwritten {
    sequence: i64,
    since: i64,
    /// `None`: the event has no deliveries.
    key: Option<u64>,
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

    /// An event becomes deliveries.
    pub(super) fn fan_out(&mut self, event: Event, targets: &[Arc<Terms>]) {
        let now_ms = self.world.now_ms();
        let event = Arc::new(event);
        if targets.is_empty() {
            self.unwritten.push_back(Unwritten { sequence: event.sequence, since: now_ms, key: None });
        }
        for terms in targets {
            let key = self.next_key();
            let lane = self.lanes.entry(terms.id).or_insert_with(|| Lane::new(terms.clone(), now_ms));
            lane.adopt(terms, now_ms);
            let order_key = event.object_id.clone().filter(|_| terms.ordered);
            self.urgent |= order_key.is_some();
            let trial = event.only_for.is_some() && lane.tries_out(now_ms);
            let fresh = order_key.is_none() && self.queued < QUEUED_MAX && lane.takes_fresh(now_ms);
            let stage = if trial || fresh {
                if trial {
                    lane.queue.push_front(key);
                } else {
                    lane.queue.push_back(key);
                }
                self.queued += 1;
                Self::into_ring(&mut self.ring, lane);
                Stage::Queued
            } else {
                let state = if order_key.is_some() { State::Waiting } else { State::Pending };
                Stage::Settled(Standing::put_off(state, 0, now_ms), None)
            };
            let id = self.world.id(DeliveryId::new);
            let job = Job {
                id,
                webhook: terms.id,
                event: event.clone(),
                order_key,
                attempts: 0,
                schedule_start: 0,
                since: now_ms,
                stage,
                written: false,
            };
            self.hold(key, job);
            self.unwritten.push_back(Unwritten { sequence: event.sequence, since: now_ms, key: Some(key) });
        }
    }

    /// Webhooks that have due deliveries.
    pub(super) fn found_due(&mut self, due: Vec<Arc<Terms>>) {
        let now_ms = self.world.now_ms();
        for terms in due {
            let cancel = |made_before, why, again_at| Cancel { webhook: terms.id, made_before, why, again_at };
            match terms.live {
                Live::Yes => {}
                Live::Resting => {
                    let again_at = Some(now_ms + RESTING_LOOK_MS);
                    self.next.cancel.push(cancel(now_ms - RESTING_MS_MAX, "webhook_inactive", again_at));
                }
                Live::Disabled => self.next.cancel.push(cancel(i64::MAX, "webhook_disabled", None)),
                Live::Deleted => self.next.cancel.push(cancel(i64::MAX, "webhook_deleted", None)),
            }
            let lane = self.lanes.entry(terms.id).or_insert_with(|| Lane::new(terms.clone(), now_ms));
            lane.adopt(&terms, now_ms);
            lane.looked_at = now_ms;
            if terms.live == Live::Yes {
                lane.backlog = true;
                self.backlogged.insert(terms.id);
            }
        }
    }

    /// Deliveries that a write has claimed, `limit` of the webhook at most.
    pub(super) fn claimed(&mut self, webhook: WebhookId, limit: usize, rows: Vec<Claimed>) {
        let now_ms = self.world.now_ms();
        let found = rows.len();
        for Claimed { id, webhook, attempts, schedule_start, order_key, event } in rows {
            let key = self.next_key();
            let Some(event) = event else {
                let why = Standing { last_failure: Some("event_gone"), ..Standing::ended(State::Cancelled, attempts, now_ms) };
                self.next.updates.push(Update { id, now: why });
                continue;
            };
            let stage = Stage::Queued;
            let job = Job { id, webhook, event, order_key, attempts, schedule_start, since: now_ms, stage, written: true };
            self.hold(key, job);
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.queue.push_back(key);
                self.queued += 1;
                Self::into_ring(&mut self.ring, lane);
            }
        }
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.claiming = false;
            lane.backlog = found == limit;
            if !lane.backlog {
                self.backlogged.remove(&webhook);
            }
        }
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

    /// Gives up what has waited too long: for a place, or for an answer.
    pub(super) fn sweep(&mut self) {
        let now_ms = self.world.now_ms();
        let unanswered: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.stage, Stage::InFlight { began_at } if began_at + UNANSWERED_MS <= now_ms))
            .map(|(key, _)| *key)
            .collect();
        for key in unanswered {
            self.settle(super::Answer::Lost(key));
        }
        let stale: Vec<WebhookId> = self
            .ring
            .iter()
            .filter(|webhook| {
                let first = self.lanes.get(webhook).and_then(|lane| lane.queue.front());
                first.and_then(|key| self.jobs.get(key)).is_some_and(|job| job.since + QUEUED_MS_MAX <= now_ms)
            })
            .copied()
            .collect();
        for webhook in stale {
            self.put_back(webhook);
        }
        self.lanes.retain(|_, lane| lane.used_at + IDLE_MS > now_ms || !lane.is_idle(now_ms));
    }

    /// Puts a webhook's queue back into the database, due at once.
    fn put_back(&mut self, webhook: WebhookId) {
        let now_ms = self.world.now_ms();
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        let queue = std::mem::take(&mut lane.queue);
        if queue.is_empty() {
            return;
        }
        self.queued -= queue.len();
        lane.backlog = true;
        for key in queue {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let standing = Standing::put_off(State::Pending, job.attempts, now_ms);
            if job.written {
                self.next.updates.push(Update { id: job.id, now: standing });
                self.next.note_due(webhook, now_ms);
                self.release(key);
            } else {
                job.stage = Stage::Settled(standing, None);
            }
        }
    }

    /// A webhook is to be sent nothing more: its receiver is gone, or has failed for too long.
    fn end(&mut self, webhook: WebhookId) {
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.ending = true;
        }
        self.put_back(webhook);
    }

    /// What was to be done about a webhook has been done, or is still to be.
    pub(super) fn acted(&mut self, webhook: WebhookId, act: Act, done: bool) {
        if !done {
            self.acts.push((webhook, act));
        } else if matches!(act, Act::Gone | Act::Disable)
            && let Some(lane) = self.lanes.get_mut(&webhook)
        {
            lane.ending = false;
            lane.terms = Arc::new(Terms { live: Live::Disabled, ..Terms::clone(&lane.terms) });
        }
    }

    /// Gives up what is in flight: it may have been posted, and will be again.
    pub(super) fn give_up(&mut self) {
        let in_flight = self.jobs.iter().filter(|(_, job)| matches!(job.stage, Stage::InFlight { .. }));
        let keys: Vec<u64> = in_flight.map(|(key, _)| *key).collect();
        for key in keys {
            self.settle(super::Answer::Lost(key));
        }
    }

    /// Puts everything back that is not in flight, for a clean stop.
    pub(super) fn put_all_back(&mut self) {
        for webhook in std::mem::take(&mut self.ring) {
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.ringed = false;
            }
            self.put_back(webhook);
        }
    }

    /// What is to be written now. `all` leaves nothing for later, and claims nothing.
    pub(super) fn batch(&mut self, all: bool) -> Batch {
        let now_ms = self.world.now_ms();
        let mut batch = std::mem::take(&mut self.next);
        self.urgent = false;
        self.write_fresh(&mut batch, all);
        let due_now = batch.due.iter().filter(|(_, at)| **at <= now_ms).map(|(webhook, _)| *webhook);
        for webhook in due_now.chain(batch.promote.iter().map(|promotion| promotion.webhook)) {
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.backlog = true;
                self.backlogged.insert(webhook);
            }
        }
        if !all {
            self.claim(&mut batch, now_ms);
        }
        batch
    }

    /// Takes fresh deliveries from the front as long as they are settled or old enough; an event's all together.
    fn write_fresh(&mut self, batch: &mut Batch, all: bool) {
        let now_ms = self.world.now_ms();
        let mut bytes: usize = batch.attempts.iter().map(AttemptRow::bytes).sum();
        while let Some(first) = self.unwritten.front() {
            let (sequence, since) = (first.sequence, first.since);
            let count = self.unwritten.iter().take_while(|next| next.sequence == sequence).count();
            let settled = |next: &Unwritten| next.key.and_then(|key| self.jobs.get(&key)).is_none_or(Job::is_settled);
            if !all && since + WRITE_AFTER_MS > now_ms && !self.unwritten.iter().take(count).all(settled) {
                break;
            }
            if !all && batch.inserts.len() + count > WRITE_ROWS_MAX && !batch.inserts.is_empty() || bytes > WRITE_BYTES_MAX {
                break;
            }
            let keys: Vec<u64> = self.unwritten.drain(..count).filter_map(|unwritten| unwritten.key).collect();
            for key in keys {
                bytes += self.write_one(key, batch);
            }
            batch.fanned_out = Some(sequence);
        }
    }

    /// About how many bytes it added.
    fn write_one(&mut self, key: u64, batch: &mut Batch) -> usize {
        let Some(job) = self.jobs.get_mut(&key) else { return 0 };
        job.written = true;
        let mut bytes = 256;
        let (standing, settled) = match &mut job.stage {
            Stage::Queued | Stage::InFlight { .. } => (Standing::claimed(job.attempts, job.since + CLAIM_MS), false),
            Stage::Settled(standing, attempt) => {
                if let Some(attempt) = attempt.take() {
                    bytes += attempt.bytes();
                    batch.attempts.push(*attempt);
                }
                (standing.clone(), true)
            }
        };
        if let Some(at) = standing.due_at {
            batch.note_due(job.webhook, at);
        }
        if standing.state == State::Waiting
            && let Some(order_key) = job.order_key.clone()
        {
            batch.promote.push(Promotion { webhook: job.webhook, order_key });
        }
        batch.inserts.push(job.insert(standing));
        if settled {
            self.release(key);
        }
        bytes
    }

    /// Asks for due deliveries of webhooks that have places for them.
    fn claim(&mut self, batch: &mut Batch, now_ms: i64) {
        if self.held_bytes >= HELD_BYTES_MAX {
            return;
        }
        let mut room = QUEUED_MAX.saturating_sub(self.queued);
        let live = |webhook: &WebhookId| self.lanes.get(webhook).is_some_and(|lane| lane.terms.live == Live::Yes);
        self.backlogged.retain(live);
        for webhook in &self.backlogged {
            let Some(lane) = self.lanes.get_mut(webhook) else { continue };
            let limit = lane.claims(now_ms, CLAIM_MAX.min(room));
            if limit == 0 || batch.claims.len() >= CLAIM_WEBHOOKS_MAX {
                continue;
            }
            room -= limit;
            lane.claiming = true;
            batch.claims.push((*webhook, limit));
        }
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

impl Job {
    fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled(..))
    }

    fn insert(&self, now: Standing) -> Insert {
        Insert {
            id: self.id,
            account: self.event.account,
            webhook: self.webhook,
            sequence: self.event.sequence,
            event_type: self.event.kind.clone(),
            object_id: self.event.object_id.clone(),
            order_key: self.order_key.clone(),
            created_at: self.since,
            now,
        }
    }
}

fn attempt(key: u64, job: &Job) -> v1::Attempt {
    v1::Attempt {
        number: key,
        webhook_id: job.webhook.to_vec(),
        message_id: job.event.id.to_string(),
        attempt: job.attempts + 1,
        body: job.event.body.clone(),
        event_type: job.event.kind.clone(),
    }
}
