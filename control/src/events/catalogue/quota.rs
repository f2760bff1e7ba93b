//! `quota.*`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Emission::Emitted, Time};

/// What a quota is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Month,
}

/// Whom a quota binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Account,
    Key,
}

events! {
    /// An account's or a key's requests of a day or a month (UTC) reached their limit. Sent once for each of them, when
    /// the gateways have reported it, which is within seconds.
    QuotaExceeded = "quota.exceeded" v 1; Emitted; of subject_id; {
        subject: Subject = Subject::Account,
        /// The account's or the key's id.
        subject_id: String = "acct_1QjvzY8L2d0ZB9oU4hXwVm".into(),
        period: Period = Period::Day,
        /// When the day or month began.
        period_start: Time = Time(1_795_132_800_000),
        /// Requests that it allows.
        limit: i64 = 10_000,
        /// Requests that were admitted when this was found.
        admitted: i64 = 10_000,
        /// Whether further requests are admitted and billed, instead of refused.
        overage: bool = false,
    }
}
