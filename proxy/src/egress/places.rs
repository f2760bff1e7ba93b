//! Attempts at the same time: so many in all, and for neither side all of them.
//!
//! Deliveries of control's and messages of an operator's own senders take places of the same number. A quarter of it is
//! kept for each side: however many receivers of the one hang, the other goes on.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clearway_config::settings::process::EgressSettings;

/// The part of the places that one side leaves to the other: one of so many.
const KEPT: u32 = 4;

/// Whose attempt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What control has accepted.
    Control,
    /// What an operator's own senders post here.
    Senders,
}

#[derive(Debug)]
pub(crate) struct Places {
    /// Those of control in the lower half, those of senders in the upper.
    taken: AtomicU64,
    max: u32,
    /// Whether anything comes from control.
    delivers: bool,
}

/// An attempt's place; given back by being dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    side: Side,
}

impl Places {
    pub(super) fn new(settings: &EgressSettings) -> Self {
        let max = u32::try_from(settings.in_flight_max).unwrap_or(u32::MAX);
        Self { taken: AtomicU64::new(0), max, delivers: settings.deliver }
    }

    /// As many as one side may have at the same time.
    pub(crate) fn max_of(&self, side: Side) -> u32 {
        match side {
            Side::Senders if !self.delivers => self.max,
            Side::Control | Side::Senders => self.max - self.max / KEPT,
        }
    }

    /// A place for one more attempt, where there is room.
    pub(super) fn enter(self: &Arc<Self>, side: Side) -> Option<Place> {
        let before = self.taken.fetch_add(side.one(), Ordering::Relaxed);
        let place = Place { places: self.clone(), side };
        let (own, all) = (side.of(before), Side::Control.of(before) + Side::Senders.of(before));
        (own < u64::from(self.max_of(side)) && all < u64::from(self.max)).then_some(place)
    }
}

impl Side {
    fn shift(self) -> u32 {
        match self {
            Self::Control => 0,
            Self::Senders => u32::BITS,
        }
    }

    fn one(self) -> u64 {
        1 << self.shift()
    }

    fn of(self, taken: u64) -> u64 {
        (taken >> self.shift()) & u64::from(u32::MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(self.side.one(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Side::{Control, Senders},
        *,
    };

    fn places(max: usize, deliver: bool) -> Arc<Places> {
        Arc::new(Places::new(&EgressSettings { in_flight_max: max, deliver, ..EgressSettings::default() }))
    }

    fn fill(places: &Arc<Places>, side: Side) -> Vec<Place> {
        std::iter::from_fn(|| places.enter(side)).collect()
    }

    #[test]
    fn whoever_takes_all_it_can_leaves_the_other_a_quarter() {
        for (max, kept) in [(1_024, 256), (8, 2), (5, 1), (4, 1), (3, 0), (1, 0)] {
            for (first, then) in [(Control, Senders), (Senders, Control)] {
                let places = places(max, true);
                let taken = fill(&places, first);
                assert_eq!((taken.len(), fill(&places, then).len()), (max - kept, kept), "{max}, {first:?} first");
                drop(taken);
                assert_eq!(fill(&places, then).len(), max - kept, "they were given back");
            }
        }
    }

    #[test]
    fn what_one_side_does_not_need_the_other_may_use_but_together_they_take_no_more_than_all() {
        let places = places(8, true);
        let (senders, control) = (fill(&places, Senders), fill(&places, Control));
        assert_eq!((senders.len(), control.len()), (6, 2));
        assert!(places.enter(Control).is_none() && places.enter(Senders).is_none());
        drop(senders);
        assert_eq!(fill(&places, Control).len(), 4);
    }

    #[test]
    fn nothing_is_kept_for_deliveries_where_there_are_none() {
        let places = places(8, false);
        assert_eq!(fill(&places, Senders).len(), 8);
    }
}
