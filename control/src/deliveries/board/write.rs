//! What the next write holds: fresh deliveries, what has become of others, and what is to be claimed.

use clearway_config::WebhookId;

use super::{
    super::{
        batch::{AttemptRow, Batch, Promotion, Standing},
        lane::Live,
        model::State,
    },
    Board, CLAIM_MS, HELD_BYTES_MAX, QUEUED_MAX,
    job::{Job, Stage, Unwritten},
};

/// A fresh delivery that is not done is written after this time.
const WRITE_AFTER_MS: i64 = 100;
/// Rows of one write, about.
const WRITE_ROWS_MAX: usize = 1_000;
/// Bytes of attempts in one write, about.
const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Due deliveries of one webhook that one write claims at most.
const CLAIM_MAX: usize = 128;
/// Webhooks that one write claims of, at most.
const CLAIM_WEBHOOKS_MAX: usize = 64;

impl Board {
    /// What is to be written now. `all` leaves nothing for later, and claims nothing.
    pub(in super::super) fn batch(&mut self, all: bool) -> Batch {
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
}
