//! Telling the store what this node holds, where the store's data is another than this node knew: it was lost, or this
//! node has just started. By buckets; all that were lost at the same time are told of after one walk over the ledger.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clearway_config::{AccountId, KeyId, Limits};
use clearway_filters::{
    lease::{
        BUCKETS, BucketLost, Held, HeldLong, HeldSecond, HeldSlots, Incarnation, Restore, Restored, SubjectId, call::bucket_of,
    },
    quota::{Holding, Now, Windows},
};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::Leases;
use crate::ledger::Subject;

/// How long a call waits for its bucket.
const WAIT: Duration = Duration::from_secs(2);
/// How often a bucket that waits for other nodes is asked after.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Buckets told of at the same time.
const AT_ONCE: usize = 32;

/// What is known of the store's buckets.
#[derive(Debug)]
pub(super) struct Buckets {
    states: Mutex<Vec<Bucket>>,
    /// Raised when a bucket's data is found lost, before anything is told of it: what was granted earlier and comes
    /// later is not taken in.
    losses: Box<[AtomicU64]>,
    /// Raised when a bucket's state changes.
    changed: watch::Sender<u64>,
    lost: mpsc::UnboundedSender<u16>,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    phase: Phase,
    /// What was restored to; said with every call.
    restored: Option<Incarnation>,
    /// What is being restored to.
    wanted: Option<Incarnation>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Nobody has asked about it, or nobody could.
    #[default]
    Unknown,
    Queued,
    /// The store is being told.
    Telling,
    /// The store has been told, and waits for other nodes.
    Waiting,
    Ready,
}

/// Of each bucket, what this node holds and has counted.
type HeldByBucket = BTreeMap<u16, Vec<Held>>;

