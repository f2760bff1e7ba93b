//! What is said and asked of the store for one subject, and what its answer makes of what is held. Pure but for the
//! holding it is given, which the caller has locked: it is lowered before what is returned is said, and raised by
//! what was given.

use clearway_config::Limits;
use clearway_filters::{
    lease::{Asks, Given, LongAsk, LongGiven, SecondAsk, SlotsAsk, size},
    quota::{Holding, Now, Windows, day_ends_ms, month_ends_ms},
};

use super::rechecks::Rechecks;

/// Why and when a subject is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) now: &'a Now,
    pub(super) limits: &'a Limits,
    /// As in [`Holding::room`].
    pub(super) valid: bool,
    /// Requests that cannot go on without.
    pub(super) waiting: u32,
    /// More of days and months is asked for; otherwise it is only returned and renewed.
    pub(super) refills: bool,
    /// All that is not needed is returned: this node goes.
    pub(super) leaving: bool,
    /// How long shares last, in milliseconds.
    pub(super) share_lease_ms: u64,
    pub(super) slots_lease_ms: u64,
    /// Nothing that is leased until a time is asked for: the store's clock was set.
    pub(super) unsteady: bool,
}

/// What is said and asked, and whether it is worth a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) asks: Asks,
    pub(super) worth: bool,
}

/// A day's or a month's.
struct Part {
    window: u32,
    limit: u64,
    parts: u64,
    used: u64,
    /// With nobody, when the store was last heard.
    left: u64,
    ends_ms: u64,
    /// What was granted may be spent.
    kept: bool,
}

