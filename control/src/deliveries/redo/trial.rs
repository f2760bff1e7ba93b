//! A webhook is tried out: an event that is for it alone is posted at once, whatever else is due.

use std::time::Duration;

use clearway_config::{EventId, WebhookId};
use serde_json::{Value, value::RawValue};

use super::{
    super::log::{Delivery, find},
    store::{self, Trial},
};
use crate::{
    db::{self, Db, Signal},
    events,
    http::Api,
    webhooks::Webhook,
};

/// How long the answer waits for the attempt.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Wakes the fan-out.
const EVENTS: Signal = Signal("events");

#[derive(Debug)]
pub struct Tried {
    pub(super) event: EventId,
    pub(super) event_type: String,
    /// `None`: not attempted in time.
    pub(super) delivery: Option<Delivery>,
}

impl Tried {
    /// Whether anything was posted, or tried to be.
    pub fn attempted(&self) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| delivery.attempts > 0)
    }

    /// Of the receiver's answer, if there was one.
    pub fn status(&self) -> Option<i64> {
        self.delivery.as_ref().and_then(|delivery| delivery.last_status)
    }
}

/// What is posted: the type's example, unless data is given.
#[derive(Debug)]
pub struct Sample {
    pub event_type: String,
    pub data: Option<Box<RawValue>>,
}

/// Posts it, and waits for what becomes of that: 15 seconds at most.
pub async fn try_out(api: &Api, webhook: &Webhook, sample: Sample) -> db::Result<Tried> {
    let entry = events::find(&sample.event_type);
    let event_type = entry.map_or(sample.event_type, |entry| entry.name.to_owned());
    let data = sample.data.unwrap_or_else(|| {
        let example = entry.map_or_else(|| Value::Object(serde_json::Map::new()), |entry| (entry.example)());
        serde_json::value::to_raw_value(&example).expect("JSON is written as JSON")
    });
    let now_ms = api.world.now_ms();
    let id = api.world.id(EventId::new);
    let trial = Trial {
        id,
        account: webhook.account_id,
        webhook: webhook.id,
        version: entry.map_or(1, |entry| entry.version.into()),
        body: events::written(id, &event_type, now_ms, &data),
        event_type: event_type.clone(),
    };
    let mut tx = api.db.begin().await?;
    let sequence = store::insert_trial(&mut tx, trial, now_ms).await?;
    tx.announce(EVENTS);
    tx.commit().await?;
    let waited = tokio::time::timeout(PATIENCE, outcome(&api.db, webhook.id, sequence)).await;
    let delivery = waited.unwrap_or(Ok(None))?;
    Ok(Tried { event: id, event_type, delivery })
}

async fn outcome(db: &Db, webhook: WebhookId, sequence: i64) -> db::Result<Option<Delivery>> {
    loop {
        if let Some(id) = store::attempted(db, webhook, sequence).await? {
            return find(db, None, db::decode("deliveries.id", &id)?).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
