//! Breadth-first search over every state that events can lead to.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Debug,
    hash::{BuildHasher, Hash},
};

use foldhash::fast::FixedState;

/// A world that events move on.
pub(super) trait World: Clone + Hash {
    type Event: Debug + Clone;

    /// Everything that may happen next, and what comes of it.
    fn next(&self) -> Vec<(Self::Event, Self)>;
    /// What must hold in every state.
    fn check(&self) -> Result<(), String>;
}

/// Whether there is time for more than the smallest worlds that show every fault: `make soak` takes it.
pub(super) fn is_deep() -> bool {
    std::env::var_os("CLEARWAY_TEST_DEEP").is_some()
}

/// A world of more states than this is too large to search.
pub(super) fn states_max() -> usize {
    if is_deep() { 3_000_000 } else { 300_000 }
}

/// Visits every state, told apart by 64 bits; how many there are, or the shortest way to one that must not be.
pub(super) fn search<W: World>(start: W, states_max: usize) -> Result<usize, String> {
    // The state before, and what led from it here.
    let mut found: Vec<(usize, Option<W::Event>)> = vec![(0, None)];
    let hasher = FixedState::default();
    let mut known = HashSet::from([hasher.hash_one(&start)]);
    let mut open = VecDeque::from([(start, 0_usize)]);
    while let Some((world, number)) = open.pop_front() {
        if let Err(why) = world.check() {
            return Err(format!("{why}, after {:?}", way_to(&found, number)));
        }
        for (event, next) in world.next() {
            if known.insert(hasher.hash_one(&next)) {
                found.push((number, Some(event)));
                open.push_back((next, found.len() - 1));
            }
        }
        assert!(found.len() <= states_max, "more than {states_max} states: bound the world tighter");
    }
    Ok(found.len())
}

fn way_to<E: Clone>(found: &[(usize, Option<E>)], mut number: usize) -> Vec<E> {
    let mut way = Vec::new();
    while let (before, Some(event)) = &found[number] {
        way.push(event.clone());
        number = *before;
    }
    way.reverse();
    way
}
