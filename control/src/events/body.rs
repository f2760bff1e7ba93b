//! What is posted of an event, byte for byte (`{"id":…,"type":…,"timestamp":…,"data":…}`), as Standard Webhooks has it.

use clearway_config::EventId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::time::rfc3339;

#[derive(Serialize)]
struct Written<'a> {
    id: EventId,
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    data: &'a RawValue,
}

/// Members in this order; `data` as it came.
pub fn written(id: EventId, kind: &str, now_ms: i64, data: &RawValue) -> String {
    let body = Written { id, kind, timestamp: rfc3339(now_ms), data };
    serde_json::to_string(&body).expect("text and JSON that has been read")
}

/// What is within a body that was [`written`].
#[derive(Debug, Deserialize)]
pub(super) struct Data<'a> {
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}
