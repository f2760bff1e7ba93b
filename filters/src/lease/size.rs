//! What a node does by itself between calls: how much it asks for, when it asks and returns, and what a lease makes of a
//! limit. Numbers in, numbers out; the node keeps the state.

use super::Policy;
use crate::quota::Now;

/// A lease is sized for so much of the recent demand.
pub const WORTH_MS: u64 = 2_000;
/// Greatest number that is asked for at once.
pub const WANT_MAX: u64 = 1_000_000;
/// A grant of a day is at least this part of its limit, however seldom requests come: what little is asked for is soon asked
/// for again. It is also what a node that never comes back takes with it.
pub const DAY_PARTS: u64 = 300;
/// The same of a month.
pub const MONTH_PARTS: u64 = 9_000;
/// But no more than this part of what was left: toward the end all of it is to be used.
pub const LEFT_PARTS: u64 = 16;
/// Unspent parts of a day or a month are returned when nothing was spent for this long.
pub const IDLE_MS: u64 = 2_000;
/// The same of no more than [`least_long`]: whoever comes every now and then does not ask each time.
pub const IDLE_MS_MAX: u64 = 30_000;
/// Slots that are not in use are returned when nothing needed them for this long.
pub const SLOTS_IDLE_MS: u64 = 1_000;
/// What is unspent is returned so long before the window's end, so that others can spend it; what is needed in this time is
/// asked for in small pieces.
pub const END_MS: u64 = 5_000;
/// From so many requests of a subject within a second on, a share is asked for instead of tokens.
pub const SHARE_FROM: u32 = 5;
/// With fewer, a share is, if it is at most this part of the limit and half of that is free: tokens are a call a request.
pub const SLOW_SHARE_PARTS: u32 = 16;
/// Slots to spare at least, where the limit is so many times greater and half of it is free.
pub const SLOTS_SPARE_PARTS: u32 = 16;
pub const SLOTS_SPARE: u32 = 8;
/// A greater number of slots that are left is not told apart.
pub const SLOTS_LEFT_MAX: u32 = 255;
/// The store's clock, against the node's idea of it: off by more, it was set.
pub const STEP_MS: u64 = 1_000;
/// A window that was answered to be exhausted is asked about again after so long: others may have returned some of it.
pub const RECHECK_MS: u64 = 1_000;
/// The wait doubles up to this.
pub const RECHECK_MS_MAX: u64 = 60_000;

/// How many more of a day or a month to ask for: `rate` requests a second for [`WORTH_MS`], or the `least`, beyond what is
/// `unspent`. `waiting` requests cannot go on without. Near the window's end only those count.
pub fn want_long(rate: u64, unspent: u64, waiting: u64, least: u64, ends_in_ms: u64) -> u64 {
    let worth = if ends_in_ms <= END_MS { 0 } else { (rate.saturating_mul(WORTH_MS) / 1_000).max(least) };
    worth.max(waiting).saturating_sub(unspent).min(WANT_MAX)
}

/// What is asked for at least of a `limit` of which so much was `left` when the store was last heard.
pub fn least_long(limit: u64, parts: u64, left: u64) -> u64 {
    (limit / parts).min(left / LEFT_PARTS)
}

/// Whether it is time to ask for more in the background: what is unspent lasts for half a second.
#[inline]
pub fn is_low(unspent: u64, rate: u64) -> bool {
    unspent <= rate / 2
}

/// How much of what is unspent to return of a day or a month: all of it when idle or near the window's end. No more than the
/// `least` that is asked for is kept longer.
pub fn to_return(unspent: u64, least: u64, idle_ms: u64, ends_in_ms: u64) -> u64 {
    let idle_ms_max = if unspent <= least { IDLE_MS_MAX } else { IDLE_MS };
    if idle_ms >= idle_ms_max || ends_in_ms <= END_MS { unspent } else { 0 }
}

/// Whether an idle share is returned, and not left to end by itself: others may want it at once.
pub fn is_share_missed(share: u32, left: u32) -> bool {
    share > left / 8
}

/// What to ask of a second: (`want_share`, `want_tokens`), for `rate` requests in the second, those `waiting` now included.
/// `left` is what the store had of it when it was last heard.
///
/// A share is asked for with a fifth to spare, so that demand which grows is seen as growing; twice as large where requests
/// wait, for then nobody knows how many come, but by no more than a quarter of what is left. Who `has_share` and needs more
/// asks for a larger one, since a share and tokens are not given together.
pub fn want_second(rate: u32, waiting: u32, limit: u32, has_share: bool, left: u32) -> (u32, u32) {
    let slow = rate.saturating_mul(2).saturating_add(1);
    let share = match rate > SHARE_FROM || (has_share && waiting > 0) {
        true => {
            let steady = rate.saturating_add(rate / 5).max(rate.saturating_add(1));
            let grown = if waiting > 0 { rate.saturating_mul(2).min(rate.saturating_add(left / 4)) } else { 0 };
            steady.max(grown).min(limit)
        }
        false if slow <= limit / SLOW_SHARE_PARTS && left >= limit / 2 => slow,
        false => 0,
    };
    (share, waiting.max(1).min(limit))
}

