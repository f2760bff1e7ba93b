//! What is known of the store's buckets: whose data is what this node has told the store what it holds of, and whose is
//! to be told of anew.
//!
//! What is told is found by a walk over the ledger, and must be what is held when it is told. So a walk comes after the
//! loss that it is for was found: from then on nothing that was granted earlier is taken in, and the store grants
//! nothing to a node that has not told it. A loss that is found after the walk is another loss, with another walk; and what
//! has been told of is not told of again, since the store may have granted more of it since.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use clearway_filters::lease::{BUCKETS, BucketLost, Incarnation};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// How long a call waits for its bucket.
const WAIT: Duration = Duration::from_secs(2);

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
    /// What is to be restored to.
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

/// One telling of what is held of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) bucket: u16,
    /// How often the bucket was found lost until the walk: with more it is out of date.
    losses: u64,
    pub(super) to: Incarnation,
}

impl Buckets {
    /// With what hears which buckets are to be looked at.
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

    fn is_void(&self, bucket: u16) {
        self.losses[usize::from(bucket)].fetch_add(1, Ordering::SeqCst);
    }

    /// Nothing that was granted before is taken in any more.
    pub(super) fn all_void(&self) {
        (0..BUCKETS).for_each(|bucket| self.is_void(bucket));
    }

    /// Notes that a bucket's data is another, or, with `None`, that it is not whole, and has this node say what it holds.
    pub(super) fn is_lost(&self, bucket: u16, incarnation: Option<&Incarnation>) {
        let state = self.states.lock()[usize::from(bucket)].clone();
        let is_known = match incarnation {
            Some(_) if matches!(state.phase, Phase::Queued | Phase::Telling) => {
                state.wanted.as_ref().or(state.restored.as_ref()) == incarnation
            }
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
        self.is_void(bucket);
        let mut queued = false;
        self.set(bucket, |state| {
            queued = state.phase == Phase::Queued;
            // What it was restored to is only to be asked about.
            let wanted = incarnation.filter(|incarnation| state.restored.as_ref() != Some(incarnation));
            (state.phase, state.wanted) = (Phase::Queued, wanted.cloned());
        });
        if !queued {
            // It is held by the one that receives.
            let _ = self.lost.send(bucket);
        }
    }

    /// Whether it is not known what to restore a bucket to, if anything: the store is to be asked.
    pub(super) fn is_to_be_asked(&self, bucket: u16) -> bool {
        self.states.lock()[usize::from(bucket)].is_to_be_asked()
    }

    /// The store has said which data a bucket's is. What is to be waited for, where other nodes are.
    pub(super) fn is_found(&self, bucket: u16, found: &Incarnation, is_whole: bool) -> Option<Telling> {
        if self.restored_to(bucket).as_ref() != Some(found) {
            // What was granted since it was looked at is of the data that is gone.
            self.is_void(bucket);
        }
        let mut waits = None;
        self.set(bucket, |state| {
            if !state.is_to_be_asked() {
                return;
            }
            if state.restored.as_ref() != Some(found) {
                state.wanted = Some(found.clone());
            } else if is_whole {
                state.phase = Phase::Ready;
            } else {
                state.phase = Phase::Waiting;
                waits = Some(Telling { bucket, losses: self.losses(bucket), to: found.clone() });
            }
        });
        waits
    }

    /// The store could not be asked: whoever calls next finds out.
    pub(super) fn is_not_found(&self, bucket: u16) {
        self.set(bucket, |state| {
            if state.is_to_be_asked() {
                *state = Bucket::default();
            }
        });
    }

    /// Before the walk. `None` where there is nothing to tell.
    pub(super) fn begin(&self, bucket: u16) -> Option<Telling> {
        let mut telling = None;
        self.set(bucket, |state| {
            if let (Phase::Queued, Some(to)) = (state.phase, &state.wanted) {
                telling = Some(Telling { bucket, losses: self.losses(bucket), to: to.clone() });
                state.phase = Phase::Telling;
            }
        });
        telling
    }

    /// Whether what was found by the walk is what is held.
    pub(super) fn is_current(&self, telling: &Telling) -> bool {
        self.losses(telling.bucket) == telling.losses
    }

    /// All has been told, and other nodes are waited for.
    pub(super) fn waits(&self, telling: &Telling) {
        self.advance(telling, &[Phase::Telling], Bucket::at(Phase::Waiting, telling));
    }

    /// Takes go on.
    pub(super) fn is_whole(&self, telling: &Telling) {
        self.advance(telling, &[Phase::Telling, Phase::Waiting], Bucket::at(Phase::Ready, telling));
    }

    /// Another call about one of the bucket's accounts was faster.
    pub(super) fn is_to_be_told_again(&self, telling: &Telling) {
        if self.is_current(telling) {
            self.queue(telling.bucket, Some(&telling.to));
        }
    }

    /// The store could not be told: whoever calls next finds it lost.
    pub(super) fn is_not_told(&self, telling: &Telling) {
        self.advance(telling, &[Phase::Telling], Bucket::default());
    }

    fn advance(&self, telling: &Telling, from: &[Phase], to: Bucket) {
        self.set(telling.bucket, |state| {
            // Unless it was lost again meanwhile.
            if self.is_current(telling) && from.contains(&state.phase) {
                *state = to;
            }
        });
    }

    /// Waits until the bucket's data is whole. False: it cannot be told of, or takes longer than a call may wait.
    pub(super) async fn ready(&self, bucket: u16) -> bool {
        let phase = || self.states.lock()[usize::from(bucket)].phase;
        let mut changed = self.changed.subscribe();
        let settled = changed.wait_for(|_| matches!(phase(), Phase::Ready | Phase::Unknown));
        timeout(WAIT, settled).await.is_ok() && phase() == Phase::Ready
    }

    /// Whether a bucket waits for other nodes: nothing is granted of it, and for how long nobody knows.
    pub(super) fn waits_for_others(&self, bucket: u16) -> bool {
        self.states.lock()[usize::from(bucket)].phase == Phase::Waiting
    }

    pub(super) fn count_waiting(&self) -> usize {
        self.states.lock().iter().filter(|state| state.phase == Phase::Waiting).count()
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

impl Bucket {
    fn at(phase: Phase, telling: &Telling) -> Self {
        Self { phase, restored: Some(telling.to.clone()), wanted: None }
    }

    fn is_to_be_asked(&self) -> bool {
        self.phase == Phase::Queued && self.wanted.is_none()
    }
}