impl Buckets {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<u16>) {
        let (lost, told) = mpsc::unbounded_channel();
        let states = Mutex::new(vec![Bucket::default(); usize::from(BUCKETS)]);
        let losses = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        (Self { states, losses, changed: watch::Sender::new(0), lost }, told)
    }

    pub(super) fn restored_to(&self, bucket: u16) -> Option<Incarnation> {
        self.states.lock()[usize::from(bucket)].restored.clone()
    }

    /// How often the bucket's data was found lost.
    pub(super) fn losses(&self, bucket: u16) -> u64 {
        self.losses[usize::from(bucket)].load(Ordering::SeqCst)
    }

    /// Nothing that was granted before is taken in any more.
    pub(super) fn all_void(&self) {
        for losses in &self.losses {
            losses.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Notes that a bucket's data is another, or, with `None`, that it is not whole, and has this node say what it holds.
    pub(super) fn is_lost(&self, bucket: u16, incarnation: Option<&Incarnation>) {
        let state = self.states.lock()[usize::from(bucket)].clone();
        let is_known = match incarnation {
            Some(_) if matches!(state.phase, Phase::Queued | Phase::Telling) => state.wanted.as_ref() == incarnation,
            Some(_) if matches!(state.phase, Phase::Waiting | Phase::Ready) => state.restored.as_ref() == incarnation,
            Some(_) => false,
            None => state.phase != Phase::Ready && state.phase != Phase::Unknown,
        };
        if !is_known {
            self.queue(bucket, incarnation);
        }
    }

    /// Has every bucket looked at: where the store was away its data may be another.
    pub(super) fn look_at_all(&self) {
        (0..BUCKETS).for_each(|bucket| self.queue(bucket, None));
    }

    fn queue(&self, bucket: u16, incarnation: Option<&Incarnation>) {
        self.losses[usize::from(bucket)].fetch_add(1, Ordering::SeqCst);
        let mut queued = false;
        self.set(bucket, |state| {
            queued = state.phase == Phase::Queued;
            (state.phase, state.wanted) = (Phase::Queued, incarnation.cloned());
        });
        if !queued {
            // It is held by the one that receives.
            let _ = self.lost.send(bucket);
        }
    }

    /// Waits until the bucket's data is whole. False: it cannot be told of, or takes longer than a call may wait.
    async fn ready(&self, bucket: u16) -> bool {
        let phase = || self.states.lock()[usize::from(bucket)].phase;
        let mut changed = self.changed.subscribe();
        let settled = changed.wait_for(|_| matches!(phase(), Phase::Ready | Phase::Unknown));
        timeout(WAIT, settled).await.is_ok() && phase() == Phase::Ready
    }

    fn is_ready(&self, bucket: u16) -> bool {
        self.states.lock()[usize::from(bucket)].phase == Phase::Ready
    }

    /// Whether a bucket waits for other nodes: nothing is granted of it, and for how long nobody knows.
    pub(super) fn waits_for_others(&self, bucket: u16) -> bool {
        self.states.lock()[usize::from(bucket)].phase == Phase::Waiting
    }

    /// What other nodes are to hear of.
    pub(super) fn waiting_for_others(&self) -> Vec<BucketLost> {
        let states = self.states.lock();
        let waiting = (0..).zip(&*states).filter(|(_, state)| state.phase == Phase::Waiting);
        waiting.filter_map(|(bucket, state)| Some(BucketLost { bucket, incarnation: state.restored.clone()? })).collect()
    }

    /// The change that one bucket's state takes.
    fn set(&self, bucket: u16, change: impl FnOnce(&mut Bucket)) {
        change(&mut self.states.lock()[usize::from(bucket)]);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Leases {
    /// Sees to it that a bucket is restored, and waits for a moment. False: calls about it come to nothing yet.
    pub(super) async fn restored(&self, bucket: u16, incarnation: Option<Incarnation>) -> bool {
        self.buckets.is_lost(bucket, incarnation.as_ref());
        self.buckets.ready(bucket).await
    }

    /// Restores what is found lost, for ever.
    pub(super) async fn restore_for_ever(self: Arc<Self>, mut lost: mpsc::UnboundedReceiver<u16>) {
        let mut beats = self.beats.subscribe();
        while let Some(first) = lost.recv().await {
            // Whom the store has to wait for, and whose limits there are, is known by then.
            if beats.wait_for(|beats| *beats > 0).await.is_err() || !self.knows_limits().await {
                return;
            }
            let mut buckets = vec![first];
            while let Ok(more) = lost.try_recv() {
                buckets.push(more);
            }
            // From here on another loss is another walk.
            for &bucket in &buckets {
                self.buckets.set(bucket, |state| state.phase = Phase::Telling);
            }
            let leases = self.clone();
            let Ok(mut held) = self.runtime.spawn_blocking(move || leases.held(&buckets)).await else {
                tracing::error!("looking for what is held of quotas panicked");
                return;
            };
            let leases = self.clone();
            let told = stream::iter(std::mem::take(&mut held)).for_each_concurrent(AT_ONCE, move |(bucket, held)| {
                let leases = leases.clone();
                async move { leases.restore(bucket, held).await }
            });
            // Some may wait for other nodes, for long; others may be lost meanwhile.
            drop(self.runtime.spawn(told));
        }
    }

    async fn restore(self: &Arc<Self>, bucket: u16, held: Vec<Held>) {
        let Some(wanted) = self.wanted(bucket).await else {
            return self.buckets.set(bucket, |state| {
                if state.phase == Phase::Telling {
                    *state = Bucket::default();
                }
            });
        };
        if self.buckets.is_ready(bucket) {
            return;
        }
        let members = self.fleet.lock().members().collect::<Vec<_>>();
        let chunks = held.len().div_ceil(Restore::HELD_MAX).max(1);
        let mut answer = None;
        for n in 0..chunks {
            let part = held.iter().skip(n * Restore::HELD_MAX).take(Restore::HELD_MAX).copied().collect();
            let call = self.restore_call(bucket, Some(wanted.clone()), part, n + 1 == chunks, members.clone());
            answer = self.call_restore(&call).await;
            match &answer {
                Some(Restored::Ready(now) | Restored::Restoring(now, _)) if *now == wanted => {}
                _ => break,
            }
        }
        match answer {
            Some(Restored::Ready(now)) if now == wanted => self.is_restored(bucket, wanted),
            Some(Restored::Restoring(now, _)) if now == wanted => self.wait_for_others(bucket, wanted).await,
            // Lost once more.
            Some(Restored::Ready(now) | Restored::Restoring(now, _)) => self.buckets.is_lost(bucket, Some(&now)),
            // Another call about one of its accounts was faster.
            Some(Restored::Stale) => self.buckets.queue(bucket, Some(&wanted)),
            // Whoever calls next finds it lost.
            None => self.buckets.set(bucket, |state| {
                if state.phase == Phase::Telling {
                    *state = Bucket::default();
                }
            }),
        }
    }

    /// False when this process ends.
    async fn knows_limits(&self) -> bool {
        while !self.snapshot.is_ready() {
            sleep(ASK_AGAIN).await;
        }
        true
    }

    /// What the bucket is to be restored to; asked for where it is not known.
    async fn wanted(&self, bucket: u16) -> Option<Incarnation> {
        let known = self.buckets.states.lock()[usize::from(bucket)].wanted.clone();
        if known.is_some() {
            return known;
        }
        let call = self.restore_call(bucket, None, Vec::new(), false, Vec::new());
        match self.call_restore(&call).await? {
            Restored::Ready(now) if self.buckets.restored_to(bucket).as_ref() == Some(&now) => {
                // It is as it was.
                self.is_restored(bucket, now.clone());
                Some(now)
            }
            Restored::Ready(now) | Restored::Restoring(now, _) => {
                self.buckets.set(bucket, |state| state.wanted = Some(now.clone()));
                Some(now)
            }
            Restored::Stale => None,
        }
    }

    async fn wait_for_others(&self, bucket: u16, wanted: Incarnation) {
        self.buckets.set(bucket, |state| {
            if state.phase == Phase::Telling {
                *state = Bucket { phase: Phase::Waiting, restored: Some(wanted.clone()), wanted: None };
            }
        });
        loop {
            sleep(ASK_AGAIN).await;
            if self.ledger.is_given() || !self.buckets.waits_for_others(bucket) {
                return;
            }
            let call = self.restore_call(bucket, Some(wanted.clone()), Vec::new(), false, Vec::new());
            match self.call_restore(&call).await {
                Some(Restored::Ready(now)) if now == wanted => return self.is_restored(bucket, wanted),
                Some(Restored::Restoring(now, _)) if now == wanted => {}
                Some(Restored::Ready(now) | Restored::Restoring(now, _)) => {
                    return self.buckets.is_lost(bucket, Some(&now));
                }
                Some(Restored::Stale) | None => {}
            }
        }
    }

    fn is_restored(&self, bucket: u16, to: Incarnation) {
        self.buckets.set(bucket, |state| {
            // Unless it was lost again meanwhile.
            if matches!(state.phase, Phase::Telling | Phase::Waiting) {
                *state = Bucket { phase: Phase::Ready, restored: Some(to), wanted: None };
            }
        });
    }

    fn restore_call(
        &self,
        bucket: u16,
        incarnation: Option<Incarnation>,
        held: Vec<Held>,
        done: bool,
        members: Vec<(clearway_filters::lease::NodeId, u64)>,
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

    /// Walks the ledger: it takes a moment.
    pub(super) fn held(&self, buckets: &[u16]) -> HeldByBucket {
        let mut held: HeldByBucket = buckets.iter().map(|bucket| (*bucket, Vec::new())).collect();
        let mut of_keys: HashMap<KeyId, (AccountId, Limits)> = HashMap::new();
        self.snapshot.each_limited_key(|key, account, limits| match of_keys.entry(key) {
            // A key's secrets all have its limits.
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => drop(vacant.insert((account, *limits))),
        });
        let now = self.now();
        self.ledger.each_counted(&now, |_, subject, windows, holding| {
            let found = match subject {
                Subject::Account(id) => self.snapshot.limits_of(&id).map(|limits| (SubjectId::Account(id), id, limits)),
                Subject::Key(id) => of_keys.get(&id).map(|(account, limits)| (SubjectId::Key(id), *account, *limits)),
            };
            let Some((subject, account, limits)) = found.filter(|(.., limits)| limits.can_refuse()) else { return };
            if let Some(held) = held.get_mut(&bucket_of(&account)) {
                held.push(self.held_of(&now, subject, &limits, windows, holding));
            }
        });
        held
    }

    fn held_of(&self, now: &Now, subject: SubjectId, limits: &Limits, windows: &Windows, holding: &Holding) -> Held {
        let long = |window: u32, limit: u64, is_its: bool, granted: u64, beyond: u64, used: u64| {
            let holds = if is_its { granted.max(used) } else { used };
            let out = if is_its && granted > 0 { limit.saturating_sub(beyond).max(holds) } else { holds };
            HeldLong { window, holds, out }
        };
        let store_ms = |uptime_ms: u64| self.clock.store_ms(uptime_ms);
        Held {
            subject,
            second: limits.per_second.map(|_| {
                let has_share = holding.has_share(now);
                let tokens = if holding.second == windows.second { holding.second_granted } else { 0 };
                HeldSecond {
                    share: if has_share { holding.share } else { 0 },
                    until_ms: if has_share { store_ms(holding.share_until_ms) } else { 0 },
                    second: windows.second,
                    count: windows.second_count.max(tokens),
                    before: windows.second_before,
                }
            }),
            day: limits.per_day.map(|limit| {
                let is_its = holding.day == windows.day;
                long(windows.day, limit, is_its, holding.day_granted, holding.day_beyond, windows.day_count)
            }),
            month: limits.per_month.filter(|_| !limits.overage).map(|limit| {
                let is_its = holding.month == windows.month;
                long(windows.month, limit, is_its, holding.month_granted, holding.month_beyond, windows.month_count)
            }),
            slots: limits.concurrent.map(|_| {
                let has_slots = holding.has_slots(now);
                HeldSlots {
                    slots: if has_slots { holding.slots.max(windows.concurrent) } else { windows.concurrent },
                    until_ms: if has_slots { store_ms(holding.slots_until_ms) } else { now.ms },
                }
            }),
        }
    }
}
