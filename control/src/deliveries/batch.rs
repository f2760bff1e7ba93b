//! What one transaction of the dispatcher writes. Each row serializes as it is bound: names are short, because they are
//! repeated in every row.

use std::collections::{HashMap, HashSet};

use clearway_config::{AccountId, DeliveryId, WebhookId, egress::v1};
use serde::{Serialize, Serializer};

use super::model::{State, failure_word};

/// The reason of an attempt of which nothing more could be kept.
const NOT_STORED: &str = "what was sent and answered could not be stored";

/// In the order in which it is written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Every event up to this sequence has its deliveries in this or an earlier batch.
    pub(super) fanned_out: Option<i64>,
    pub(super) inserts: Vec<Insert>,
    pub(super) updates: Vec<Update>,
    pub(super) attempts: Vec<AttemptRow>,
    /// Objects of which the first delivery that waits may become due.
    pub(super) promote: Vec<Promotion>,
    /// When the first of a webhook's deliveries in this batch is due.
    pub(super) due: HashMap<WebhookId, i64>,
    pub(super) failing: HashMap<WebhookId, Failing>,
    /// Webhooks whose unfinished deliveries are cancelled, those due before a moment.
    pub(super) cancel: Vec<Cancel>,
    /// Webhooks of which at most so many due deliveries are claimed.
    pub(super) claims: Vec<(WebhookId, usize)>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.fanned_out.is_none()
            && self.inserts.is_empty()
            && self.updates.is_empty()
            && self.attempts.is_empty()
            && self.promote.is_empty()
            && self.due.is_empty()
            && self.failing.is_empty()
            && self.cancel.is_empty()
            && self.claims.is_empty()
    }

    /// Objects of which the first delivery that waits may become due: also when this is only a part of a batch.
    pub(super) fn promotions(&self) -> Vec<Promotion> {
        let waiting = self.inserts.iter().filter(|insert| insert.now.state != State::Pending);
        let waiting = waiting.map(|insert| (insert.webhook, &insert.order_key));
        let ended = self.updates.iter().filter(|update| update.now.completed_at.is_some());
        let ended = ended.map(|update| (update.webhook, &update.order_key));
        let of_rows = waiting.chain(ended).filter_map(|(webhook, order_key)| {
            let order_key = order_key.clone()?;
            Some(Promotion { webhook, order_key })
        });
        let all: HashSet<Promotion> = of_rows.chain(self.promote.iter().cloned()).collect();
        all.into_iter().collect()
    }

    pub(super) fn note_due(&mut self, webhook: WebhookId, at: i64) {
        let due = self.due.entry(webhook).or_insert(at);
        *due = at.min(*due);
    }
}

/// A delivery that is not in the database yet.
#[derive(Debug, Serialize)]
pub(super) struct Insert {
    pub(super) id: DeliveryId,
    #[serde(rename = "a")]
    pub(super) account: AccountId,
    #[serde(rename = "w")]
    pub(super) webhook: WebhookId,
    #[serde(rename = "s")]
    pub(super) sequence: i64,
    #[serde(rename = "t")]
    pub(super) event_type: String,
    #[serde(rename = "o")]
    pub(super) object_id: Option<String>,
    #[serde(rename = "k")]
    pub(super) order_key: Option<String>,
    #[serde(rename = "m")]
    pub(super) created_at: i64,
    #[serde(flatten)]
    pub(super) now: Standing,
}

