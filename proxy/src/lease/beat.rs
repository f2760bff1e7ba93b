//! Once a second: that this node is there, what the store's time is, who else there is, and whose data was lost.

use std::{sync::Arc, time::Duration};

use clearway_filters::{
    lease::{Beat, Beaten},
    quota::Now,
};
use tokio::time::{sleep, timeout};

use super::Leases;

const EVERY: Duration = Duration::from_secs(1);
/// Between tries while the store cannot be reached, at first and at most.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

impl Leases {
    pub(super) async fn beat_for_ever(self: Arc<Self>) {
        let mut retry = RETRY;
        while !self.is_leaving() {
            if self.beat().await {
                retry = RETRY;
                // A call that has failed is looked into at once.
                let _ = timeout(EVERY, self.failed.notified()).await;
            } else {
                sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }

    /// Says whether the store has answered.
    async fn beat(self: &Arc<Self>) -> bool {
        if self.ledger.is_given() {
            return true;
        }
        let sent_ms = self.clock.uptime_ms();
        let beat = self.beat_of(false);
        match self.store.beat(&beat).await {
            Ok(beaten) => {
                self.metrics.called("beat", "given");
                self.take_in_beat(&beaten, sent_ms).await;
                true
            }
            Err(e) => {
                self.metrics.called("beat", e.label());
                self.lost(&e);
                // It was noticed here.
                let _ = timeout(Duration::ZERO, self.failed.notified()).await;
                false
            }
        }
    }

    fn beat_of(&self, leaving: bool) -> Beat {
        let lost = self.buckets.waiting_for_others();
        let knows = self.fleet.lock().version();
        Beat { caller: self.caller(), name: self.options.name.as_str().into(), leaving, knows, lost }
    }

    async fn take_in_beat(self: &Arc<Self>, beaten: &Beaten, sent_ms: u64) {
        self.hear_time(sent_ms, beaten.now_ms);
        let now = self.now();
        if !self.ledger.is_valid(&Now { uptime_ms: sent_ms, ..now }) {
            // Others may have stopped waiting for this node, and share out again what it was granted.
            self.buckets.all_void();
            let leases = self.clone();
            let gave_up = self.runtime.spawn_blocking(move || leases.change_all(|windows, holding| holding.give_up(windows)));
            if gave_up.await.is_err() {
                tracing::error!("giving up what was held of quotas panicked");
                return;
            }
        }
        self.ledger.set_valid_until(sent_ms + self.options.policy.forget_after_ms);
        let lost = {
            let mut fleet = self.fleet.lock();
            fleet.take_in(beaten, self.options.policy.forget_after_ms);
            fleet.lost()
        };
        self.metrics.members.set(i64::try_from(self.members()).unwrap_or(i64::MAX));
        if !self.is_up() || *self.beats.borrow() == 0 {
            // Before requests find it out, and while other nodes do the same.
            self.buckets.look_at_all();
        }
        // Each time: one that could not be told of before is tried again.
        for lost in &lost {
            self.buckets.is_lost(lost.bucket, Some(&lost.incarnation));
        }
        self.found();
        self.beats.send_modify(|beats| *beats += 1);
    }

    pub(super) async fn say_farewell(&self) {
        // Nobody waits for the answer.
        let _ = self.store.beat(&self.beat_of(true)).await;
    }
}