/// Says what a subject holds, having lowered it by what is returned, and what more it wants. `windows` are of now.
pub(super) fn ask(on: &Occasion<'_>, windows: &Windows, holding: &mut Holding) -> Question {
    let (now, limits) = (on.now, on.limits);
    if !limits.can_refuse() {
        return Question::default();
    }
    holding.roll(windows);
    let rate = u64::from(windows.second_before.max(windows.second_count));
    let idle_ms = if on.leaving { u64::MAX } else { now.ms.saturating_sub(windows.last_used_ms) };
    let mut worth = false;

    let waiting = u64::from(on.waiting);
    let mut long = |part: Part, granted: &mut u64| {
        let Part { window, limit, parts, used, left, ends_ms, kept } = part;
        // Counted without being granted: where there was no store, or it was lost.
        *granted = if kept { (*granted).max(used) } else { used };
        let (unspent, ends_in_ms) = (*granted - used, ends_ms.saturating_sub(now.ms));
        let least = size::least_long(limit, parts, left);
        let want = match on.leaving || !on.refills {
            true => 0,
            false => size::want_long(rate, unspent, waiting, least, ends_in_ms),
        };
        let returned = if want == 0 { size::to_return(unspent, least, idle_ms, ends_in_ms) } else { 0 };
        *granted -= returned;
        // What is not low is topped up only beside something else.
        worth |= returned > 0 || (want > 0 && (unspent < waiting || size::is_low(unspent, rate)));
        LongAsk { window, limit, holds: *granted, want, bare: on.waiting > 0 && unspent == 0 }
    };
    let day = limits.per_day.map(|limit| {
        let part = Part {
            window: windows.day,
            limit,
            parts: size::DAY_PARTS,
            used: windows.day_count,
            left: holding.day_beyond,
            ends_ms: day_ends_ms(windows.day),
            kept: on.valid || holding.day_debt,
        };
        long(part, &mut holding.day_granted)
    });
    let month = limits.per_month.filter(|_| !limits.overage).map(|limit| {
        let part = Part {
            window: windows.month,
            limit,
            parts: size::MONTH_PARTS,
            used: windows.month_count,
            left: holding.month_beyond,
            ends_ms: month_ends_ms(windows.month),
            kept: on.valid || holding.month_debt,
        };
        long(part, &mut holding.month_granted)
    });

    let second = limits.per_second.map(|limit| {
        let rate = u32::try_from(rate).unwrap_or(u32::MAX).saturating_add(on.waiting);
        let has_share = holding.has_share(now) && holding.share > 0;
        let bare = on.waiting > 0 && holding.room(now, windows, limits, true).second == 0;
        // A share that is spent is too small, whatever the rate: what was admitted in the second before weighs, too.
        let rate = if bare && has_share { rate.max(holding.share.saturating_add(on.waiting)) } else { rate };
        let idle = idle_ms >= size::IDLE_MS && on.waiting == 0;
        // It ends by itself soon; what others may want at once is returned.
        let is_missed = size::is_share_missed(holding.share, holding.second_beyond);
        let returns = has_share && (on.leaving || (idle && is_missed));
        if returns {
            (holding.share, holding.share_until_ms, worth) = (0, 0, true);
        }
        let share = if has_share && !returns { holding.share } else { 0 };
        let (want_share, want_tokens) = match idle || on.unsteady || (!on.refills && !has_share) {
            true => (0, 0),
            false => size::want_second(rate, on.waiting, limit, has_share, holding.second_beyond),
        };
        // Slow ones are renewed by their requests.
        let tended = on.refills || rate > size::SHARE_FROM;
        let renews = has_share && tended && size::renewal_due(now.uptime_ms, holding.share_until_ms, on.share_lease_ms);
        worth |= want_share > 0 && (on.waiting > 0 || renews);
        let want_tokens = if on.waiting > 0 { want_tokens } else { 0 };
        worth |= want_tokens > 0;
        SecondAsk { limit, share, want_share, want_tokens, bare }
    });

    let slots = limits.concurrent.map(|limit| {
        let held = if holding.has_slots(now) { holding.slots } else { 0 };
        let want = match on.leaving || on.unsteady {
            true => 0,
            false if !on.refills || (windows.concurrent == 0 && on.waiting == 0) => 0,
            false => size::want_slots(windows.concurrent, on.waiting, held, limit, holding.slots_beyond),
        };
        let keeps = match want > 0 {
            true => held.max(windows.concurrent),
            false if on.leaving => windows.concurrent,
            false => size::slots_to_keep(windows.concurrent, held, idle_ms, limit, holding.slots_beyond),
        };
        if keeps < held {
            (holding.slots, worth) = (keeps, true);
        }
        let renews = windows.concurrent > 0 && size::renewal_due(now.uptime_ms, holding.slots_until_ms, on.slots_lease_ms);
        // Those to spare are asked for beside something else.
        let lacks = windows.concurrent.saturating_add(on.waiting) > held || (windows.concurrent == held && held > 1);
        worth |= (want > 0 && lacks) || (renews && !on.leaving);
        SlotsAsk { limit, holds: keeps, want, bare: on.waiting > 0 && held <= windows.concurrent }
    });
    Question { asks: Asks { second, day, month, slots }, worth }
}

/// How many were added to what a subject held, of each kind: for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) day: u64,
    pub(crate) month: u64,
    pub(crate) tokens: u64,
    pub(crate) share: u64,
    pub(crate) slots: u64,
}

/// An answer, and when what it is to was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered<'a> {
    pub(super) asked: &'a Asks,
    pub(super) given: &'a Given,
    /// By the steady clock, before the call was sent.
    pub(super) sent_ms: u64,
    /// The store's time, as it said.
    pub(super) said_ms: u64,
}

