//! What a proxy says at `/status.json`, as far as it is shown. A field that is missing is nothing, so that
//! a proxy of another version can be watched too.

use serde::{Deserialize, Deserializer};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) version: Text,
    pub(crate) uptime_s: u64,
    pub(crate) unready: Option<Text>,
    pub(crate) snapshot: Snapshot,
    pub(crate) traffic: Traffic,
    pub(crate) routes: Vec<Route>,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) busiest: Busiest,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) connected: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Traffic {
    pub(crate) window_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) errors_per_s: f64,
    pub(crate) rejects_per_s: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) in_flight: u64,
    pub(crate) connections: u64,
    pub(crate) routes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Route {
    pub(crate) name: Text,
    pub(crate) requests_total: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) errors_per_s: f64,
    pub(crate) rejects_per_s: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p90_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) upstream_p99_ms: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Reject {
    pub(crate) code: Text,
    pub(crate) total: u64,
    pub(crate) per_s: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Busiest {
    pub(crate) keys: Vec<Busy>,
    pub(crate) accounts: Vec<Busy>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Busy {
    pub(crate) id: Text,
    pub(crate) today: u64,
    pub(crate) per_s: Option<f64>,
}

/// Text that is safe to write to a terminal: without control characters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()))
    }
}

/// Few digits: what is behind them changes faster than it can be read.
pub(crate) fn number(n: f64) -> String {
    match n {
        n if n >= 10_000_000.0 => format!("{:.1}M", n / 1_000_000.0),
        n if n >= 100_000.0 => format!("{:.0}k", n / 1_000.0),
        n if n >= 100.0 || n == 0.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

pub(crate) fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "-".into(),
        Some(ms) if ms >= 1_000.0 => format!("{:.1} s", ms / 1_000.0),
        Some(ms) => format!("{} ms", number(ms)),
    }
}

/// The part of a route's requests, in percent.
pub(crate) fn part(of: f64, all: f64) -> String {
    if all > 0.0 { format!("{:.1} %", 100.0 * of / all) } else { "-".into() }
}

pub(crate) fn uptime(s: u64) -> String {
    let (days, hours, minutes) = (s / 86_400, s / 3_600 % 24, s / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

impl Status {
    /// In a few words, and whether all is well.
    pub(crate) fn state(&self) -> (&str, bool) {
        match (&self.unready, self.snapshot.connected) {
            (Some(why), _) => (why.as_str(), false),
            (None, Some(false)) => ("serving without its control plane", false),
            (None, _) => ("serving", true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_another_version_can_be_watched_and_cannot_write_to_the_terminal() {
        let json = r#"{"version": "9\u001b[2J", "new": [1], "traffic": {"requests_per_s": 2.5, "p99_ms": null}}"#;
        let status: Status = serde_json::from_str(json).unwrap();
        assert_eq!(status.version.as_str(), "9\u{fffd}[2J");
        assert_eq!((status.traffic.requests_per_s, status.traffic.p99_ms, status.state()), (2.5, None, ("serving", true)));
    }

    #[test]
    fn numbers_are_short() {
        let of = [0.0, 0.123, 12.34, 1_234.5, 123_456.0, 12_345_678.0].map(number);
        assert_eq!(of, ["0", "0.12", "12.3", "1234", "123k", "12.3M"]);
        assert_eq!([millis(None), millis(Some(1.5)), millis(Some(2_500.0))], ["-", "1.50 ms", "2.5 s"]);
        assert_eq!([uptime(5), uptime(300), uptime(7_300), uptime(90_000)], ["5 s", "5 min", "2 h 1 min", "1 d 1 h"]);
        assert_eq!([part(1.0, 0.0), part(1.0, 8.0)], ["-", "12.5 %"]);
    }
}
