//! A moment, taken apart once into the windows it falls in. All of them are UTC: no time zone, no
//! daylight saving, and leap seconds are what the host's clock makes of them.

const DAY_MS: u64 = 86_400_000;

/// A moment and the windows it falls in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Seconds since 1970.
    pub second: u32,
    /// Milliseconds into the second.
    pub milli: u32,
    /// Days since 1970-01-01.
    pub day: u32,
    /// Year × 12 + month, January being 0.
    pub month: u32,
    /// Milliseconds of a clock of this machine that nobody sets, for leases; 0 where there are none.
    pub uptime_ms: u64,
}

impl Now {
    /// `ms` since 1970 UTC. What lies past the year 2106 is the last second that fits.
    pub fn at(ms: u64) -> Self {
        let ms = ms.min(u64::from(u32::MAX) * 1_000 + 999);
        let narrow = |n: u64| u32::try_from(n).expect("bounded by u32::MAX seconds above");
        let day = narrow(ms / DAY_MS);
        Self { ms, second: narrow(ms / 1_000), milli: narrow(ms % 1_000), day, month: month_of(day), uptime_ms: 0 }
    }

    /// The same moment, by the clock that leases end by.
    pub fn with_uptime(self, uptime_ms: u64) -> Self {
        Self { uptime_ms, ..self }
    }

    /// The same moment, counted in `day` if that is later: for a day that is closed already.
    pub fn not_before_day(self, day: u32) -> Self {
        Self { day: self.day.max(day), ..self }
    }
}

/// When a day begins, in milliseconds since 1970.
pub fn day_begins_ms(day: u32) -> u64 {
    u64::from(day) * DAY_MS
}

/// When a day ends, in milliseconds since 1970.
pub fn day_ends_ms(day: u32) -> u64 {
    (u64::from(day) + 1) * DAY_MS
}

/// When a month begins, in milliseconds since 1970.
pub fn month_begins_ms(month: u32) -> u64 {
    first_day_of(month) * DAY_MS
}

/// When a month ends, in milliseconds since 1970.
pub fn month_ends_ms(month: u32) -> u64 {
    first_day_of(month + 1) * DAY_MS
}

/// Seconds in a month: 28 to 31 days.
pub fn month_seconds(month: u32) -> u64 {
    (first_day_of(month + 1) - first_day_of(month)) * (DAY_MS / 1_000)
}

// Both conversions count years from 1 March of year 0, so that the leap day is the last of its year:
// the days before a month are then (153 × month + 2) / 5, and 400 years are always 146,097 days.
const DAYS_FROM_YEAR_0: u64 = 719_468;
const DAYS_IN_400_YEARS: u64 = 146_097;

fn month_of(day: u32) -> u32 {
    let day = u64::from(day) + DAYS_FROM_YEAR_0;
    let (era, of_era) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is 0; January and February, 10 and 11, belong to the calendar's next year.
    let month = (5 * of_year + 2) / 153;
    let months = (era * 400 + year_of_era) * 12 + month + 2;
    u32::try_from(months).expect("a u32 of days is fewer than 2^32 months")
}

/// Days since 1970 at which `month` begins; a month before 1970 begins at 0.
fn first_day_of(month: u32) -> u64 {
    let from_march = u64::from(month.saturating_sub(2));
    let (year, month) = (from_march / 12, from_march % 12);
    let (era, year_of_era) = (year / 400, year % 400);
    let of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5;
    (era * DAYS_IN_400_YEARS + of_era).saturating_sub(DAYS_FROM_YEAR_0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_five_centuries_falls_in_the_month_a_plain_calendar_says() {
        let leap = |y: u32| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let mut day = 0;
        for year in 1970..2470 {
            let february = if leap(year) { 29 } else { 28 };
            for (month0, days) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
                let month = year * 12 + u32::try_from(month0).unwrap();
                assert_eq!(first_day_of(month), u64::from(day));
                assert_eq!(month_seconds(month), days * 86_400);
                for _ in 0..days {
                    assert_eq!(month_of(day), month, "day {day}");
                    day += 1;
                }
                assert_eq!(month_ends_ms(month), day_ends_ms(day - 1));
            }
        }
    }

    #[test]
    fn a_moment_falls_in_the_windows_of_its_utc_date() {
        // 2024-02-29T23:59:59.999Z
        let now = Now::at(1_709_251_199_999);
        assert_eq!((now.second, now.milli, now.day, now.month), (1_709_251_199, 999, 19_782, 2024 * 12 + 1));
        assert_eq!(day_ends_ms(now.day), now.ms + 1);
        assert_eq!(month_ends_ms(now.month), now.ms + 1);
        assert_eq!(Now::at(now.ms + 1).month, now.month + 1);
    }

    #[test]
    fn no_moment_is_too_late_to_take_apart() {
        assert_eq!(Now::at(u64::MAX).second, u32::MAX);
    }
}