/// How many more slots to ask for: as many again as are in use, a half of it to spare, beyond those held.
pub fn want_slots(in_use: u32, waiting: u32, held: u32, limit: u32, left: u32) -> u32 {
    let needed = in_use.saturating_add(waiting);
    let spare = (needed / 2).max(least_slots(limit, left));
    needed.saturating_add(spare).min(limit).max(needed.min(limit)).saturating_sub(held)
}

fn least_slots(limit: u32, left: u32) -> u32 {
    if half_is_free(limit, left) { SLOTS_SPARE.min(limit / SLOTS_SPARE_PARTS) } else { 0 }
}

fn half_is_free(limit: u32, left: u32) -> bool {
    left >= (limit / 2).min(SLOTS_LEFT_MAX)
}

/// How many slots to keep when it comes to returning: those in use, and if others were needed lately a half as many more. All
/// of them where nobody misses them; those that nothing needs are not renewed.
pub fn slots_to_keep(in_use: u32, held: u32, idle_ms: u64, limit: u32, left: u32) -> u32 {
    if half_is_free(limit, left) && held <= left / 3 {
        return held.max(in_use);
    }
    let spare = if idle_ms >= SLOTS_IDLE_MS { 0 } else { in_use / 2 + 1 };
    in_use.saturating_add(spare).min(held.max(in_use))
}

/// Whether to renew what is leased until a time: half of its life is over.
pub fn renewal_due(now_ms: u64, until_ms: u64, lease_ms: u64) -> bool {
    until_ms.saturating_sub(now_ms) <= lease_ms / 2
}

/// The limit a second is decided by, given what the node holds: its share (0 where it has none, or it has ended), or its
/// `tokens` of this very second (0 where they are of another). `before` is what it admitted in the second before.
///
/// A request passes by either; both count what the node has admitted in this second, so never more than both together.
pub fn second_limit(now: &Now, share: u32, tokens: u32, before: u32) -> u32 {
    // Tokens are paid for in full at the store, the second before included: here its weight is taken out again.
    let weight = u64::from(before) * (999 - u64::from(now.milli.min(999))) / 1_000;
    let by_tokens = if tokens == 0 { 0 } else { u64::from(tokens) + weight };
    share.max(u32::try_from(by_tokens).unwrap_or(u32::MAX))
}

/// When something that was leased until `until_ms` ends by the node's own steady clock: counted from when the call was
/// *sent*, which is earlier than when the store looked at its clock. `said_ms` is the answer's time.
pub fn ends_at(sent_ms: u64, said_ms: u64, until_ms: u64) -> u64 {
    sent_ms.saturating_add(until_ms.saturating_sub(said_ms))
}

/// Whether the store's clock was set, given what the node took it to be when the call was `sent_ms` and when its answer
/// was `heard_ms`: an answer that took long was said at any time between. The node then gives up shares and slots, and asks
/// for new ones only after [`step_wait_ms`]: what others hold lasts by their steady clocks, whatever the store believes.
pub fn clock_stepped(sent_ms: u64, heard_ms: u64, said_ms: u64) -> bool {
    said_ms.saturating_add(STEP_MS) < sent_ms || said_ms > heard_ms.saturating_add(STEP_MS)
}

/// How long to wait with seconds and slots after the store's clock was set.
pub fn step_wait_ms(policy: &Policy) -> u64 {
    // A share weighs through the second after it.
    (policy.share_lease_ms + 2_000).max(policy.slots_lease_ms)
}

/// Whether a node that had no answer to a beat for `silent_ms`, counted from when the last one that was answered was sent,
/// must give up all that it holds: others may have stopped waiting for it, and share it out again.
pub fn lapsed(policy: &Policy, silent_ms: u64) -> bool {
    silent_ms >= policy.forget_after_ms
}

/// How long to wait before asking again about an exhausted window, after `times` answers that it is.
pub fn recheck_after_ms(times: u32) -> u64 {
    RECHECK_MS.checked_shl(times.saturating_sub(1).min(16)).unwrap_or(RECHECK_MS_MAX).min(RECHECK_MS_MAX)
}

