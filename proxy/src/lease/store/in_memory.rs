//! A store in this process: for tests of what is around it, and for nothing that is in service.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use clearway_filters::lease::{Answer, Beat, Beaten, Book, NodeId, Policy, Restore, Restored, Take};
use parking_lot::Mutex;

use super::{LeaseStore, StoreError};

/// The rules over plain maps, by a clock that its owner moves, and with the failures that its owner wants.
pub struct BookStore {
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    book: Book,
    runs: u32,
    away: bool,
    lose_answers: bool,
    /// Between what a call does and its answer.
    delay: Duration,
    /// Before a restore of these nodes arrives.
    ways: BTreeMap<NodeId, Duration>,
    calls: u64,
}

impl BookStore {
    /// Empty; `clock` says the time in milliseconds since 1970.
    pub fn new(policy: Policy, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let book = Book::new(policy, "run0");
        let (delay, ways) = (Duration::ZERO, BTreeMap::new());
        let inner = Inner { book, runs: 0, away: false, lose_answers: false, delay, ways, calls: 0 };
        Self { clock: Box::new(clock), inner: Mutex::new(inner) }
    }

    /// From now on no call arrives, or each does again.
    pub fn set_away(&self, away: bool) {
        self.inner.lock().away = away;
    }

    /// From now on calls are carried out and not answered, or answered again.
    pub fn set_losing_answers(&self, losing: bool) {
        self.inner.lock().lose_answers = losing;
    }

    /// From now on takes are answered so much later.
    pub fn set_delay(&self, delay: Duration) {
        self.inner.lock().delay = delay;
    }

    /// From now on a node's restores take so long to arrive.
    pub fn set_way_of_restores(&self, node: NodeId, way: Duration) {
        self.inner.lock().ways.insert(node, way);
    }

    /// Starts again, with the data it had or with none.
    pub fn restart(&self, empty: bool) {
        let mut inner = self.inner.lock();
        inner.runs += 1;
        let run = format!("run{}", inner.runs);
        if empty { inner.book.lose(&run) } else { inner.book.restart(&run) }
    }

    /// Calls that have arrived: all of takes and restores; beats are not counted.
    pub fn calls(&self) -> u64 {
        self.inner.lock().calls
    }

    fn call<T>(&self, counts: bool, act: impl FnOnce(&mut Book, u64) -> T) -> Result<T, StoreError> {
        let now_ms = (self.clock)();
        let mut inner = self.inner.lock();
        if inner.away {
            return Err(StoreError::Unreachable("it is away".into()));
        }
        inner.calls += u64::from(counts);
        let answer = act(&mut inner.book, now_ms);
        if inner.lose_answers { Err(StoreError::TimedOut) } else { Ok(answer) }
    }
}

impl fmt::Debug for BookStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BookStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for BookStore {
    async fn take(&self, take: &Take) -> Result<Answer, StoreError> {
        let answer = self.call(true, |book, now_ms| book.take(now_ms, take));
        let delay = self.inner.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        answer
    }

    async fn restore(&self, restore: &Restore) -> Result<Restored, StoreError> {
        let way = self.inner.lock().ways.get(&restore.caller.node).copied();
        if let Some(way) = way {
            tokio::time::sleep(way).await;
        }
        self.call(true, |book, now_ms| book.restore(now_ms, restore))
    }

    async fn beat(&self, beat: &Beat) -> Result<Beaten, StoreError> {
        self.call(false, |book, now_ms| book.beat(now_ms, beat))
    }
}
