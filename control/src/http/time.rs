//! Times on the wire: RFC 3339 in UTC with milliseconds; days as `2026-11-20`.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use super::fields::Wrong;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

pub fn rfc3339(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

/// A moment, at the latest the end of the year 9998.
pub fn moment(value: &Value) -> Result<i64, Wrong> {
    let wrong = || ("format_invalid", "must be an RFC 3339 time such as 2026-11-20T12:00:00Z".to_owned());
    let time: Timestamp = value.as_str().ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    Ok(time.as_millisecond())
}

/// A day, as the number of days since 1970.
pub fn day(value: &Value) -> Result<i64, Wrong> {
    let wrong = || ("format_invalid", "must be a day such as 2026-11-20".to_owned());
    let text = value.as_str().filter(|text| text.len() == 10).ok_or_else(wrong)?;
    let date: Date = text.parse().map_err(|_| wrong())?;
    let start = date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
    Ok(start.timestamp().as_millisecond().div_euclid(DAY_MS))
}

pub fn day_text(day: i64) -> String {
    rfc3339(day.saturating_mul(DAY_MS))[..10].to_owned()
}

/// The day that a moment is in.
pub fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// The first and the last day of the month that a day is in.
pub fn month_of(day: i64) -> (i64, i64) {
    let time = Timestamp::from_millisecond(day.saturating_mul(DAY_MS)).unwrap_or(Timestamp::MAX);
    let date = time.to_zoned(TimeZone::UTC).date();
    let first = day - (i64::from(date.day()) - 1);
    (first, first + i64::from(date.days_in_month()) - 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(rfc3339(1_795_132_800_123), "2026-11-20T00:00:00.123Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(&json!("2026-11-20T01:00:00.123+01:00")).unwrap(), 1_795_132_800_123);
        assert!(moment(&json!("2026-11-20")).is_err());
        assert!(moment(&json!(17)).is_err());
    }

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(day(&json!("1970-01-02")).unwrap(), 1);
        assert_eq!(day_text(day(&json!("2024-02-29")).unwrap()), "2024-02-29");
        assert!(day(&json!("2023-02-29")).is_err());
        assert!(day(&json!("2026-11-20T00:00:00")).is_err());
        assert_eq!(day_of(-1), -1);
        let days = |first: &str, last: &str| (day(&json!(first)).unwrap(), day(&json!(last)).unwrap());
        assert_eq!(month_of(day(&json!("2024-02-17")).unwrap()), days("2024-02-01", "2024-02-29"));
        assert_eq!(month_of(day(&json!("2026-12-31")).unwrap()), days("2026-12-01", "2026-12-31"));
    }
}
