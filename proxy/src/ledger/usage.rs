//! Usage as it is reported: cumulative totals of the subjects that have changed.
//!
//! A total is an absolute number of one subject's day, so that a report can be repeated, reordered or
//! lost without harm. Which subjects have changed since the last report is remembered in memory only;
//! after a start all of them have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Ledger, SlotId, Subject,
    directory::{KIND_KEY, subject_of},
    mapping::Mapping,
    marks::Mark,
};

/// How many requests of one subject were admitted on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub subject: Subject,
    /// Days since 1970-01-01 UTC.
    pub day: u32,
    pub admitted: u64,
    /// Milliseconds since 1970.
    pub last_used_ms: u64,
    /// Known for keys only.
    pub last_address: Option<IpAddr>,
}

impl Ledger {
    /// Takes up to `max` of the totals that have changed since they were last taken.
    ///
    /// What is taken is not offered again until it changes; a report that failed is put back by [`Ledger::restore`].
    pub fn totals(&self, max: usize) -> Vec<Total> {
        let read = || {
            let mut totals = Vec::new();
            self.marks.drain(Mark::Report, self.map.slots(), max, |slot| {
                let total = read_total(&self.map, slot, None);
                totals.extend(total);
                total.is_some()
            });
            totals
        };
        self.keeping.while_kept(read).unwrap_or_default()
    }

    /// Tells of every subject whether it is a key and how many of its requests were admitted on `day`. Walks all
    /// slots, locking each for a moment: for people who look now and then, not for requests.
    pub fn each_admitted(&self, day: u32, mut tell: impl FnMut(SlotId, bool, u64)) {
        self.keeping.while_kept(|| {
            for slot in (0..self.map.slots()).map(SlotId) {
                if let Some(counted) = self.map.slot(slot) {
                    let admitted = counted.lock().windows().admitted_on(day);
                    tell(slot, counted.kind() == KIND_KEY, admitted);
                }
            }
        });
    }

    /// Whose slot this is.
    pub fn subject(&self, slot: SlotId) -> Option<Subject> {
        subject_of(&self.map, slot)
    }

    /// Offers these subjects' totals again.
    pub fn restore(&self, totals: &[Total]) {
        for total in totals {
            if let Some(slot) = self.directory.find(&self.map, &total.subject) {
                self.marks.set(slot, Mark::Report);
            }
        }
    }
}

/// The total of `day`, or of the slot's own last day; `None` where nothing was admitted.
pub(super) fn read_total(map: &Mapping, id: SlotId, day: Option<u32>) -> Option<Total> {
    let subject = subject_of(map, id)?;
    let slot = map.slot(id)?.lock();
    let windows = slot.windows();
    let day = day.unwrap_or(windows.day);
    let admitted = windows.admitted_on(day);
    let last_address = match slot.address() {
        (4, v4) => Some(IpAddr::V4(Ipv4Addr::from_bits(v4))),
        (6, _) => Some(IpAddr::V6(Ipv6Addr::from(map.name(id)?.address_v6.load()))),
        _ => None,
    };
    (admitted > 0).then_some(Total { subject, day, admitted, last_used_ms: windows.last_used_ms, last_address })
}
