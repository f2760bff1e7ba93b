//! Whether limits held, by what clients saw: pure, so that a history of any origin can be judged, one made by hand
//! included.
//!
//! A client knows when it asked and when it was answered, not when its request was counted. So a request counts in a
//! window only where it was counted there for certain, and what is found to be too much is too much. A gateway counts
//! by the store's clock and takes it to be earlier than it is by [`Rules::slack_us`] at most.
//!
//! A second is judged by the rule that it promises: two adjacent UTC seconds, the earlier one weighted. That is less
//! than "in any second": a burst late in one second and the next one's room together are more than the limit. How much
//! that came to is told beside it ([`Verdict::most_in_a_second`]).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clearway_config::Limits;
use clearway_filters::quota::Now;

const SECOND_US: u64 = 1_000_000;

/// One request, as its client saw it. Times are the store's clock, in microseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which one has decided.
    pub(crate) gateway: usize,
    /// Whose limits it counts against, by their places in [`Rules::subjects`].
    pub(crate) subjects: [Option<usize>; 2],
    pub(crate) began_us: u64,
    pub(crate) ended_us: u64,
    /// If it was admitted, it was being served for at least so long.
    pub(crate) held_us: u64,
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Admitted,
    /// There was nothing left, it says.
    Refused,
    /// There may have been something left, but it could not be asked for.
    Unavailable,
    /// None came: it was admitted, or was not.
    None,
}

#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) subjects: &'a [(String, Limits)],
    /// At most so many gateways have decided.
    pub(crate) gateways: usize,
    pub(crate) slack_us: u64,
}

/// More was admitted than the limit, for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) subject: String,
    pub(crate) window: String,
    pub(crate) admitted: u64,
    pub(crate) limit: u64,
}

/// A day or a month that was offered at least one and a half times its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) subject: String,
    pub(crate) window: String,
    pub(crate) limit: u64,
    pub(crate) offered: u64,
    pub(crate) admitted: u64,
    /// Were not answered, and may have been admitted.
    pub(crate) unknown: u64,
    /// Were told that nothing was left while others held some of it, of this and of every limit that they count against.
    pub(crate) early: u64,
}

/// Seconds that were offered at least one and a half times their limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seconds {
    pub(crate) seconds: u64,
    pub(crate) admitted: u64,
    /// The limit, over all of them.
    pub(crate) could: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) over: Vec<Over>,
    pub(crate) offered: Vec<Offered>,
    pub(crate) seconds: BTreeMap<String, Seconds>,
    /// In any stretch of a second's length, of those with such a limit: the most, and the limit.
    pub(crate) most_in_a_second: BTreeMap<String, (u64, u64)>,
    /// At any moment, of those with such a limit: the most that were being served for certain, and the limit.
    pub(crate) most_at_once: BTreeMap<String, (u64, u64)>,
}

/// What came of one subject's requests.
struct Of<'a> {
    name: &'a str,
    all: Vec<&'a Seen>,
    rules: &'a Rules<'a>,
    /// Of each subject, when requests began that may have been admitted, in order.
    could: &'a [Vec<u64>],
}

pub(crate) fn judge(history: &[Seen], rules: &Rules<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let could: Vec<_> = (0..rules.subjects.len()).map(|subject| could(history, subject)).collect();
    for (subject, (name, limits)) in rules.subjects.iter().enumerate() {
        let mut all: Vec<&Seen> = history.iter().filter(|seen| seen.subjects.contains(&Some(subject))).collect();
        all.sort_by_key(|seen| seen.began_us);
        let of = Of { name, all, rules, could: &could };
        if let Some(limit) = limits.per_day {
            of.long("day", limit, |us| Now::at(us / 1_000).day, &mut verdict);
        }
        if let Some(limit) = limits.per_month.filter(|_| !limits.overage) {
            of.long("month", limit, |us| Now::at(us / 1_000).month, &mut verdict);
        }
        if let Some(limit) = limits.per_second {
            of.seconds(u64::from(limit), &mut verdict);
        }
        if let Some(limit) = limits.concurrent {
            of.at_once(u64::from(limit), &mut verdict);
        }
    }
    verdict
}

