//! Who is attached, and what each has in flight.

use std::collections::{BTreeMap, HashMap};

use clearway_config::{
    ProxyId,
    egress::{BODY_BYTES_MAX, v1},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Finished, Outcome};

/// A proxy that takes attempts, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedProxy {
    pub id: ProxyId,
    pub name: String,
    pub attempts_max: usize,
    pub in_flight: usize,
    /// It takes no more, and answers for what it has.
    pub draining: bool,
}

/// A result for an attempt that is not in flight there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unasked;

/// How much one stream takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) attempts: usize,
    /// At least one of the longest bodies.
    pub(super) bytes: u64,
}

/// What waits to be sent to one proxy. Bounded by its window.
pub(super) type Queue = mpsc::UnboundedReceiver<Vec<v1::Attempt>>;

#[derive(Debug, Default)]
pub(super) struct Attached {
    sessions: BTreeMap<u64, Session>,
    /// How many there were so far.
    pub(super) made: u64,
}

#[derive(Debug)]
struct Session {
    proxy: ProxyId,
    name: String,
    instance: Vec<u8>,
    window: Window,
    in_flight: HashMap<u64, InFlight>,
    bytes: u64,
    /// Answered, and nobody has taken the outcome.
    untaken: usize,
    draining: bool,
    queue: mpsc::UnboundedSender<Vec<v1::Attempt>>,
    /// Placed, and not in the queue yet: within one call.
    placed: Vec<v1::Attempt>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    bytes: u64,
    since: Instant,
}

impl Session {
    fn room(&self) -> usize {
        if self.draining { 0 } else { self.window.attempts.saturating_sub(self.in_flight.len() + self.untaken) }
    }

    fn takes(&self, bytes: u64) -> bool {
        self.room() > 0 && self.bytes + bytes <= self.window.bytes
    }
}

impl Attached {
    /// Its number, and what is to be sent to it. An earlier stream of the same process ends: its queue closes.
    pub(super) fn attach(&mut self, proxy: ProxyId, name: &str, instance: &[u8], window: Window) -> (u64, Queue) {
        let (queue, waiting) = mpsc::unbounded_channel();
        for earlier in self.sessions.values_mut().filter(|session| session.proxy == proxy && session.instance == instance) {
            earlier.draining = true;
            earlier.queue = mpsc::unbounded_channel().0;
        }
        self.made += 1;
        let session = Session {
            proxy,
            name: name.to_owned(),
            instance: instance.to_vec(),
            window,
            in_flight: HashMap::new(),
            bytes: 0,
            untaken: 0,
            draining: false,
            queue,
            placed: Vec::new(),
        };
        self.sessions.insert(self.made, session);
        (self.made, waiting)
    }

    /// Gives back those that there is no room for.
    pub(super) fn place(&mut self, attempts: Vec<v1::Attempt>, now: Instant) -> Vec<v1::Attempt> {
        let mut refused = Vec::new();
        for attempt in attempts {
            let bytes = attempt.body.len() as u64;
            let takes = self.sessions.values_mut().filter(|session| session.takes(bytes));
            let Some(session) = takes.max_by_key(|session| session.room()) else {
                refused.push(attempt);
                continue;
            };
            let before = session.in_flight.insert(attempt.number, InFlight { bytes, since: now });
            debug_assert!(before.is_none(), "a number names one attempt");
            session.bytes += bytes;
            session.placed.push(attempt);
        }
        for session in self.sessions.values_mut().filter(|session| !session.placed.is_empty()) {
            // A stream that has ended is about to detach: then these are lost with the others.
            let _ = session.queue.send(std::mem::take(&mut session.placed));
        }
        refused
    }

    /// Who answers, and since when that was waited for.
    pub(super) fn answered(&mut self, session: u64, number: u64) -> Result<(ProxyId, Instant), Unasked> {
        let session = self.sessions.get_mut(&session).ok_or(Unasked)?;
        let InFlight { bytes, since } = session.in_flight.remove(&number).ok_or(Unasked)?;
        session.bytes -= bytes;
        session.untaken += 1;
        Ok((session.proxy, since))
    }

    pub(super) fn taken(&mut self, session: u64, count: usize) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.untaken = session.untaken.saturating_sub(count);
        }
    }

    pub(super) fn drain(&mut self, session: u64) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.draining = true;
        }
    }

    /// Whether it takes no more and owes no answer.
    pub(super) fn is_done(&self, session: u64) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.draining && session.in_flight.is_empty())
    }

    /// Since when the attempt is in flight that has been for longest.
    pub(super) fn oldest(&self, session: u64) -> Option<Instant> {
        self.sessions.get(&session)?.in_flight.values().map(|attempt| attempt.since).min()
    }

    /// What was in flight there.
    pub(super) fn detach(&mut self, session: u64) -> Vec<Finished> {
        let Some(Session { proxy, in_flight, .. }) = self.sessions.remove(&session) else { return Vec::new() };
        in_flight.into_keys().map(|number| Finished { number, proxy, outcome: Outcome::Lost }).collect()
    }

    /// Of those that have room for a body of any length.
    pub(super) fn room(&self) -> usize {
        self.sessions.values().filter(|session| session.takes(BODY_BYTES_MAX as u64)).map(Session::room).sum()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.sessions.values().map(|session| session.in_flight.len()).sum()
    }

    pub(super) fn proxies(&self) -> Vec<AttachedProxy> {
        let mut proxies: Vec<_> = self
            .sessions
            .values()
            .map(|session| AttachedProxy {
                id: session.proxy,
                name: session.name.clone(),
                attempts_max: session.window.attempts,
                in_flight: session.in_flight.len(),
                draining: session.draining,
            })
            .collect();
        proxies.sort_by_key(|proxy| proxy.id);
        proxies
    }
}
