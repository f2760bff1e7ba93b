//! What is done about an upstream that fails: targets ejected, a breaker opened, requests tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{bounds, statuses::Statuses};
use crate::settings::fault::Fault;

/// Further attempts of one request at most.
pub const RETRIES_MAX: u32 = 5;

/// Ejection of targets that keep failing, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OutliersSpec {
    /// Failures in a row that eject a target; 5 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Answers that are failures, beside connections that cannot be made, break or time out; `5xx` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>, example = json!(["500-599"])))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Statuses>,
    /// How long it is left out; `30s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "30s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub eject_for: Option<Duration>,
    /// Of the targets, so many are left out at the same time at most; 50 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_max_percent: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outliers {
    pub failures: u32,
    pub statuses: Statuses,
    pub eject_for: Duration,
    /// 1 to 100.
    pub ejected_max_percent: u8,
}

/// A circuit breaker as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BreakerSpec {
    /// Of the requests within `window`, so many failed: the breaker opens; 50 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_percent: Option<u8>,
    /// How far back requests are counted; `10s` unless said, `1s` at least.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "10s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// It does not open on fewer requests than these; 20 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_min: Option<u32>,
    /// How long it refuses before it lets probes through; `5s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "5s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Duration>,
    /// So many requests pass while it is half open; it closes when all of them have succeeded; 3 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// Answers that are failures, beside connections that cannot be made, break or time out; `5xx` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>, example = json!(["500-599"])))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Statuses>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// 1 to 100.
    pub failures_percent: u8,
    /// At least a second.
    pub window: Duration,
    pub requests_min: u32,
    pub open_for: Duration,
    pub probes: u32,
    pub statuses: Statuses,
}

/// Further attempts as they are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetriesSpec {
    /// Further attempts after the first; 2 unless said, 0 is never, 5 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Of the requests, so many may be tried again; 20 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<u8>,
    /// Answers after which an idempotent request is tried again; none unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>, example = json!(["502-504"])))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Statuses>,
    /// To the head of an answer, before another target is tried; `read_timeout` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "2s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// After the first; [`RETRIES_MAX`] at most.
    pub attempts: u32,
    /// 1 to 100.
    pub budget_percent: u8,
    /// All are errors: 400 and above.
    pub statuses: Statuses,
    pub per_try_timeout: Option<Duration>,
}

impl OutliersSpec {
    pub(super) fn resolve(&self) -> Result<Outliers, Fault> {
        Ok(Outliers {
            failures: bounds::count("failures", self.failures, 5)?,
            statuses: self.statuses.unwrap_or_else(server_errors),
            eject_for: bounds::duration("eject_for", self.eject_for, Duration::from_secs(30))?,
            ejected_max_percent: bounds::percent("ejected_max_percent", self.ejected_max_percent, 50)?,
        })
    }
}

impl BreakerSpec {
    pub(super) fn resolve(&self) -> Result<Breaker, Fault> {
        let window = bounds::duration("window", self.window, Duration::from_secs(10))?;
        if window < Duration::from_secs(1) {
            return Err(Fault::at("window", "must be a second at least"));
        }
        Ok(Breaker {
            failures_percent: bounds::percent("failures_percent", self.failures_percent, 50)?,
            window,
            requests_min: bounds::count("requests_min", self.requests_min, 20)?,
            open_for: bounds::duration("open_for", self.open_for, Duration::from_secs(5))?,
            probes: bounds::count("probes", self.probes, 3)?,
            statuses: self.statuses.unwrap_or_else(server_errors),
        })
    }
}

impl RetriesSpec {
    pub(super) fn resolve(&self) -> Result<Retries, Fault> {
        let attempts = self.attempts.unwrap_or(2);
        if attempts > RETRIES_MAX {
            return Err(Fault::at("attempts", format!("must be {RETRIES_MAX} at most")));
        }
        let statuses = self.statuses.unwrap_or_default();
        if (100..400).any(|status| statuses.contains(status)) {
            return Err(Fault::at("statuses", "must be errors: 400 and above"));
        }
        Ok(Retries {
            attempts,
            budget_percent: bounds::percent("budget_percent", self.budget_percent, 20)?,
            statuses,
            per_try_timeout: bounds::optional("per_try_timeout", self.per_try_timeout)?,
        })
    }
}

fn server_errors() -> Statuses {
    Statuses::of(500..=599)
}
