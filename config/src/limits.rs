//! What a plan or a key allows: requests per second, day and month, and requests at the same time.

use serde::{Deserialize, Serialize};

/// Greatest limit a second or a concurrency may carry; both are counted in 32 bits.
pub const PER_SECOND_MAX: u64 = 10_000_000;
/// Greatest limit a day or a month may carry.
pub const PER_DAY_MAX: u64 = 1_000_000_000_000_000;

/// `None` is unlimited. A limit of zero does not exist: suspend the account or revoke the key instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in any second: a sliding window over two adjacent UTC seconds.
    pub per_second: Option<u32>,
    /// Requests in a UTC date.
    pub per_day: Option<u64>,
    /// Requests in a UTC month.
    pub per_month: Option<u64>,
    /// Requests being served at the same time.
    pub concurrent: Option<u32>,
    /// Beyond `per_month` requests are billed, not refused.
    pub overage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be from 1 to {max}")]
pub struct OutOfBounds {
    pub field: &'static str,
    pub max: u64,
}

impl Limits {
    pub const UNLIMITED: Limits = Limits { per_second: None, per_day: None, per_month: None, concurrent: None, overage: false };

    pub fn new(
        per_second: Option<u64>,
        per_day: Option<u64>,
        per_month: Option<u64>,
        concurrent: Option<u64>,
        overage: bool,
    ) -> Result<Self, OutOfBounds> {
        let bounded = |field, value: Option<u64>, max| match value {
            Some(n) if n == 0 || n > max => Err(OutOfBounds { field, max }),
            other => Ok(other),
        };
        let narrow = |value: Option<u64>| value.map(|n| u32::try_from(n).expect("bounded below 2^32 above"));
        Ok(Self {
            per_second: narrow(bounded("per_second", per_second, PER_SECOND_MAX)?),
            per_day: bounded("per_day", per_day, PER_DAY_MAX)?,
            per_month: bounded("per_month", per_month, PER_DAY_MAX)?,
            concurrent: narrow(bounded("concurrent", concurrent, PER_SECOND_MAX)?),
            overage,
        })
    }

    pub fn is_unlimited(&self) -> bool {
        *self == Self { overage: self.overage, ..Self::UNLIMITED }
    }

    /// Whether a request can be refused by one of them: a month with overage refuses none.
    #[inline]
    pub fn can_refuse(&self) -> bool {
        self.per_second.is_some()
            || self.per_day.is_some()
            || (self.per_month.is_some() && !self.overage)
            || self.concurrent.is_some()
    }

    /// Limits that other limits of the same plan make unreachable, each as a sentence.
    pub fn unreachable(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let (Some(day), Some(month)) = (self.per_day, self.per_month)
            && day.saturating_mul(31) < month
        {
            found.push(format!("per_month = {month} can never be reached: 31 days of per_day = {day} are {}", day * 31));
        }
        if let (Some(second), Some(day)) = (self.per_second, self.per_day)
            && u64::from(second) * 86_400 < day
        {
            found.push(format!(
                "per_day = {day} can never be reached: 86,400 seconds of per_second = {second} are {}",
                u64::from(second) * 86_400
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_another_makes_unreachable_is_named() {
        let pro = Limits { per_second: Some(50), per_day: Some(100_000), per_month: Some(10_000_000), ..Limits::UNLIMITED };
        assert_eq!(pro.unreachable(), ["per_month = 10000000 can never be reached: 31 days of per_day = 100000 are 3100000"]);
        let starter = Limits { per_second: Some(10), per_day: Some(10_000), per_month: Some(100_000), ..Limits::UNLIMITED };
        assert!(starter.unreachable().is_empty());
    }

    #[test]
    fn zero_and_too_large_limits_are_refused_by_name() {
        assert_eq!(Limits::new(Some(0), None, None, None, false).unwrap_err().field, "per_second");
        assert_eq!(Limits::new(None, None, None, Some(PER_SECOND_MAX + 1), false).unwrap_err().field, "concurrent");
        assert!(Limits::new(Some(PER_SECOND_MAX), Some(PER_DAY_MAX), None, Some(1), true).is_ok());
    }
}