/// Adds what was given to what is held, and notes what there is nothing left of.
pub(super) fn take_in(
    answered: &Answered<'_>,
    now: &Now,
    windows: &Windows,
    holding: &mut Holding,
    rechecks: &mut Rechecks,
) -> Added {
    let Answered { asked, given, sent_ms, said_ms } = *answered;
    let mut added = Added::default();
    let long = |asked: Option<LongAsk>, given: Option<LongGiven>, window: u32| {
        let (asked, given) = asked.zip(given)?;
        (given.open && given.window == window).then(|| (given.granted.saturating_sub(asked.holds), given.left, asked.want))
    };
    if let Some((more, left, want)) = long(asked.day, given.day, holding.day) {
        (holding.day_granted, holding.day_beyond, holding.day_debt) = (holding.day_granted + more, left, false);
        rechecks.day.answered(now.uptime_ms, want > 0 && more == 0 && left == 0, Rechecks::long);
        added.day = more;
    }
    if let Some((more, left, want)) = long(asked.month, given.month, holding.month) {
        (holding.month_granted, holding.month_beyond, holding.month_debt) = (holding.month_granted + more, left, false);
        rechecks.month.answered(now.uptime_ms, want > 0 && more == 0 && left == 0, Rechecks::long);
        added.month = more;
    }
    if let Some((asked, given)) = asked.second.zip(given.second) {
        let grown = given.share.saturating_sub(asked.share);
        holding.share = given.share;
        holding.share_until_ms = if given.share > 0 { size::ends_at(sent_ms, said_ms, given.until_ms) } else { 0 };
        if given.tokens > 0 {
            let used = if windows.second == given.second { windows.second_count } else { 0 };
            let held = if holding.second == given.second { holding.second_granted.max(used) } else { used };
            (holding.second, holding.second_granted) = (given.second, held.saturating_add(given.tokens));
        }
        if given.tokens > 0 || given.share > 0 || holding.second != given.second {
            holding.second_beyond = given.left;
        }
        // Who has some left, and waits for another limit, may be given less and is short of nothing.
        let nothing = asked.bare && grown == 0 && given.tokens == 0 && (given.left == 0 || given.share > 0);
        rechecks.second.answered(now.uptime_ms, nothing, |_| Rechecks::second_ms(asked.limit));
        (added.tokens, added.share) = (u64::from(given.tokens), u64::from(grown));
    }
    if let Some((asked, given)) = asked.slots.zip(given.slots) {
        let more = given.slots.saturating_sub(asked.holds);
        (holding.slots, holding.slots_beyond) = (given.slots, given.left);
        holding.slots_until_ms = size::ends_at(sent_ms, said_ms, given.until_ms);
        rechecks.slots.answered(now.uptime_ms, asked.want > 0 && more == 0 && given.left == 0, |_| Rechecks::SLOTS_MS);
        added.slots = u64::from(more);
    }
    added
}

#[cfg(test)]
mod tests {
    use clearway_filters::{lease::SecondGiven, quota::Room};

    use super::*;

    #[test]
    fn a_share_that_is_renewed_smaller_is_no_sign_that_the_second_is_used_up() {
        let now = Now::at(1_770_724_800_000).with_uptime(1_000);
        let ask = SecondAsk { limit: 5_000_000, share: 64, want_share: 24, want_tokens: 1, bare: false };
        let given = SecondGiven { share: 24, until_ms: now.ms + 2_000, tokens: 0, second: now.second, left: 4_999_976 };
        let forbids = |bare: bool| {
            let asked = Asks { second: Some(SecondAsk { bare, ..ask }), ..Asks::default() };
            let given = Given { second: Some(given), ..Given::default() };
            let answered = Answered { asked: &asked, given: &given, sent_ms: 990, said_ms: now.ms };
            let (mut holding, mut rechecks) = (Holding { share: 64, ..Holding::default() }, Rechecks::default());
            take_in(&answered, &now, &Windows::default(), &mut holding, &mut rechecks);
            let spent = Room { second: 0, day: Room::UNBOUND, month: Room::UNBOUND, concurrent: Room::UNBOUND };
            rechecks.forbid(&spent, now.uptime_ms)
        };
        assert!(!forbids(false), "some was left, and something else was waited for");
        assert!(forbids(true), "none was left, and none was added");
    }
}
