//! Telling the store what this node holds, where the store's data is another than this node knew: it was lost, or this
//! node has just started. By buckets; all that were lost at the same time are told of after one walk over the ledger.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use clearway_filters::lease::{Held, Incarnation, NodeId, Restore, Restored};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::sleep};

use super::{Leases, buckets::Telling};

/// How often a bucket that waits for other nodes is asked after.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Buckets asked about, and told of, at the same time. More that wait for other nodes are asked after less often.
const AT_ONCE: usize = 32;

impl Leases {
    /// Sees to it that a bucket is restored, and waits for a moment. False: calls about it come to nothing yet.
    pub(super) async fn restored(&self, bucket: u16, incarnation: Option<Incarnation>) -> bool {
        self.buckets.is_lost(bucket, incarnation.as_ref());
        self.buckets.ready(bucket).await
    }

    /// Restores what is found lost, for ever.
    pub(super) async fn restore_for_ever(self: Arc<Self>, mut lost: mpsc::UnboundedReceiver<u16>) {
        let mut beats = self.beats.subscribe();
        let (mut queued, mut looked_at) = (VecDeque::new(), Vec::new());
        loop {
            while let Ok(bucket) = lost.try_recv() {
                queued.push_back(bucket);
            }
            if queued.is_empty() && looked_at.is_empty() {
                match lost.recv().await {
                    Some(bucket) => queued.push_back(bucket),
                    None => return,
                }
            }
            // Whom the store has to wait for, and whose limits there are, is known by then.
            if beats.wait_for(|beats| *beats > 0).await.is_err() || !self.knows_limits().await {
                return;
            }
            let (mut to_ask, mut known): (Vec<u16>, Vec<u16>) =
                queued.drain(..).partition(|bucket| self.buckets.is_to_be_asked(*bucket));
            if known.is_empty() && !to_ask.is_empty() {
                // Some at a time: somebody may come upon one of the others, and wait for it.
                queued.extend(to_ask.drain(AT_ONCE.min(to_ask.len())..));
                stream::iter(&to_ask).for_each_concurrent(AT_ONCE, |bucket| self.look_at(*bucket)).await;
                looked_at.append(&mut to_ask);
                continue;
            }
            queued.extend(to_ask);
            known.append(&mut looked_at);
            if !self.tell(&known).await {
                return;
            }
        }
    }

    /// Tells of what is held of those that are lost, after one walk for all of them. False: it panicked.
    async fn tell(self: &Arc<Self>, buckets: &[u16]) -> bool {
        // From here on another loss is another walk.
        let mut tellings: HashMap<u16, Telling> =
            buckets.iter().filter_map(|bucket| Some((*bucket, self.buckets.begin(*bucket)?))).collect();
        if tellings.is_empty() {
            return true;
        }
        let (leases, walked) = (self.clone(), tellings.keys().copied().collect::<Vec<_>>());
        let Ok(held) = self.runtime.spawn_blocking(move || leases.held(&walked)).await else {
            tracing::error!("looking for what is held of quotas panicked");
            return false;
        };
        let told: Vec<_> = held.into_iter().filter_map(|(bucket, held)| Some((tellings.remove(&bucket)?, held))).collect();
        let leases = self.clone();
        let told = stream::iter(told).for_each_concurrent(AT_ONCE, move |(telling, held)| {
            let leases = leases.clone();
            async move { leases.tell_held(telling, held).await }
        });
        // Others may be lost meanwhile.
        drop(self.runtime.spawn(told));
        true
    }

    /// Asks which data a bucket's is, where that is not known.
    async fn look_at(self: &Arc<Self>, bucket: u16) {
        if !self.buckets.is_to_be_asked(bucket) {
            return;
        }
        let call = self.restore_call(bucket, None, Vec::new(), false, Vec::new());
        let waits = match self.call_restore(&call).await {
            Some(Restored::Ready(found)) => self.buckets.is_found(bucket, &found, true),
            Some(Restored::Restoring(found, _)) => self.buckets.is_found(bucket, &found, false),
            Some(Restored::Stale) | None => return self.buckets.is_not_found(bucket),
        };
        if let Some(telling) = waits {
            self.wait_for_others(telling);
        }
    }

