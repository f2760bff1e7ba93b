//! The steps of a round, each by itself: the loop takes them as time goes by, tests in whichever order.

use super::{
    super::{
        apart::{Apart, apart},
        batch::Batch,
        health,
        outlet::Answer,
        reader::Found,
        writer::{Written, write},
    },
    Acted, Dispatcher, HOLD_MS, Reading, Writing, Wrote,
};
use crate::{db, http::chain};

/// A holder that has nothing to write says so often that it is there.
const RENEW_MS: i64 = 2_000;
/// Between two looks for what is due, unless something is known to be.
const LOOK_EVERY_MS: i64 = 1_000;

impl Dispatcher {
    /// Something may have become due that this process did not write.
    pub(in super::super) fn look_now(&mut self) {
        self.look_at = 0;
    }

    /// What must be read now; `None` while that is being done.
    pub(in super::super) fn start_reading(&mut self) -> Option<impl Future<Output = Reading> + Send + 'static> {
        let mut reader = self.reader.take()?;
        let (db, now_ms) = (self.db.clone(), self.world.now_ms());
        let known = (self.look_at <= now_ms).then(|| self.board.known_due());
        if known.is_some() {
            self.look_at = now_ms + LOOK_EVERY_MS;
        }
        Some(async move {
            let mut found = Found::default();
            let outcome = async {
                if let Some(known) = known {
                    reader.due(&db, now_ms, known, &mut found).await?;
                }
                reader.events(&db, &mut found).await
            };
            let outcome = outcome.await;
            (reader, outcome.map(|()| found))
        })
    }

    /// Whether there is more to be read at once.
    pub(in super::super) fn finish_reading(&mut self, (reader, outcome): Reading) -> bool {
        self.reader = Some(reader);
        match outcome {
            Ok(found) => {
                self.board.found_due(found.due);
                if found.more_due {
                    self.look_at = 0;
                }
                for (event, targets) in found.events {
                    self.board.fan_out(event, &targets);
                }
                self.hand_over();
                found.more_events || found.more_due
            }
            Err(error) => {
                tracing::warn!(error.cause = chain(&error), "events cannot be read");
                false
            }
        }
    }

    /// Gives proxies as much as they take. Not where another process may have begun to dispatch the same.
    pub(in super::super) fn hand_over(&mut self) {
        if self.world.now_ms() - self.renewed_at >= HOLD_MS {
            return;
        }
        let room = self.outlet.room();
        if room == 0 {
            return;
        }
        let attempts = self.board.take(room);
        if attempts.is_empty() {
            return;
        }
        for refused in self.outlet.offer(attempts).into_iter().rev() {
            self.board.not_taken(refused.number);
        }
    }

    pub(in super::super) fn settle(&mut self, answered: Vec<Answer>) {
        for answer in answered {
            self.board.settle(answer);
        }
    }

    /// What is to be done about webhooks because of how they fare.
    pub(in super::super) fn start_acting(&mut self) -> impl Future<Output = Acted> + Send + 'static {
        health::act_all(self.db.clone(), self.world.clone(), self.outbox.clone(), std::mem::take(&mut self.board.acts))
    }

    pub(in super::super) fn finish_acting(&mut self, acted: Acted) {
        for (webhook, act, done) in acted {
            self.board.acted(webhook, act, done);
        }
    }

    /// What must be written now, or `None`. `all` leaves nothing for later.
    pub(in super::super) fn start_writing(&mut self, all: bool) -> Option<impl Future<Output = Writing> + Send + 'static> {
        let now_ms = self.world.now_ms();
        let batch = self.unwritten.pop_front().unwrap_or_else(|| self.board.batch(all));
        if batch.is_empty() && now_ms - self.renewed_at < RENEW_MS {
            return None;
        }
        let (db, me) = (self.db.clone(), self.me.clone());
        Some(async move {
            let outcome = write(&db, &me, now_ms, &batch).await;
            (batch, outcome)
        })
    }

    pub(in super::super) fn finish_writing(&mut self, (batch, outcome): Writing) -> Wrote {
        match outcome {
            Ok(Written::Kept(claimed)) => {
                self.renewed_at = self.world.now_ms();
                if let Some(at) = batch.due.values().min() {
                    self.look_at = self.look_at.min(*at);
                }
                for (webhook, limit, rows) in claimed {
                    self.board.claimed(webhook, limit, rows);
                }
                self.hand_over();
                Wrote::Kept
            }
            Ok(Written::HoldLost) => {
                tracing::warn!("another process dispatches webhooks now");
                Wrote::HoldLost
            }
            Err(error) if error.is_of_values() => {
                self.take_apart(batch, &error);
                Wrote::Refused
            }
            Err(error) => {
                tracing::warn!(error.cause = chain(&error), "deliveries cannot be written");
                self.unwritten.push_front(batch);
                Wrote::Failed
            }
        }
    }

    /// A row that the database will never take must not keep all others from being written.
    fn take_apart(&mut self, batch: Batch, error: &db::Error) {
        match apart(batch, self.world.now_ms()) {
            Apart::Halves(first, second) => {
                self.unwritten.push_front(*second);
                self.unwritten.push_front(*first);
            }
            Apart::Less(less, name) => {
                tracing::error!(row = name, error.cause = chain(error), "a row was refused; less of it will be written");
                self.unwritten.push_front(*less);
            }
            Apart::Without(batch, name) => {
                tracing::error!(row = name, error.cause = chain(error), "a row was refused and cannot be written");
                for (webhook, limit) in batch.claims {
                    self.board.claimed(webhook, limit, Vec::new());
                }
            }
        }
    }
}
