//! The choice of a target. No lock, no allocation: a look at a sequence or a ring, and in the worst
//! case, with most targets unavailable, one walk over them.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use clearway_config::settings::gateway::upstream::Balance;

use super::{
    balance::{Ring, sequence},
    clock::mix,
    lease::Tried,
    pool::Pool,
    target::{Target, UNAVAILABLE, WARMING},
};

/// Turns that are looked at by chance once the first one was of an unavailable target.
const PROBES: u64 = 8;
/// Targets that are all compared for the least connections; of more, two are, picked by chance: which
/// is nearly as good (Mitzenmacher, 2001) and does not grow with their number.
const COMPARED_MAX: usize = 16;

/// The targets of the moment and the order they are asked in.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) targets: Box<[Arc<Target>]>,
    sequence: Box<[u16]>,
    /// Empty where nothing is hashed.
    ring: Ring,
}

/// Why a request finds no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// No name of the upstream has resolved yet.
    Unresolved,
    /// All targets have as many requests in flight as they may.
    Overloaded,
    /// The breaker is open, for so much longer.
    CircuitOpen(std::time::Duration),
}

impl Plan {
    pub(super) fn new(targets: Vec<Arc<Target>>, balance: &Balance) -> Self {
        let weights: Vec<_> = targets.iter().map(|t| t.weight).collect();
        let places: Vec<_> = targets.iter().map(|t| (t.address, t.weight)).collect();
        let ring = if matches!(balance, Balance::Hash(_)) { Ring::new(&places) } else { Ring::default() };
        Self { sequence: sequence(&weights), ring, targets: targets.into() }
    }

    /// Takes a place at a target that has not been tried, if there is one.
    pub(super) fn take<'p>(
        &'p self,
        pool: &Pool,
        balance: &Balance,
        turn: u64,
        hash: u64,
        tried: &Tried,
    ) -> Result<&'p Arc<Target>, NoTarget> {
        if self.targets.is_empty() {
            return Err(NoTarget::Unresolved);
        }
        let panicking = pool.is_panicking();
        let mut search = Search { plan: self, pool, turn, tried, full: Cell::new(false), wanted: Wanted::Best };
        for wanted in [Wanted::Best, Wanted::Cold, Wanted::Unavailable, Wanted::Any] {
            search.wanted = match wanted {
                Wanted::Best | Wanted::Cold if panicking => Wanted::Unavailable,
                // A first attempt has all available targets to choose from: beyond these it is refused.
                Wanted::Unavailable | Wanted::Any if tried.is_empty() && search.full.get() => break,
                _ => wanted,
            };
            if let Some(target) = search.by(balance, hash) {
                return Ok(target);
            }
        }
        Err(NoTarget::Overloaded)
    }
}

struct Search<'p, 'a> {
    plan: &'p Plan,
    pool: &'a Pool,
    turn: u64,
    tried: &'a Tried,
    /// Whether a target was passed over because it is full.
    full: Cell<bool>,
    wanted: Wanted,
}

/// What is taken, from the best to the last resort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Available, and not tried for this request. What is warming up takes some of its turns only.
    Best,
    /// The same, but warming up.
    Cold,
    /// Not tried; available or not.
    Unavailable,
    Any,
}

impl<'p> Search<'p, '_> {
    fn by(&self, balance: &Balance, hash: u64) -> Option<&'p Arc<Target>> {
        match balance {
            Balance::RoundRobin => self.in_turn(),
            Balance::LeastConnections => self.least(),
            Balance::Hash(_) => self.plan.ring.from(hash).find_map(|at| self.take(at)),
        }
    }

    /// The one whose turn it is. Where it cannot take it, the turn goes to another by chance and by weight,
    /// not to the next: or that one would get twice its share.
    fn in_turn(&self) -> Option<&'p Arc<Target>> {
        (0..=PROBES).find_map(|n| self.take(self.turn(n))).or_else(|| self.any())
    }

    fn least(&self) -> Option<&'p Arc<Target>> {
        let count = self.plan.targets.len();
        let least = if count <= COMPARED_MAX {
            // From another one each time, so that equals take turns.
            let start = self.turn as usize % count;
            (start..count).chain(0..start).filter(|&at| self.may(at)).reduce(|a, b| self.less_loaded(a, b))
        } else {
            let mut some = (0..=PROBES).map(|n| usize::from(self.turn(n))).filter(|&at| self.may(at));
            some.next().map(|a| some.next().map_or(a, |b| self.less_loaded(a, b)))
        };
        least.and_then(|at| self.take(at as u16)).or_else(|| self.any())
    }

    /// The target of this turn, or of another by chance.
    fn turn(&self, n: u64) -> u16 {
        let turns = self.plan.sequence.len() as u64;
        let turn = if n == 0 { self.turn } else { mix(self.turn ^ n << 56) };
        self.plan.sequence[(turn % turns) as usize]
    }

    fn any(&self) -> Option<&'p Arc<Target>> {
        let count = self.plan.targets.len();
        let start = mix(self.turn) as usize % count;
        (start..count).chain(0..start).find_map(|at| self.take(at as u16))
    }

    fn less_loaded(&self, a: usize, b: usize) -> usize {
        let (one, other) = (&self.plan.targets[a], &self.plan.targets[b]);
        // One more request at `a`, by its weight, against one more at `b`.
        let load = |t: &Target, weight: u16| (u64::from(t.in_flight.load(Relaxed)) + 1) * u64::from(weight);
        if load(other, one.weight) < load(one, other.weight) { b } else { a }
    }

    fn may(&self, at: usize) -> bool {
        let target = &self.plan.targets[at];
        let fits = match self.wanted {
            Wanted::Any => true,
            _ if self.tried.contains(target) => false,
            Wanted::Unavailable => true,
            _ if target.is(UNAVAILABLE) => false,
            Wanted::Cold => true,
            Wanted::Best => !target.is(WARMING) || self.pool.takes_turn(target, self.turn),
        };
        if !fits {
            return false;
        }
        let max = self.pool.connections_max;
        let full = max > 0 && target.in_flight.load(Relaxed) >= max;
        self.full.set(self.full.get() || full);
        !full
    }

    fn take(&self, at: u16) -> Option<&'p Arc<Target>> {
        let target = &self.plan.targets[usize::from(at)];
        (self.may(usize::from(at)) && target.take(self.pool.connections_max)).then_some(target)
    }
}