/// A node's part of what was left of a window when the store was last heard: for a plan that goes on by local shares. Taken
/// once a window.
pub fn local_share(left: u64, members: u64) -> u64 {
    left / members.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_worth_two_seconds_and_near_the_end_only_what_waits() {
        assert_eq!(want_long(1_000, 300, 1, 0, 3_600_000), 1_700);
        assert_eq!(want_long(0, 0, 1, 0, 3_600_000), 1);
        assert_eq!(want_long(1_000, 0, 3, 500, END_MS), 3);
        assert_eq!(want_long(10, 50, 1, 0, 3_600_000), 0);
        assert_eq!(want_long(u64::MAX, 0, 0, 0, 3_600_000), WANT_MAX);
    }

    #[test]
    fn a_slow_key_asks_for_a_part_of_its_limit_while_much_is_left() {
        assert_eq!(want_long(1, 3, 1, least_long(100_000, DAY_PARTS, 90_000), 3_600_000), 330);
        assert_eq!(least_long(100_000, DAY_PARTS, 1_600), 100);
        assert_eq!(least_long(100, DAY_PARTS, 100), 0);
        assert_eq!(least_long(100_000, DAY_PARTS, 0), 0, "nothing is known yet");
    }

    #[test]
    fn half_a_second_left_is_low_and_idle_or_ending_returns_all() {
        assert!(is_low(25, 50) && !is_low(26, 50) && is_low(0, 0));
        assert_eq!(to_return(7, 6, IDLE_MS, 60_000), 7);
        assert_eq!((to_return(7, 7, IDLE_MS, 60_000), to_return(7, 7, IDLE_MS_MAX, 60_000)), (0, 7));
        assert_eq!((to_return(7, 7, 0, END_MS), to_return(7, 6, 0, 60_000)), (7, 0));
    }

    #[test]
    fn few_requests_ask_for_tokens_and_many_for_a_share() {
        assert_eq!(want_second(3, 1, 10, false, 10), (0, 1));
        assert_eq!(want_second(100, 1, 1_000, false, 0), (120, 1));
        assert_eq!(want_second(6, 1, 1_000, false, 0), (7, 1));
        assert_eq!(want_second(100, 50, 10, false, 0), (10, 10));
        assert_eq!(want_second(100, 1, 1_000, false, 300), (175, 1), "more may come");
        assert_eq!(want_second(100, 0, 1_000, true, 300), (120, 1));
    }

    #[test]
    fn few_requests_ask_for_a_small_share_of_a_limit_of_which_most_is_free() {
        assert_eq!(want_second(1, 1, 48, false, 24), (3, 1));
        assert_eq!(want_second(1, 1, 48, false, 23), (0, 1));
        assert_eq!(want_second(1, 1, 47, false, 47), (0, 1));
        assert_eq!(want_second(4, 2, 47, true, 0), (5, 2), "who has a share is given no tokens");
        assert_eq!(want_second(4, 0, 47, true, 40), (0, 1), "it ends where it is not needed");
    }

    #[test]
    fn slots_are_asked_for_with_a_half_to_spare_and_kept_only_while_needed() {
        assert_eq!(want_slots(0, 1, 0, 25, 0), 1);
        assert_eq!(want_slots(10, 2, 12, 25, 0), 6);
        assert_eq!(want_slots(20, 20, 20, 25, 0), 5);
        let keep = |in_use, held, idle_ms| slots_to_keep(in_use, held, idle_ms, 25, 5);
        assert_eq!((keep(4, 20, 0), keep(4, 20, SLOTS_IDLE_MS), keep(4, 4, 0)), (7, 4, 4));
    }

    #[test]
    fn slots_to_spare_are_asked_for_and_kept_while_half_of_the_limit_is_free() {
        assert_eq!((want_slots(0, 1, 0, 50, 25), want_slots(0, 1, 0, 50, 24), want_slots(0, 1, 0, 5, 5)), (4, 1, 1));
        assert_eq!(want_slots(0, 1, 0, 1_000_000, SLOTS_LEFT_MAX), 9);
        assert_eq!((slots_to_keep(0, 8, 9_000, 50, 25), slots_to_keep(0, 9, 9_000, 50, 25)), (8, 0));
        assert_eq!((slots_to_keep(0, 1, 9_000, 5, 3), slots_to_keep(0, 1, 9_000, 5, 2)), (1, 0));
    }

    #[test]
    fn tokens_admit_as_many_as_they_are_whatever_the_second_before() {
        let now = Now::at(1_770_724_800_250);
        // 8 of the second before weigh 8 × 0.749 = 5.
        assert_eq!(second_limit(&now, 0, 3, 8), 8);
        assert_eq!(second_limit(&now, 10, 3, 8), 10);
        assert_eq!(second_limit(&now, 0, 0, 8), 0);
    }

    #[test]
    fn an_end_is_counted_from_the_sending_and_rechecks_grow_to_a_minute() {
        assert_eq!(ends_at(500, 1_000_000, 1_002_000), 2_500);
        assert_eq!(ends_at(500, 1_000_000, 999_000), 500);
        assert_eq!([1, 2, 3, 7, 60].map(recheck_after_ms), [1_000, 2_000, 4_000, 60_000, 60_000]);
        assert!(clock_stepped(10_000, 10_000, 11_001) && !clock_stepped(11_000, 11_000, 10_000));
        assert!(clock_stepped(11_001, 15_000, 10_000) && !clock_stepped(11_000, 15_000, 10_000), "it took four seconds");
    }
}
