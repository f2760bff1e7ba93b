//! What an answer does to its delivery and to its webhook.

use clearway_config::{WebhookId, egress::v1};

use super::{
    super::{
        Answer,
        batch::{AttemptRow, Failing, Promotion, Standing, Update},
        model::{State, Verdict, asked_for, failure_word, is_unknown, judge},
        vain,
    },
    Act, Board,
    job::{Job, Stage},
};

/// A webhook that has failed for so long is warned of, and disabled.
const WARN_MS: i64 = 24 * 3_600_000;
pub(in super::super) const DISABLE_MS: i64 = 120 * 3_600_000;

impl Standing {
    /// Due again at `at`, or waiting.
    pub(in super::super) fn put_off(state: State, attempts: u32, at: i64) -> Self {
        let due_at = Some(at).filter(|_| state == State::Pending);
        Self { state, due_at, claimed: false, attempts, last_status: None, last_failure: None, completed_at: None }
    }

    /// In this process' memory until `until`.
    pub(in super::super) fn claimed(attempts: u32, until: i64) -> Self {
        Self { claimed: true, ..Self::put_off(State::Pending, attempts, until) }
    }

    pub(in super::super) fn ended(state: State, attempts: u32, at: i64) -> Self {
        Self { due_at: None, completed_at: Some(at), ..Self::put_off(state, attempts, at) }
    }
}

impl Board {
    /// Takes an answer; one to an attempt that was given up, or that another process began, says nothing.
    pub(in super::super) fn settle(&mut self, answer: Answer) {
        let (key, result) = match answer {
            Answer::Result(result) => (result.number, Some(result)),
            Answer::Lost(number) => (number, None),
        };
        let now_ms = self.world.now_ms();
        let Some(job) = self.jobs.get(&key) else { return };
        let (Stage::InFlight { began_at }, Some(lane)) = (&job.stage, self.lanes.get_mut(&job.webhook)) else { return };
        let took_ms = now_ms - began_at;
        let nth = (job.attempts + 1).saturating_sub(job.schedule_start);
        let random = fraction(&self.world.random());
        let verdict = result.as_ref().and_then(|result| judge(result, &lane.terms.retry, nth, now_ms, random));
        let (result, verdict) = match (result, verdict) {
            (Some(result), Some(verdict)) => (result, verdict),
            (result, _) => return self.came_to_nothing(key, result),
        };
        self.vain.forget(job.id);
        let standing = match verdict {
            Verdict::Succeeded => {
                lane.succeeded(now_ms);
                Standing::ended(State::Succeeded, job.attempts + 1, now_ms)
            }
            Verdict::Retry(at) => {
                lane.failed(now_ms, took_ms);
                Standing::put_off(State::Pending, job.attempts + 1, at)
            }
            Verdict::Exhausted | Verdict::Gone => {
                lane.failed(now_ms, took_ms);
                Standing::ended(State::Failed, job.attempts + 1, now_ms)
            }
        };
        let webhook = job.webhook;
        if job.attempts == 0 {
            let began = i64::try_from(result.started_at).unwrap_or(now_ms);
            self.metrics.first_attempt(began - job.event.created_at);
        }
        if let Some(for_ms) = asked_for(&result) {
            lane.rest(now_ms, for_ms);
        }
        let opened = !lane.breaker.is_closed();
        let standing = Standing { last_status: result.status, last_failure: failure_word(result.failure()), ..standing };
        let attempt = AttemptRow::new(job.id, job.attempts + 1, result, standing.due_at);
        let ends = self.note_health(webhook, verdict, now_ms);
        self.conclude(key, standing, Some(attempt));
        if ends {
            self.end(webhook);
        } else if opened {
            self.put_back(webhook);
        }
    }

    /// An attempt was none: it is made again soon. But where no proxy has known the webhook for long the delivery has failed,
    /// which is not the receiver's fault.
    fn came_to_nothing(&mut self, key: u64, result: Option<v1::Result>) {
        let now_ms = self.world.now_ms();
        let Some(job) = self.jobs.get(&key) else { return };
        let Some(lane) = self.lanes.get_mut(&job.webhook) else { return };
        let again_at = lane.learned_nothing(now_ms);
        let (id, attempts) = (job.id, job.attempts);
        let over = result.filter(|result| is_unknown(result) && self.vain.again(id, now_ms));
        let Some(result) = over else {
            return self.conclude(key, Standing::put_off(State::Pending, attempts, again_at), None);
        };
        tracing::warn!(delivery.id = %id, webhook.id = %job.webhook, "a delivery was given up: no proxy knows its webhook");
        let last_failure = failure_word(result.failure());
        let standing = Standing { last_failure, ..Standing::ended(State::Failed, attempts + 1, now_ms) };
        let attempt = AttemptRow::new(id, attempts + 1, v1::Result { reason: vain::REASON.to_owned(), ..result }, None);
        self.conclude(key, standing, Some(attempt));
    }

    /// A delivery leaves memory, or waits there until it is written with its event.
    fn conclude(&mut self, key: u64, standing: Standing, attempt: Option<AttemptRow>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !job.written {
            job.stage = Stage::Settled(standing, attempt.map(Box::new));
            return;
        }
        let Some(Job { id, webhook, order_key, .. }) = self.release(key) else { return };
        self.next.attempts.extend(attempt);
        if let Some(at) = standing.due_at {
            self.next.note_due(webhook, at);
        }
        if let (true, Some(order_key)) = (standing.completed_at.is_some(), &order_key) {
            self.next.promote.push(Promotion { webhook, order_key: order_key.clone() });
        }
        self.next.updates.push(Update { id, webhook, order_key, now: standing });
    }

    /// Whether the webhook is to be disabled.
    fn note_health(&mut self, webhook: WebhookId, verdict: Verdict, now_ms: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(&webhook) else { return false };
        if verdict == Verdict::Succeeded {
            if lane.failing_since.take().is_some() {
                lane.health_at = now_ms;
                self.next.failing.insert(webhook, Failing::NoLonger);
            }
            if std::mem::take(&mut lane.warned) {
                lane.health_at = now_ms;
                self.acts.push((webhook, Act::Recovered));
            }
            return false;
        }
        let since = *lane.failing_since.get_or_insert_with(|| {
            lane.health_at = now_ms;
            self.next.failing.insert(webhook, Failing::Since(now_ms));
            now_ms
        });
        let ends =
            if verdict == Verdict::Gone { Some(Act::Gone) } else { Some(Act::Disable).filter(|_| now_ms - since >= DISABLE_MS) };
        if let Some(act) = ends {
            self.acts.push((webhook, act));
        } else if now_ms - since >= WARN_MS && !lane.warned {
            (lane.warned, lane.health_at) = (true, now_ms);
            self.acts.push((webhook, Act::Warn));
        }
        ends.is_some()
    }
}

/// From 0 to 1.
fn fraction(random: &[u8; 32]) -> f64 {
    let (front, _) = random.split_at(4);
    let number = u32::from_be_bytes(front.try_into().expect("4 of 32 bytes"));
    f64::from(number) / f64::from(u32::MAX)
}
