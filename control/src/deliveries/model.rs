//! What becomes of a delivery after an attempt. Pure: time and chance are passed in.

use clearway_config::egress::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::webhooks::RetryPolicy;

/// A receiver may ask for no longer a pause than this.
const RETRY_AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Due now or later, or being attempted.
    Pending,
    /// Behind an earlier one of the same object.
    Waiting,
    /// The receiver took it.
    Succeeded,
    /// Every attempt of its schedule has failed.
    Failed,
    /// Not to be attempted: its webhook was disabled or deleted.
    Cancelled,
}

impl State {
    pub(super) const ALL: [State; 5] = [Self::Pending, Self::Waiting, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As in `deliveries.state` and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Succeeded,
    /// Failed; the next one is at this time.
    Retry(i64),
    /// Failed, and it was the last one.
    Exhausted,
    /// The receiver wants nothing ever again (410).
    Gone,
}

/// Judges the `nth` attempt (from 1) of a schedule. `random` is from 0 to 1. `None` where nothing was sent: the receiver is not
/// to blame, and no attempt is used up.
pub(super) fn judge(result: &v1::Result, policy: &RetryPolicy, nth: u32, now_ms: i64, random: f64) -> Option<Verdict> {
    let failure = result.failure();
    if is_unknown(result) || failure == v1::Failure::Overloaded {
        return None;
    }
    let status = result.status.filter(|_| failure == v1::Failure::Unspecified);
    match status {
        Some(200..=299) => return Some(Verdict::Succeeded),
        Some(410) => return Some(Verdict::Gone),
        _ => {}
    }
    let Some(delay) = policy.jittered_ms(nth, random) else { return Some(Verdict::Exhausted) };
    let delay = delay.max(asked_for(result).unwrap_or(0));
    Some(Verdict::Retry(now_ms.saturating_add_unsigned(delay)))
}

/// Whether the proxy knows nothing of the webhook, or not that anything may be posted to it.
pub(super) fn is_unknown(result: &v1::Result) -> bool {
    matches!(result.failure(), v1::Failure::WebhookUnknown | v1::Failure::WebhookInactive)
}

/// For how long the receiver asked to be left alone.
pub(super) fn asked_for(result: &v1::Result) -> Option<u64> {
    let busy = result.failure() == v1::Failure::Unspecified && matches!(result.status, Some(429 | 503));
    result.retry_after_ms.filter(|_| busy).map(|ms| ms.min(RETRY_AFTER_MS_MAX))
}

/// As in `attempts.failure` and on the wire; `None` where the receiver answered.
pub(super) fn failure_word(failure: v1::Failure) -> Option<&'static str> {
    Some(match failure {
        v1::Failure::Unspecified => return None,
        v1::Failure::WebhookUnknown => "webhook_unknown",
        v1::Failure::WebhookInactive => "webhook_inactive",
        v1::Failure::Dns => "dns",
        v1::Failure::AddressRefused => "address_refused",
        v1::Failure::Connect => "connect",
        v1::Failure::Tls => "tls",
        v1::Failure::ConnectTimeout => "connect_timeout",
        v1::Failure::FirstByteTimeout => "first_byte_timeout",
        v1::Failure::TotalTimeout => "total_timeout",
        v1::Failure::Broken => "broken",
        v1::Failure::Oauth => "oauth",
        v1::Failure::Overloaded => "overloaded",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u32) -> v1::Result {
        v1::Result { status: Some(status), ..v1::Result::default() }
    }

    fn failed(failure: v1::Failure) -> v1::Result {
        v1::Result { failure: failure.into(), ..v1::Result::default() }
    }

    fn judged(result: &v1::Result, nth: u32) -> Verdict {
        judge(result, &RetryPolicy::Fast, nth, 1_000_000, 0.0).expect("something was sent")
    }

    #[test]
    fn only_2xx_succeeds_and_a_redirect_fails() {
        for status in [200, 202, 204, 299] {
            assert_eq!(judged(&answered(status), 1), Verdict::Succeeded);
        }
        for status in [101, 301, 302, 308, 400, 404, 500, 503] {
            assert_eq!(judged(&answered(status), 1), Verdict::Retry(1_001_000), "{status}");
        }
        assert_eq!(judged(&answered(410), 1), Verdict::Gone);
    }

    #[test]
    fn an_answer_that_never_ended_is_none() {
        let cut = v1::Result { status: Some(200), ..failed(v1::Failure::TotalTimeout) };
        assert_eq!(judged(&cut, 1), Verdict::Retry(1_001_000));
    }

    #[test]
    fn the_schedule_is_followed_to_its_end() {
        let met: Vec<_> = (1..=5).map(|nth| judged(&failed(v1::Failure::Connect), nth)).collect();
        let at = |ms: i64| Verdict::Retry(1_000_000 + ms);
        assert_eq!(met, [at(1_000), at(2_000), at(4_000), at(8_000), Verdict::Exhausted]);
    }

    #[test]
    fn what_is_not_the_receivers_fault_uses_up_no_attempt() {
        for failure in [v1::Failure::WebhookUnknown, v1::Failure::WebhookInactive, v1::Failure::Overloaded] {
            assert_eq!(judge(&failed(failure), &RetryPolicy::Fast, 99, 0, 0.0), None);
        }
    }

    #[test]
    fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks_but_a_day_at_most() {
        let busy = |status, ms| v1::Result { retry_after_ms: Some(ms), ..answered(status) };
        assert_eq!(judged(&busy(429, 90_000), 1), Verdict::Retry(1_090_000));
        assert_eq!(judged(&busy(503, 10), 2), Verdict::Retry(1_002_000), "no sooner than the schedule");
        assert_eq!(judged(&busy(503, u64::MAX), 1), Verdict::Retry(1_000_000 + 86_400_000));
        assert_eq!(judged(&busy(500, 90_000), 1), Verdict::Retry(1_001_000), "only of 429 and 503");
        assert_eq!(judged(&busy(429, 90_000), 5), Verdict::Exhausted);
    }
}
