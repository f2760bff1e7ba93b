//! Attempts at webhooks that the snapshot holds.

use std::sync::Arc;

use clearway_config::{
    WebhookId,
    egress::v1::{self, Failure},
};

use super::Post;
use crate::{
    egress::{Message, Poster},
    gateway::now_ms,
    snapshot::Snapshot,
};

/// Finds the webhook, and posts to it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) poster: Poster,
}

impl Post for Held {
    async fn post(&self, attempt: v1::Attempt) -> v1::Result {
        let v1::Attempt { number, webhook_id, message_id, attempt, body, event_type } = attempt;
        // What is held may be out of date then: an address that has been changed, a secret that has been withdrawn.
        if !self.snapshot.lease().holds() {
            return unsent(number, "this proxy's auth lease has run out");
        }
        let Some(webhook) = WebhookId::from_slice(&webhook_id).and_then(|id| self.snapshot.webhook(&id)) else {
            return unsent(number, "this proxy does not hold the webhook");
        };
        let message = Message { id: message_id, attempt, event_type, body };
        self.poster.post(&webhook, message).await.into_result(number)
    }
}

fn unsent(number: u64, reason: &str) -> v1::Result {
    let failure = Failure::WebhookUnknown.into();
    v1::Result { number, started_at: now_ms(), failure, reason: reason.to_owned(), ..Default::default() }
}
