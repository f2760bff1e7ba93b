//! Bounds that every number of an upstream's settings has.

use std::time::Duration;

use crate::settings::fault::Fault;

const DURATION_MIN: Duration = Duration::from_millis(1);
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const COUNT_MAX: u32 = 1_000_000;

pub(super) fn duration(key: &str, written: Option<Duration>, default: Duration) -> Result<Duration, Fault> {
    Ok(optional(key, written)?.unwrap_or(default))
}

pub(super) fn optional(key: &str, written: Option<Duration>) -> Result<Option<Duration>, Fault> {
    match written {
        Some(duration) if !(DURATION_MIN..=DURATION_MAX).contains(&duration) => Err(Fault::at(key, "must be from 1ms to 24h")),
        _ => Ok(written),
    }
}

pub(super) fn count(key: &str, written: Option<u32>, default: u32) -> Result<u32, Fault> {
    let count = written.unwrap_or(default);
    if (1..=COUNT_MAX).contains(&count) { Ok(count) } else { Err(Fault::at(key, format!("must be from 1 to {COUNT_MAX}"))) }
}

pub(super) fn percent(key: &str, written: Option<u8>, default: u8) -> Result<u8, Fault> {
    let percent = written.unwrap_or(default);
    if (1..=100).contains(&percent) { Ok(percent) } else { Err(Fault::at(key, "must be from 1 to 100")) }
}
