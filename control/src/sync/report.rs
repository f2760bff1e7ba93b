//! What a proxy says of itself with its heartbeats, as the database keeps it. For people: nothing is decided by it.

use clearway_config::sync::v1;
use serde::{Deserialize, Serialize};

/// What a proxy did when it was last heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub requests_per_second: f64,
    pub in_flight: u64,
    /// Processors in use, of the whole process.
    pub cpus: f64,
    /// Absent where quotas are counted by the proxy alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_store: Option<QuotaStore>,
}

/// How the store that quotas are shared by fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaStore {
    pub reached: bool,
    /// 0 while it is reached.
    pub lost_ms: u64,
    /// Requests admitted beyond limits meanwhile, at most.
    pub excess_max: u64,
}

impl Report {
    /// `None` for the text of a proxy that has said nothing, or of a version that says it otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn of(wire: &v1::Report) -> Self {
        let v1::Report { requests_per_second, in_flight, cpus, quota_store } = wire;
        let finite = |number: f64| if number.is_finite() { number.max(0.0) } else { 0.0 };
        Self {
            requests_per_second: finite(*requests_per_second),
            in_flight: *in_flight,
            cpus: finite(*cpus),
            quota_store: quota_store.map(|v1::QuotaStore { reached, lost_ms, excess_max }| QuotaStore {
                reached,
                lost_ms,
                excess_max,
            }),
        }
    }
}

pub(super) fn to_text(wire: &v1::Report) -> String {
    serde_json::to_string(&Report::of(wire)).unwrap_or_default()
}
