//! [`super::decide`] in a fleet: by the plan's limits, and within what the store has granted to this node.

use clearway_config::Limits;

use super::{
    CONCURRENT_RETRY_MS, Now, Refusal, Refused, Standing, Subject, Window, Windows, day_ends_ms,
    holding::{Holding, Room},
    month_ends_ms, refused,
    standing::LeftOfSubject,
};

/// A request that is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    pub standing: Standing,
    /// Little is left of a grant: more is to be asked for, in the background.
    pub low: bool,
}

/// A request that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// A limit of the plan or the key is met.
    Refused(Box<Refused>),
    /// No limit is met, as far as is known here, and what this node was granted is spent: the store may have more.
    /// What the answer is where it has not.
    Short(Box<Refused>),
}

/// Counts one request in every window of its account and its key, or in none.
///
/// As [`super::decide`], with what is left of each limit as far as it is known here: what is unspent of the
/// grant, and what no node had been granted when the store was last asked. `valid` as in [`Holding::room`].
#[inline]
pub fn decide_leased(
    now: &Now,
    valid: bool,
    (account, account_limits, account_holding): (&mut Windows, &Limits, &Holding),
    (key, key_limits, key_holding): (&mut Windows, &Limits, &Holding),
) -> Result<Leased, Withheld> {
    account.roll(now);
    key.roll(now);
    let mut standing = Standing {
        now_ms: now.ms,
        account: account.left(now, account_limits, Subject::Account),
        key: key.left(now, key_limits, Subject::Key),
    };
    if standing.account.refuses() || standing.key.refuses() {
        return Err(Withheld::Refused(refused(now, standing, account, key)));
    }
    let rooms = [account_holding.room(now, account, account_limits, valid), key_holding.room(now, key, key_limits, valid)];
    standing.account.within(now, &rooms[0], account_holding, account);
    standing.key.within(now, &rooms[1], key_holding, key);
    if rooms[0].is_short() || rooms[1].is_short() {
        return Err(Withheld::Short(short(now, standing, &rooms, account, key)));
    }
    let low = account_holding.is_low(now, account, &rooms[0]) || key_holding.is_low(now, key, &rooms[1]);
    account.count(now);
    key.count(now);
    standing.account.charge();
    standing.key.charge();
    Ok(Leased { standing, low })
}

impl LeftOfSubject {
    /// Shows no more than is known to be left.
    #[inline]
    fn within(&mut self, now: &Now, room: &Room, holding: &Holding, windows: &Windows) {
        let beyond = |is_its: bool, beyond: u64| if is_its { beyond } else { 0 };
        let narrow = |room: u64| u32::try_from(room).unwrap_or(u32::MAX);
        let is_this_second = holding.second == windows.second || holding.has_share(now);
        let second = room.second.saturating_add(beyond(is_this_second, u64::from(holding.second_beyond)));
        self.second.remaining = self.second.remaining.min(narrow(second));
        self.concurrent.remaining = self.concurrent.remaining.min(narrow(room.concurrent));
        let day = room.day.saturating_add(beyond(holding.day == windows.day, holding.day_beyond));
        self.day.remaining = self.day.remaining.min(day);
        let month = room.month.saturating_add(beyond(holding.month == windows.month, holding.month_beyond));
        self.month.remaining = self.month.remaining.min(month);
    }
}

