//! What the operations are given.

use clearway_config::{AccountId, WebhookId};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    super::{log::state, model::State},
    Measure, RATE_DEFAULT, RATE_MAX, REPLAY_DEFAULT, REPLAY_MAX,
};
use crate::http::{
    Fields, Form,
    fields::{self, list, number, parsed, yes_or_no},
    time::moment,
};

/// Characters of an event's type and of an object's id at most.
const TEXT_MAX: usize = 256;

/// A body without fields.
#[derive(Debug)]
pub(super) struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

/// Since when a webhook shall be sent again what did not reach it.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"since": "2026-11-20T00:00:00Z", "dry_run": true}))]
pub(super) struct RecoverForm {
    /// RFC 3339.
    #[schema(value_type = String)]
    pub(super) since: i64,
    /// Only tells how many there are; false when left out.
    #[schema(value_type = Option<bool>)]
    pub(super) dry_run: bool,
    /// Whether events are made up for that never became a delivery: from before it was made, or while it was off. True when
    /// left out.
    #[schema(value_type = Option<bool>)]
    pub(super) missed: bool,
    /// 1 to 10,000; 1,000 when left out.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    pub(super) max: u32,
    /// How many become due a second, 1 to 1,000; 50 when left out.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(super) per_second: u32,
}

impl Form for RecoverForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let since = fields.required("since", moment);
        let dry_run = fields.optional("dry_run", yes_or_no);
        let missed = fields.optional("missed", yes_or_no);
        let measure = measure(fields);
        let Measure { most: max, per_second } = measure?;
        Some(Self { since: since?, dry_run: dry_run?.unwrap_or(false), missed: missed?.unwrap_or(true), max, per_second })
    }
}

/// Which deliveries shall be made again.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"webhook_id": "wh_1QjvzY8L2d0ZB9oU4hXwVe", "from": "2026-11-20T00:00:00Z", "states": ["failed"]}))]
pub(super) struct ReplayForm {
    /// Only to this webhook.
    #[schema(value_type = Option<String>)]
    pub(super) webhook_id: Option<WebhookId>,
    /// Only of this type.
    #[schema(value_type = Option<String>)]
    pub(super) event_type: Option<String>,
    /// Only of events about this object.
    #[schema(value_type = Option<String>)]
    pub(super) object_id: Option<String>,
    /// Made at this RFC 3339 time or later.
    #[schema(value_type = String)]
    pub(super) from: i64,
    /// Made before this time; now when left out.
    #[schema(value_type = Option<String>)]
    pub(super) to: Option<i64>,
    /// `failed`, `cancelled` and `succeeded`; the first two when left out.
    #[schema(value_type = Option<Vec<String>>, max_items = 3)]
    pub(super) states: Vec<State>,
    /// Only tells how many there are; false when left out.
    #[schema(value_type = Option<bool>)]
    pub(super) dry_run: bool,
    /// 1 to 10,000; 1,000 when left out.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    pub(super) max: u32,
    /// How many become due a second, 1 to 1,000; 50 when left out.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(super) per_second: u32,
    /// Another account's deliveries; for admins.
    #[schema(value_type = Option<String>)]
    pub(super) account_id: Option<AccountId>,
}

impl Form for ReplayForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let webhook_id = fields.optional("webhook_id", parsed);
        let event_type = fields.optional("event_type", fields::text(TEXT_MAX));
        let object_id = fields.optional("object_id", fields::text(TEXT_MAX));
        let from = fields.required("from", moment);
        let to = fields.optional("to", moment);
        let finished = |value: &serde_json::Value| match state(value)? {
            State::Pending | State::Waiting => Err(("unknown", "must be one of succeeded, failed, cancelled".to_owned())),
            finished => Ok(finished),
        };
        let states = fields.optional("states", list(3, finished));
        let dry_run = fields.optional("dry_run", yes_or_no);
        let measure = measure(fields);
        let account_id = fields.optional("account_id", parsed);
        let Measure { most: max, per_second } = measure?;
        Some(Self {
            webhook_id: webhook_id?,
            event_type: event_type?,
            object_id: object_id?,
            from: from?,
            to: to?,
            states: states?.unwrap_or_else(|| vec![State::Failed, State::Cancelled]),
            dry_run: dry_run?.unwrap_or(false),
            max,
            per_second,
            account_id: account_id?,
        })
    }
}

fn measure(fields: &mut Fields) -> Option<Measure> {
    let most = fields.optional("max", number(1, REPLAY_MAX.into()));
    let per_second = fields.optional("per_second", number(1, RATE_MAX.into()));
    let narrow = |n: Option<u64>, default| n.map_or(default, |n| u32::try_from(n).unwrap_or(default));
    Some(Measure { most: narrow(most?, REPLAY_DEFAULT), per_second: narrow(per_second?, RATE_DEFAULT) })
}

/// With what a webhook is tried out.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"event_type": "product.created"}))]
pub(super) struct TestForm {
    /// A type of event; the first that the webhook wants when left out.
    #[schema(value_type = Option<String>)]
    pub(super) event_type: Option<String>,
    /// What the event says, an object of at most 64 KiB; the type's example when left out.
    #[schema(value_type = Option<Object>)]
    pub(super) data: Option<Box<RawValue>>,
}

impl Form for TestForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let event_type = fields.optional("event_type", fields::text(TEXT_MAX));
        let data = fields.optional("data", |value| {
            let object = value.as_object().ok_or(("format_invalid", "must be an object".to_owned()))?;
            serde_json::value::to_raw_value(object).map_err(|why| ("format_invalid", why.to_string()))
        });
        Some(Self { event_type: event_type?, data: data? })
    }
}
