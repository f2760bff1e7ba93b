//! What comes into memory: events, webhooks that have something due, and deliveries that a write has claimed.

use std::sync::Arc;

use clearway_config::{DeliveryId, WebhookId};

use super::{
    super::{
        batch::{Cancel, Standing, Update},
        lane::{Lane, Live, Terms},
        model::State,
    },
    Board, QUEUED_MAX,
    job::{Claimed, Event, Job, Stage, Unwritten},
};

/// What is due to a webhook that rests waits this long, looked at so often.
const RESTING_MS_MAX: i64 = 7 * 86_400_000;
const RESTING_LOOK_MS: i64 = 60_000;

impl Board {
    /// An event becomes deliveries.
    pub(in super::super) fn fan_out(&mut self, event: Event, targets: &[Arc<Terms>]) {
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
    pub(in super::super) fn found_due(&mut self, due: Vec<Arc<Terms>>) {
        let now_ms = self.world.now_ms();
        for terms in due {
            let cancel = |due_before, why, again_at| Cancel { webhook: terms.id, due_before, why, again_at };
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
            lane.adopt_health(&terms, now_ms);
            lane.looked_at = now_ms;
            if terms.live == Live::Yes {
                lane.backlog = true;
                self.backlogged.insert(terms.id);
            }
        }
    }

    /// Deliveries that a write has claimed, `limit` of the webhook at most.
    pub(in super::super) fn claimed(&mut self, webhook: WebhookId, limit: usize, rows: Vec<Claimed>) {
        let now_ms = self.world.now_ms();
        let found = rows.len();
        for Claimed { id, webhook, attempts, schedule_start, order_key, event } in rows {
            let key = self.next_key();
            let Some(event) = event else {
                let why = Standing { last_failure: Some("event_gone"), ..Standing::ended(State::Cancelled, attempts, now_ms) };
                self.next.updates.push(Update { id, webhook, order_key, now: why });
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
}