/// A delivery that is, and has come further.
#[derive(Debug, Serialize)]
pub(super) struct Update {
    pub(super) id: DeliveryId,
    #[serde(skip)]
    pub(super) webhook: WebhookId,
    /// What waits behind it, if anything does.
    #[serde(skip)]
    pub(super) order_key: Option<String>,
    #[serde(flatten)]
    pub(super) now: Standing,
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    #[serde(rename = "st", serialize_with = "word")]
    pub(super) state: State,
    #[serde(rename = "d")]
    pub(super) due_at: Option<i64>,
    #[serde(rename = "c")]
    pub(super) claimed: bool,
    #[serde(rename = "n")]
    pub(super) attempts: u32,
    #[serde(rename = "ls")]
    pub(super) last_status: Option<u32>,
    #[serde(rename = "lf")]
    pub(super) last_failure: Option<&'static str>,
    #[serde(rename = "e")]
    pub(super) completed_at: Option<i64>,
}

fn word<S: Serializer>(state: &State, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(state.as_str())
}

#[derive(Debug, Serialize)]
pub(super) struct AttemptRow {
    pub(super) id: DeliveryId,
    #[serde(rename = "n")]
    number: u32,
    #[serde(rename = "b")]
    started_at: i64,
    #[serde(rename = "u")]
    duration_us: i64,
    #[serde(rename = "ls")]
    status: Option<u32>,
    #[serde(rename = "lf")]
    failure: Option<&'static str>,
    #[serde(rename = "y")]
    reason: Option<String>,
    #[serde(rename = "p")]
    address: Option<String>,
    /// `name: value`, one a line.
    #[serde(rename = "qh")]
    request_headers: String,
    #[serde(rename = "rh")]
    response_headers: String,
    #[serde(rename = "rb")]
    response_body: String,
    #[serde(rename = "rc")]
    response_body_cut: bool,
    #[serde(rename = "x")]
    next_attempt_at: Option<i64>,
}

impl AttemptRow {
    pub(super) fn new(id: DeliveryId, number: u32, result: v1::Result, next_attempt_at: Option<i64>) -> Self {
        let failure = failure_word(result.failure());
        Self {
            id,
            number,
            started_at: i64::try_from(result.started_at).unwrap_or(i64::MAX),
            duration_us: i64::try_from(result.duration_us).unwrap_or(i64::MAX),
            status: result.status,
            failure,
            reason: Some(result.reason).filter(|reason| !reason.is_empty()).map(storable),
            address: address(&result.address),
            request_headers: lines(&result.request_headers),
            response_headers: lines(&result.response_headers),
            response_body: storable(result.response_body),
            response_body_cut: result.response_body_cut,
            next_attempt_at,
        }
    }

    /// Without anything that a stranger has said, for where that cannot be stored.
    pub(super) fn strip(&mut self) {
        self.reason = Some(NOT_STORED.to_owned());
        self.address = None;
        self.request_headers.clear();
        self.response_headers.clear();
        self.response_body.clear();
        self.response_body_cut = true;
    }

    pub(super) fn is_stripped(&self) -> bool {
        self.reason.as_deref() == Some(NOT_STORED)
    }

    /// About how many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        512 + self.request_headers.len() + self.response_headers.len() + self.response_body.len()
    }
}

/// PostgreSQL stores no NUL.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// As HTTP/1.1 writes them: neither a name nor a value holds a line's end.
fn lines(headers: &[clearway_config::sync::v1::Header]) -> String {
    let mut lines = String::with_capacity(headers.iter().map(|header| header.name.len() + header.value.len() + 3).sum());
    for header in headers {
        let value = header.value.replace(['\0', '\r', '\n'], " ");
        lines.extend([header.name.as_str(), ": ", &value, "\n"]);
    }
    lines
}

fn address(bytes: &[u8]) -> Option<String> {
    use std::net::IpAddr;
    let address = <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
    Some(address.to_string())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Promotion {
    #[serde(rename = "w")]
    pub(super) webhook: WebhookId,
    #[serde(rename = "k")]
    pub(super) order_key: String,
}

/// What has been learned of a webhook's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    Since(i64),
    NoLonger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cancel {
    pub(super) webhook: WebhookId,
    pub(super) due_before: i64,
    pub(super) why: &'static str,
    /// When to look again for what is left.
    pub(super) again_at: Option<i64>,
}
