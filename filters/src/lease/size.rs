//! What a node does by itself between calls: how much it asks for, when it asks and returns, and what a lease makes of a
//! limit. Numbers in, numbers out; the node keeps the state.

use super::Policy;
use crate::quota::Now;

/// A lease is sized for so much of the recent demand.
pub const WORTH_MS: u64 = 2_000;
/// Greatest number that is asked for at once.
pub const WANT_MAX: u64 = 1_000_000;
/// Unspent parts of a day or a month are returned when nothing was spent for this long.
pub const IDLE_MS: u64 = 2_000;
/// Slots that are not in use are returned when nothing needed them for this long.
pub const SLOTS_IDLE_MS: u64 = 1_000;
/// What is unspent is returned so long before the window's end, so that others can spend it; what is needed in this time is
/// asked for in small pieces.
pub const END_MS: u64 = 5_000;
/// From so many requests of a subject within a second on, a share is asked for instead of tokens.
pub const SHARE_FROM: u32 = 5;
/// The store's clock, against the node's idea of it: off by more, it was set.
pub const STEP_MS: u64 = 1_000;
/// A window that was answered to be exhausted is asked about again after so long: others may have returned some of it.
pub const RECHECK_MS: u64 = 1_000;
/// The wait doubles up to this.
pub const RECHECK_MS_MAX: u64 = 60_000;

/// How many more of a day or a month to ask for: `rate` requests a second for [`WORTH_MS`], beyond what is `unspent`.
/// `waiting` requests cannot go on without. Near the window's end only those count.
pub fn want_long(rate: u64, unspent: u64, waiting: u64, ends_in_ms: u64) -> u64 {
    let worth = if ends_in_ms <= END_MS { 0 } else { rate.saturating_mul(WORTH_MS) / 1_000 };
    worth.max(waiting).saturating_sub(unspent).min(WANT_MAX)
}

/// Whether it is time to ask for more in the background: a quarter of what there was after the last answer is left.
pub fn is_low(unspent: u64, unspent_at_answer: u64) -> bool {
    unspent <= unspent_at_answer / 4
}

/// How much of what is unspent to return of a day or a month: all of it when idle or near the window's end.
pub fn to_return(unspent: u64, idle_ms: u64, ends_in_ms: u64) -> u64 {
    if idle_ms >= IDLE_MS || ends_in_ms <= END_MS { unspent } else { 0 }
}

/// What to ask of a second: (`want_share`, `want_tokens`), for `rate` requests in the second, those `waiting` now included.
///
/// A share is asked for with a fifth to spare, so that demand which grows is seen as growing.
pub fn want_second(rate: u32, waiting: u32, limit: u32) -> (u32, u32) {
    let share = if rate > SHARE_FROM { rate.saturating_add(rate / 5).max(rate + 1).min(limit) } else { 0 };
    (share, waiting.max(1).min(limit))
}

/// How many more slots to ask for: as many again as are in use, a half of it to spare, beyond those held.
pub fn want_slots(in_use: u32, waiting: u32, held: u32, limit: u32) -> u32 {
    let needed = in_use.saturating_add(waiting);
    needed.saturating_add(needed / 2).min(limit).max(needed.min(limit)).saturating_sub(held)
}

/// How many slots to keep when it comes to returning: those in use, and if others were needed lately a half as many more.
pub fn slots_to_keep(in_use: u32, held: u32, idle_ms: u64) -> u32 {
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

/// Whether the store's clock was set, given what the node took it to be. The node then gives up shares and slots, and asks
/// for new ones only after [`step_wait_ms`]: what others hold lasts by their steady clocks, whatever the store believes.
pub fn clock_stepped(expected_ms: u64, said_ms: u64) -> bool {
    expected_ms.abs_diff(said_ms) > STEP_MS
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
        assert_eq!(want_long(1_000, 300, 1, 3_600_000), 1_700);
        assert_eq!(want_long(0, 0, 1, 3_600_000), 1);
        assert_eq!(want_long(1_000, 0, 3, END_MS), 3);
        assert_eq!(want_long(10, 50, 1, 3_600_000), 0);
        assert_eq!(want_long(u64::MAX, 0, 0, 3_600_000), WANT_MAX);
    }

    #[test]
    fn a_quarter_left_is_low_and_idle_or_ending_returns_all() {
        assert!(is_low(25, 100) && !is_low(26, 100) && is_low(0, 0));
        assert_eq!((to_return(7, IDLE_MS, 60_000), to_return(7, 0, END_MS), to_return(7, 0, 60_000)), (7, 7, 0));
    }

    #[test]
    fn few_requests_ask_for_tokens_and_many_for_a_share() {
        assert_eq!(want_second(3, 1, 10), (0, 1));
        assert_eq!(want_second(100, 1, 1_000), (120, 1));
        assert_eq!(want_second(6, 1, 1_000), (7, 1));
        assert_eq!(want_second(100, 50, 10), (10, 10));
    }

    #[test]
    fn slots_are_asked_for_with_a_half_to_spare_and_kept_only_while_needed() {
        assert_eq!(want_slots(0, 1, 0, 25), 1);
        assert_eq!(want_slots(10, 2, 12, 25), 6);
        assert_eq!(want_slots(20, 20, 20, 25), 5);
        assert_eq!((slots_to_keep(4, 20, 0), slots_to_keep(4, 20, SLOTS_IDLE_MS), slots_to_keep(4, 4, 0)), (7, 4, 4));
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
        assert!(clock_stepped(10_000, 11_001) && !clock_stepped(11_000, 10_000));
    }
}
