//! A delivery in memory, and the event that it brings.

use std::sync::Arc;

use axum::body::Bytes;
use clearway_config::{AccountId, DeliveryId, EventId, WebhookId, egress::v1};

use super::super::batch::{AttemptRow, Insert, Standing};

/// An event, as it is posted.
#[derive(Debug)]
pub(in super::super) struct Event {
    pub(in super::super) sequence: i64,
    pub(in super::super) id: EventId,
    pub(in super::super) account: AccountId,
    pub(in super::super) kind: String,
    pub(in super::super) object_id: Option<String>,
    pub(in super::super) body: Bytes,
    pub(in super::super) created_at: i64,
    /// Nobody else is told of it, and it is posted before anything else: the webhook is tried out.
    pub(in super::super) only_for: Option<WebhookId>,
}

/// A delivery that was claimed in the database.
#[derive(Debug)]
pub(in super::super) struct Claimed {
    pub(in super::super) id: DeliveryId,
    pub(in super::super) webhook: WebhookId,
    pub(in super::super) attempts: u32,
    pub(in super::super) schedule_start: u32,
    pub(in super::super) order_key: Option<String>,
    /// `None`: it is no longer kept.
    pub(in super::super) event: Option<Arc<Event>>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: DeliveryId,
    pub(super) webhook: WebhookId,
    pub(super) event: Arc<Event>,
    pub(super) order_key: Option<String>,
    pub(super) attempts: u32,
    pub(super) schedule_start: u32,
    /// When it came into memory.
    pub(super) since: i64,
    pub(super) stage: Stage,
    /// Whether it is in the database, or in a batch on its way there.
    pub(super) written: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    Queued,
    InFlight {
        began_at: i64,
    },
    /// Of one that is not written: what is to be written of it.
    Settled(Standing, Option<Box<AttemptRow>>),
}

/// A place among the deliveries that are not written yet, in the order of their events.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) sequence: i64,
    pub(super) since: i64,
    /// `None`: the event has no deliveries.
    pub(super) key: Option<u64>,
}

impl Job {
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled(..))
    }

    pub(super) fn insert(&self, now: Standing) -> Insert {
        Insert {
            id: self.id,
            account: self.event.account,
            webhook: self.webhook,
            sequence: self.event.sequence,
            event_type: self.event.kind.clone(),
            object_id: self.event.object_id.clone(),
            order_key: self.order_key.clone(),
            created_at: self.since,
            now,
        }
    }
}

pub(super) fn attempt(key: u64, job: &Job) -> v1::Attempt {
    v1::Attempt {
        number: key,
        webhook_id: job.webhook.to_vec(),
        message_id: job.event.id.to_string(),
        attempt: job.attempts + 1,
        body: job.event.body.clone(),
        event_type: job.event.kind.clone(),
    }
}