/// The refusal that it is where the store has nothing more: of the limit that is short for longest.
#[cold]
fn short(now: &Now, mut standing: Standing, rooms: &[Room; 2], account: &Windows, key: &Windows) -> Box<Refused> {
    let mut longest: Option<Refusal> = None;
    for (left, room, windows) in [(&mut standing.account, &rooms[0], account), (&mut standing.key, &rooms[1], key)] {
        let subject = left.subject;
        let mut met = |window, limit: u64, retry_after_ms: u64| {
            if longest.is_none_or(|longest| retry_after_ms > longest.retry_after_ms) {
                longest = Some(Refusal { subject, window, limit, retry_after_ms });
            }
        };
        if room.second == 0 {
            left.second.remaining = 0;
            let ends_ms = (u64::from(windows.second) + 1) * 1_000;
            met(Window::Second, u64::from(left.second.limit), ends_ms.saturating_sub(now.ms).max(1));
        }
        if room.day == 0 {
            left.day.remaining = 0;
            met(Window::Day, left.day.limit, day_ends_ms(windows.day).saturating_sub(now.ms).max(1));
        }
        if room.month == 0 {
            left.month.remaining = 0;
            met(Window::Month, left.month.limit, month_ends_ms(windows.month).saturating_sub(now.ms).max(1));
        }
        if room.concurrent == 0 {
            left.concurrent.remaining = 0;
            met(Window::Concurrent, u64::from(left.concurrent.limit), CONCURRENT_RETRY_MS);
        }
    }
    Box::new(Refused { refusal: longest.expect("called where one is short"), standing })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quota::decide;

    const NOON_MS: u64 = 1_770_724_800_000;

    fn at(ms: u64) -> Now {
        Now::at(NOON_MS + ms).with_uptime(1_000 + ms)
    }

    /// So many of the day and the month, a share and slots; all of now.
    fn holding(day: u64, month: u64, share: u32, slots: u32) -> Holding {
        let now = at(0);
        Holding {
            day: now.day,
            month: now.month,
            day_granted: day,
            month_granted: month,
            share,
            share_until_ms: 3_000,
            slots,
            slots_until_ms: 11_000,
            ..Holding::default()
        }
    }

    fn ask(ms: u64, windows: &mut Windows, limits: &Limits, holding: &Holding, valid: bool) -> Result<Leased, Withheld> {
        let nobody = (&mut Windows::default(), &Limits::UNLIMITED, &Holding::default());
        decide_leased(&at(ms), valid, (windows, limits, holding), nobody)
    }

    proptest! {
        #[test]
        fn a_node_that_holds_everything_decides_as_one_that_is_alone(
            limits in (1..9_u64, 1..9_u64, 1..9_u64, 1..9_u64),
            passes in proptest::collection::vec(0..700_u64, 1..40),
        ) {
            let limits = Limits::new(Some(limits.0), Some(limits.1), Some(limits.2), Some(limits.3), false).unwrap();
            let all = Holding { share_until_ms: u64::MAX >> 24, slots_until_ms: u64::MAX >> 24, ..holding(9, 9, 9, 9) };
            let (mut leased, mut alone, mut ms) = (Windows::default(), Windows::default(), 0);
            for pass in passes {
                ms += pass;
                let decided = ask(ms, &mut leased, &limits, &all, true);
                let wanted = decide(&at(ms), (&mut alone, &limits), (&mut Windows::default(), &Limits::UNLIMITED));
                prop_assert_eq!(decided.map(|leased| leased.standing).ok(), wanted.ok());
                prop_assert_eq!(leased, alone);
            }
        }

        #[test]
        fn a_holding_survives_its_words(words: [u64; crate::quota::HOLDING_WORDS]) {
            let holding = Holding::from_words(words);
            prop_assert_eq!(Holding::from_words(holding.to_words()), holding);
        }
    }

    #[test]
    fn no_more_is_admitted_than_is_held_and_being_short_costs_nothing() {
        let limits = Limits::new(Some(100), Some(100), Some(100), Some(100), false).unwrap();
        for (holding, window) in [
            (holding(3, 9, 9, 9), Window::Day),
            (holding(9, 3, 9, 9), Window::Month),
            (holding(9, 9, 3, 9), Window::Second),
            (holding(9, 9, 9, 3), Window::Concurrent),
        ] {
            let mut windows = Windows::default();
            for _ in 0..3 {
                ask(0, &mut windows, &limits, &holding, true).unwrap();
            }
            let before = windows;
            let Err(Withheld::Short(refused)) = ask(0, &mut windows, &limits, &holding, true) else { panic!("{window:?}") };
            assert_eq!((refused.refusal.window, refused.refusal.limit, windows), (window, 100, before));
            assert!(refused.standing.iter().any(|left| left.window == window && left.remaining == 0));
        }
    }

    #[test]
    fn tokens_are_of_their_second_and_leases_end() {
        let limits = Limits { per_second: Some(50), ..Limits::UNLIMITED };
        let tokens = Holding { second: at(0).second, second_granted: 2, second_beyond: 40, ..Holding::default() };
        let mut windows = Windows::default();
        let left = ask(0, &mut windows, &limits, &tokens, true).unwrap().standing.iter().next().unwrap().remaining;
        assert_eq!(left, 41, "what is known to be left elsewhere is told");
        assert!(ask(500, &mut windows, &limits, &tokens, true).is_ok());
        assert!(ask(999, &mut windows, &limits, &tokens, true).is_err());
        assert!(ask(1_000, &mut windows, &limits, &tokens, true).is_err());
        let share = holding(0, 0, 5, 0);
        assert!(ask(1_999, &mut windows, &limits, &share, true).is_ok());
        assert!(ask(2_000, &mut windows, &limits, &share, true).is_err(), "it has ended");
    }

    #[test]
    fn what_was_granted_lapses_and_what_was_taken_without_the_store_does_not() {
        let limits = Limits { per_day: Some(50), ..Limits::UNLIMITED };
        let granted = holding(5, 0, 0, 0);
        let mut windows = Windows::default();
        assert!(matches!(ask(0, &mut windows, &limits, &granted, false), Err(Withheld::Short(_))));
        assert!(ask(0, &mut windows, &limits, &Holding { day_debt: true, ..granted }, false).is_ok());
    }

    #[test]
    fn little_left_is_noticed_while_the_store_has_some_and_only_then() {
        let limits = Limits { per_day: Some(1_000), ..Limits::UNLIMITED };
        let mut windows = Windows { second: at(0).second, second_before: 20, day: at(0).day, ..Windows::default() };
        let held = |granted, beyond| Holding { day_beyond: beyond, ..holding(granted, 0, 0, 0) };
        assert!(!ask(0, &mut windows, &limits, &held(40, 100), true).unwrap().low);
        assert!(ask(0, &mut windows, &limits, &held(12, 100), true).unwrap().low);
        assert!(!ask(0, &mut windows, &limits, &held(12, 0), true).unwrap().low);
    }

    #[test]
    fn a_line_is_bare_before_another_window_stands_in_it() {
        let before = Holding { day_beyond: 7, day_debt: true, second: 5, second_granted: 3, ..holding(40, 60, 1, 1) };
        let after = Holding { day: before.day + 1, day_granted: 9, ..before };
        let bare = before.bared_for(&after).unwrap();
        assert_eq!((bare.day, bare.day_granted, bare.day_beyond, bare.day_debt), (before.day, 0, 0, false));
        assert_eq!((bare.month_granted, bare.second_granted), (60, 3));
        assert_eq!(before.bared_for(&Holding { day_granted: 41, ..before }), None);
    }
}
