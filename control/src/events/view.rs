//! Events and their types on the wire.

use clearway_config::{AccountId, EventId};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    body,
    catalogue::{Emission, Entry},
    intake::Accepted,
    store::Row,
    types::Registered,
};
use crate::{db, http::time::rfc3339};

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "evt_1QjvzY8L2d0ZB9oU4hXwVd", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "type": "key.revoked", "version": 1,
    "object_id": "key_1QjvzY8L2d0ZB9oU4hXwVn", "timestamp": "2026-11-20T12:00:00.000Z", "cursor": "1024",
    "data": {"key_id": "key_1QjvzY8L2d0ZB9oU4hXwVn", "name": "ci", "environment": "live", "scopes": ["read:apps"], "expires_at": null,
             "revoked_at": "2026-11-20T12:00:00.000Z"}
}))]
pub(super) struct EventView {
    /// Receivers see it as `webhook-id`.
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    account_id: AccountId,
    #[serde(rename = "type")]
    kind: String,
    /// Of its type.
    version: i64,
    /// What it is about: events of one object can be delivered in order.
    object_id: Option<String>,
    /// RFC 3339 in UTC.
    timestamp: String,
    /// Asking for what is `after` this goes on behind the event.
    cursor: String,
    /// As it is posted.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

impl EventView {
    pub(super) fn of(row: Row) -> db::Result<Self> {
        let posted: body::Data<'_> =
            serde_json::from_str(&row.body).map_err(|why| db::undecodable("events.body", &why.to_string()))?;
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            data: posted.data.to_owned(),
            kind: row.kind,
            version: row.version,
            object_id: row.object_id,
            timestamp: rfc3339(row.created_at),
            cursor: row.sequence.to_string(),
        })
    }
}

/// A part of the feed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedView {
    /// In the order in which they were committed.
    pub(super) items: Vec<EventView>,
    /// Ask for what is `after` this the next time; there even when nothing more has happened.
    pub(super) next_cursor: String,
    /// Whether more is there already.
    pub(super) has_more: bool,
}

/// An event that has been accepted, and will be delivered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "evt_1QjvzY8L2d0ZB9oU4hXwVd", "type": "order.shipped", "replayed": false}))]
pub(super) struct AcceptedView {
    #[schema(value_type = String)]
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    /// Whether it was accepted before, with the same idempotency key.
    replayed: bool,
}

impl AcceptedView {
    pub(super) fn of(accepted: Accepted, kind: &str) -> Self {
        Self { id: accepted.id, kind: kind.to_owned(), replayed: accepted.replayed }
    }
}

/// What was accepted: one where one was sent, a list where a list was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum AcceptedAnswer {
    One(AcceptedView),
    Many { items: Vec<AcceptedView> },
}

/// A type of event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TypeView {
    pub(super) name: String,
    /// Counted up when what the data holds changes in a way that a receiver may notice.
    version: i64,
    /// When it happens.
    description: String,
    /// `clearway`, or `operator` for one that was registered here.
    source: &'static str,
    /// Whether such events happen: false for those that wait for a part of Clearway that is not built yet.
    emitted: bool,
    /// What those wait for.
    waits_for: Option<&'static str>,
    /// Older names, understood wherever a type is named.
    aliases: Vec<&'static str>,
    /// JSON Schema (draft 2020-12) of its data.
    #[schema(value_type = Object)]
    schema: Value,
    /// Of its data; null for an operator's.
    #[schema(value_type = Option<Object>)]
    example: Option<Value>,
    /// Null for Clearway's own.
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl From<&Entry> for TypeView {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name.to_owned(),
            version: entry.version.into(),
            description: entry.description.to_owned(),
            source: "clearway",
            emitted: entry.emission == Emission::Emitted,
            waits_for: match entry.emission {
                Emission::Emitted => None,
                Emission::Waiting(what) => Some(what),
            },
            aliases: entry.aliases.to_vec(),
            schema: (entry.schema)(),
            example: Some((entry.example)()),
            created_at: None,
            updated_at: None,
        }
    }
}

impl From<Registered> for TypeView {
    fn from(registered: Registered) -> Self {
        Self {
            name: registered.name,
            version: registered.version,
            description: registered.description,
            source: "operator",
            emitted: true,
            waits_for: None,
            aliases: Vec::new(),
            schema: registered.schema,
            example: None,
            created_at: Some(rfc3339(registered.created_at)),
            updated_at: Some(rfc3339(registered.updated_at)),
        }
    }
}