    async fn tell_held(self: &Arc<Self>, telling: Telling, held: Vec<Held>) {
        let members = self.fleet.lock().members().collect::<Vec<_>>();
        let (bucket, to) = (telling.bucket, &telling.to);
        let chunks = held.len().div_ceil(Restore::HELD_MAX).max(1);
        let mut answer = None;
        for n in 0..chunks {
            let part = held.iter().skip(n * Restore::HELD_MAX).take(Restore::HELD_MAX).copied().collect();
            let call = self.restore_call(bucket, Some(to.clone()), part, n + 1 == chunks, members.clone());
            // Numbered before: whatever comes after it makes it an old call.
            if !self.buckets.is_current(&telling) {
                return;
            }
            answer = self.call_restore(&call).await;
            match &answer {
                Some(Restored::Ready(now) | Restored::Restoring(now, _)) if now == to => {}
                _ => break,
            }
        }
        match answer {
            Some(Restored::Ready(now)) if now == *to => self.buckets.is_whole(&telling),
            Some(Restored::Restoring(now, _)) if now == *to => {
                self.buckets.waits(&telling);
                self.wait_for_others(telling);
            }
            // Lost once more.
            Some(Restored::Ready(now) | Restored::Restoring(now, _)) => self.buckets.is_lost(bucket, Some(&now)),
            // Another call about one of its accounts was faster.
            Some(Restored::Stale) => self.buckets.is_to_be_told_again(&telling),
            None => self.buckets.is_not_told(&telling),
        }
    }

    /// False when this process ends.
    async fn knows_limits(&self) -> bool {
        while !self.snapshot.is_ready() {
            sleep(ASK_AGAIN).await;
        }
        true
    }

    /// Beside what is told of other buckets.
    fn wait_for_others(self: &Arc<Self>, telling: Telling) {
        let leases = self.clone();
        drop(self.runtime.spawn(async move { leases.ask_until_whole(telling).await }));
    }

    async fn ask_until_whole(&self, telling: Telling) {
        let Telling { bucket, to, .. } = &telling;
        loop {
            let rounds = self.buckets.count_waiting().div_ceil(AT_ONCE).max(1);
            sleep(ASK_AGAIN * u32::try_from(rounds).expect("there are few buckets")).await;
            let waits = self.buckets.waits_for_others(*bucket) && self.buckets.is_current(&telling);
            if self.ledger.is_given() || !waits {
                return;
            }
            let call = self.restore_call(*bucket, Some(to.clone()), Vec::new(), false, Vec::new());
            match self.call_restore(&call).await {
                Some(Restored::Ready(now)) if now == *to => return self.buckets.is_whole(&telling),
                Some(Restored::Restoring(now, _)) if now == *to => {}
                Some(Restored::Ready(now) | Restored::Restoring(now, _)) => {
                    return self.buckets.is_lost(*bucket, Some(&now));
                }
                Some(Restored::Stale) | None => {}
            }
        }
    }

    fn restore_call(
        &self,
        bucket: u16,
        incarnation: Option<Incarnation>,
        held: Vec<Held>,
        done: bool,
        members: Vec<(NodeId, u64)>,
    ) -> Restore {
        let departed = self.fleet.lock().has_departed(&self.now());
        Restore { caller: self.caller(), bucket, incarnation, held, done, members, departed }
    }

    async fn call_restore(&self, call: &Restore) -> Option<Restored> {
        match self.store.restore(call).await {
            Ok(answer) => {
                self.metrics.called("restore", "given");
                Some(answer)
            }
            Err(e) => {
                self.metrics.called("restore", e.label());
                self.lost(&e);
                None
            }
        }
    }
}
