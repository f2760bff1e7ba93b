//! What goes back into the database unfinished: because it has waited for too long, because its webhook is to be sent nothing
//! more, or because this process stops.

use std::sync::Arc;

use clearway_config::WebhookId;

use super::{
    super::{
        Answer,
        batch::{Standing, Update},
        lane::{Live, Terms},
        model::State,
    },
    Act, Board,
    job::Stage,
};

/// An attempt that was not answered in this time is given up, before its claim ends.
const UNANSWERED_MS: i64 = 140_000;
/// A delivery that has waited for a place this long is put back into the database.
const QUEUED_MS_MAX: i64 = 5_000;
/// A webhook of which nothing has been heard for this long is forgotten.
const IDLE_MS: i64 = 10 * 60_000;

impl Board {
    /// Gives up what has waited too long: for a place, or for an answer.
    pub(in super::super) fn sweep(&mut self) {
        let now_ms = self.world.now_ms();
        let unanswered: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.stage, Stage::InFlight { began_at } if began_at + UNANSWERED_MS <= now_ms))
            .map(|(key, _)| *key)
            .collect();
        for key in unanswered {
            self.settle(Answer::Lost(key));
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
        self.vain.sweep(now_ms);
        self.lanes.retain(|_, lane| lane.used_at + IDLE_MS > now_ms || !lane.is_idle(now_ms));
    }

    /// Puts a webhook's queue back into the database, due at once.
    pub(super) fn put_back(&mut self, webhook: WebhookId) {
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
                let order_key = job.order_key.clone();
                self.next.updates.push(Update { id: job.id, webhook, order_key, now: standing });
                self.next.note_due(webhook, now_ms);
                self.release(key);
            } else {
                job.stage = Stage::Settled(standing, None);
            }
        }
    }

    /// A webhook is to be sent nothing more: its receiver is gone, or has failed for too long.
    pub(super) fn end(&mut self, webhook: WebhookId) {
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.ending = true;
        }
        self.put_back(webhook);
    }

    /// What was to be done about a webhook has been done, or is still to be.
    pub(in super::super) fn acted(&mut self, webhook: WebhookId, act: Act, done: bool) {
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
    pub(in super::super) fn give_up(&mut self) {
        let in_flight = self.jobs.iter().filter(|(_, job)| matches!(job.stage, Stage::InFlight { .. }));
        let keys: Vec<u64> = in_flight.map(|(key, _)| *key).collect();
        for key in keys {
            self.settle(Answer::Lost(key));
        }
    }

    /// Puts everything back that is not in flight, for a clean stop.
    pub(in super::super) fn put_all_back(&mut self) {
        for webhook in std::mem::take(&mut self.ring) {
            if let Some(lane) = self.lanes.get_mut(&webhook) {
                lane.ringed = false;
            }
            self.put_back(webhook);
        }
    }
}