impl<'a> Of<'a> {
    fn admitted(&self) -> impl Iterator<Item = &'a Seen> {
        self.all.iter().copied().filter(|seen| seen.answer == Answer::Admitted)
    }

    /// The window that a request was counted in, where that is certain.
    fn certain(&self, seen: &Seen, window_of: impl Fn(u64) -> u32) -> Option<u32> {
        let first = window_of(seen.began_us.saturating_sub(self.rules.slack_us));
        (first == window_of(seen.ended_us)).then_some(first)
    }

    fn over(&self, window: String, admitted: u64, limit: u64) -> Option<Over> {
        (admitted > limit).then(|| Over { subject: self.name.to_owned(), window, admitted, limit })
    }

    fn long(&self, kind: &str, limit: u64, window_of: impl Fn(u64) -> u32 + Copy, verdict: &mut Verdict) {
        let mut certain: BTreeMap<u32, u64> = BTreeMap::new();
        for seen in self.admitted() {
            if let Some(window) = self.certain(seen, window_of) {
                *certain.entry(window).or_default() += 1;
            }
        }
        let windows: std::collections::BTreeSet<u32> = self.all.iter().map(|seen| window_of(seen.began_us)).collect();
        for window in windows {
            let name = format!("{kind} {window}");
            verdict.over.extend(self.over(name.clone(), certain.get(&window).copied().unwrap_or(0), limit));
            let of_it: Vec<_> = self.all.iter().copied().filter(|seen| window_of(seen.began_us) == window).collect();
            let count = |answer: Answer| of_it.iter().filter(|seen| seen.answer == answer).count() as u64;
            let offered = of_it.len() as u64;
            if offered * 2 >= limit * 3 {
                verdict.offered.push(Offered {
                    subject: self.name.to_owned(),
                    window: name,
                    limit,
                    offered,
                    admitted: count(Answer::Admitted),
                    unknown: count(Answer::None),
                    early: self.early(&of_it),
                });
            }
        }
    }

    /// How many were refused while less had been admitted than every limit, those under way and without an answer
    /// included. Nothing is said of those that a second or a concurrency may have refused.
    fn early(&self, of_it: &[&Seen]) -> u64 {
        let had_room = |seen: &Seen, subject: usize| {
            let limits = &self.rules.subjects[subject].1;
            let admitted = self.could[subject].partition_point(|began| *began < seen.ended_us) as u64;
            let is_long = limits.per_second.is_none() && limits.concurrent.is_none();
            is_long && [limits.per_day, limits.per_month].into_iter().flatten().all(|limit| admitted < limit)
        };
        let refused = of_it.iter().filter(|seen| seen.answer == Answer::Refused);
        refused.filter(|seen| seen.subjects.iter().flatten().all(|subject| had_room(seen, *subject))).count() as u64
    }

    fn seconds(&self, limit: u64, verdict: &mut Verdict) {
        let second_of = |us: u64| u32::try_from(us / SECOND_US).unwrap_or(u32::MAX);
        // When those were answered that were counted in a second for certain, in milliseconds of it, rounded up.
        let mut ends: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for seen in self.admitted() {
            if let Some(second) = self.certain(seen, second_of) {
                ends.entry(second).or_default().push((seen.ended_us % SECOND_US).div_ceil(1_000).min(999));
            }
        }
        for (second, millis) in &mut ends.clone() {
            millis.sort_unstable();
            let before = second.checked_sub(1).and_then(|before| ends.get(&before)).map_or(0, |ends| ends.len() as u64);
            // Every gateway drops fractions of its own.
            let dropped = self.rules.gateways.saturating_sub(1) as u64;
            let sum = |(count, milli): (u64, &u64)| count + (before * (999 - milli) / 1_000).saturating_sub(dropped);
            let most = (1..).zip(millis.iter()).map(sum).max().unwrap_or(0).max(millis.len() as u64);
            verdict.over.extend(self.over(format!("second {second}"), most, limit));
        }
        let mut offered: BTreeMap<u32, u64> = BTreeMap::new();
        let mut admitted: BTreeMap<u32, u64> = BTreeMap::new();
        for seen in &self.all {
            *offered.entry(second_of(seen.began_us)).or_default() += 1;
            *admitted.entry(second_of(seen.ended_us)).or_default() += u64::from(seen.answer == Answer::Admitted);
        }
        let mut seconds = Seconds::default();
        for (second, _) in offered.iter().filter(|(_, offered)| **offered * 2 >= limit * 3) {
            seconds.seconds += 1;
            seconds.could += limit;
            seconds.admitted += admitted.get(second).copied().unwrap_or(0);
        }
        verdict.seconds.insert(self.name.to_owned(), seconds);
        let admitted: Vec<_> = self.admitted().collect();
        let within = |from: usize| {
            let ends_us = admitted[from].began_us + SECOND_US;
            let began = admitted[from..].iter().take_while(|seen| seen.began_us < ends_us);
            began.filter(|seen| seen.ended_us <= ends_us).count() as u64
        };
        let most = (0..admitted.len()).map(within).max().unwrap_or(0);
        verdict.most_in_a_second.insert(self.name.to_owned(), (most, limit));
    }

    fn at_once(&self, limit: u64, verdict: &mut Verdict) {
        // From when it must have been admitted until it cannot have ended. Of two at a moment the end comes first.
        let mut edges = Vec::new();
        for seen in self.admitted() {
            let (from, until) = (seen.ended_us.saturating_sub(seen.held_us), seen.began_us + seen.held_us);
            if from < until {
                edges.extend([(from, true, seen.gateway), (until, false, seen.gateway)]);
            }
        }
        edges.sort_unstable();
        // The gateways of those that are being served.
        let (mut now, mut most, mut when_us) = (Vec::new(), Vec::new(), 0);
        for (us, begins, gateway) in edges {
            if begins {
                now.push(gateway);
            } else if let Some(place) = now.iter().position(|one| *one == gateway) {
                now.swap_remove(place);
            }
            if now.len() > most.len() {
                (most, when_us) = (now.clone(), us);
            }
        }
        let first_us = self.all.first().map_or(0, |seen| seen.began_us);
        let when =
            format!("at the same time, {} ms after the first, at gateways {most:?}", when_us.saturating_sub(first_us) / 1_000);
        let most = most.len() as u64;
        verdict.over.extend(self.over(when, most, limit));
        verdict.most_at_once.insert(self.name.to_owned(), (most, limit));
    }
}

fn could(history: &[Seen], subject: usize) -> Vec<u64> {
    let of = history.iter().filter(|seen| seen.subjects.contains(&Some(subject)));
    let could = of.filter(|seen| matches!(seen.answer, Answer::Admitted | Answer::None));
    let mut began: Vec<_> = could.map(|seen| seen.began_us).collect();
    began.sort_unstable();
    began
}

impl Verdict {
    /// Whatever was not admitted of a day or a month though it was asked for; in the order of the subjects.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (&Offered, u64)> {
        self.offered.iter().map(|of| (of, of.limit.saturating_sub(of.admitted)))
    }
}
