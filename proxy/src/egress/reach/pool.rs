//! Connections to receivers that wait for their next message.
//!
//! They are told apart by origin and by the client certificate that they were opened with, so that no message goes out
//! under another webhook's certificate. The one that rested last is taken first, so that those that are not needed
//! grow old and are closed.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use clearway_filters::address::Guard;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::connect::Connection;
use crate::egress::receiver::target::Origin;

/// How long a connection rests at most. Many servers close theirs after a minute, some after five seconds.
const IDLE: Duration = Duration::from_secs(20);
/// How old a connection grows at most: names move, and certificates are changed.
const AGE_MAX: Duration = Duration::from_secs(300);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Connections that rest at most, in all and of one kind.
const RESTING_MAX: usize = 1_024;
const RESTING_OF_ONE_MAX: usize = 256;

/// What a connection may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::egress) struct Kind {
    pub(in crate::egress) origin: Origin,
    /// [`crate::egress::receiver::trust::Identity::print`].
    pub(in crate::egress) identity: Option<[u8; 32]>,
}

#[derive(Debug, Default)]
pub(in crate::egress) struct Pool {
    resting: Mutex<Resting>,
}

#[derive(Debug, Default)]
struct Resting {
    by_kind: HashMap<Kind, Vec<(Connection, Instant)>, RandomState>,
    count: usize,
}

impl Pool {
    /// Closes old connections from time to time, by the runtime that it is called in.
    pub(in crate::egress) fn start() -> Arc<Self> {
        let pool = Arc::<Self>::default();
        tokio::spawn(sweep(Arc::downgrade(&pool)));
        pool
    }

    /// A connection that was alive a moment ago, and whose address may still be posted to.
    pub(in crate::egress) fn take(&self, kind: &Kind, now: Instant, guard: &Guard) -> Option<Connection> {
        let mut resting = self.resting.lock();
        let Resting { by_kind, count } = &mut *resting;
        let of_kind = by_kind.get_mut(kind)?;
        while let Some((connection, since)) = of_kind.pop() {
            *count -= 1;
            if is_good(&connection, since, now) && guard.check(connection.address).is_ok() {
                return Some(connection);
            }
        }
        None
    }

    pub(in crate::egress) fn give_back(&self, kind: Kind, connection: Connection, now: Instant) {
        let mut resting = self.resting.lock();
        if resting.count >= RESTING_MAX || !is_good(&connection, now, now) {
            return;
        }
        let of_kind = resting.by_kind.entry(kind).or_default();
        if of_kind.len() < RESTING_OF_ONE_MAX {
            of_kind.push((connection, now));
            resting.count += 1;
        }
    }

    fn sweep(&self, now: Instant) {
        let mut resting = self.resting.lock();
        resting.by_kind.retain(|_, of_kind| {
            of_kind.retain(|(connection, since)| is_good(connection, *since, now));
            !of_kind.is_empty()
        });
        resting.count = resting.by_kind.values().map(Vec::len).sum();
    }

    #[cfg(test)]
    pub(in crate::egress) fn resting(&self) -> usize {
        self.resting.lock().count
    }
}

fn is_good(connection: &Connection, since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < IDLE
        && now.saturating_duration_since(connection.born) < AGE_MAX
        && !connection.sender.is_closed()
}

async fn sweep(pool: Weak<Pool>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(Instant::now()),
            None => return,
        }
    }
}
