//! What is done about a webhook because of how its deliveries fare: it is warned of, disabled, or found well again. Each is
//! an entry of the audit log, an event and a mail, in one transaction; the event is for the account's other webhooks.

use clearway_config::WebhookId;

use super::{
    board::{Act, DISABLE_MS},
    store,
};
use crate::{
    audit::{self, Actor, Changes},
    db::{self, Db, Tx},
    events::{
        self, Endpoint, NewEvent, Time,
        webhook::{WebhookEndpointDisabled, WebhookEndpointFailing, WebhookEndpointRecovered},
    },
    http::{chain, time::rfc3339},
    mail::{Mail, Outbox},
    webhooks::{self, DisabledReason, Webhook},
    world::World,
};

/// Which of them have been done.
pub(super) async fn act_all(db: Db, world: World, outbox: Outbox, acts: Vec<(WebhookId, Act)>) -> Vec<(WebhookId, Act, bool)> {
    let mut outcomes = Vec::with_capacity(acts.len());
    for (webhook, act) in acts {
        let done = act_on(&db, &world, &outbox, webhook, act).await;
        if let Err(error) = &done {
            tracing::warn!(webhook.id = %webhook, error.cause = chain(error), "a webhook's health could not be noted");
        }
        outcomes.push((webhook, act, done.is_ok()));
    }
    outcomes
}

/// Does nothing twice: each looks at what has been noted before.
async fn act_on(db: &Db, world: &World, outbox: &Outbox, id: WebhookId, act: Act) -> db::Result<()> {
    let mut tx = db.begin().await?;
    let Some(webhook) = webhooks::find(&mut tx, None, id).await?.filter(|webhook| webhook.health.disabled_at.is_none()) else {
        return Ok(());
    };
    let done = match act {
        Act::Warn => warn(&mut tx, world, &webhook).await?,
        Act::Disable => disable(&mut tx, world, &webhook, DisabledReason::Failing).await?,
        Act::Gone => disable(&mut tx, world, &webhook, DisabledReason::Gone).await?,
        Act::Recovered => recovered(&mut tx, world, &webhook).await?,
    };
    if done {
        tell(&mut tx, world, outbox, &webhook, act).await?;
        tx.commit().await?;
        tracing::info!(webhook.id = %id, act = ?act, "a webhook's health has changed");
    }
    Ok(())
}

async fn warn(tx: &mut Tx, world: &World, webhook: &Webhook) -> db::Result<bool> {
    let now_ms = world.now_ms();
    let Some(failing_since) = webhook.health.failing_since else { return Ok(false) };
    if !store::note_warned(tx, webhook.id, now_ms).await? {
        return Ok(false);
    }
    let changes = Changes::default().field("failing_since", (), rfc3339(failing_since));
    note(tx, world, webhook, "webhook.failing", changes).await?;
    let data = WebhookEndpointFailing {
        endpoint: endpoint(webhook),
        failing_since: Time(failing_since),
        disabled_from: Time(failing_since + DISABLE_MS),
    };
    events::emit(tx, world, NewEvent::of(webhook.account_id, &data)).await?;
    Ok(true)
}

/// The event comes before the change: whoever records a change holds a lock that all emitters would wait for.
async fn disable(tx: &mut Tx, world: &World, webhook: &Webhook, reason: DisabledReason) -> db::Result<bool> {
    let data = WebhookEndpointDisabled {
        endpoint: endpoint(webhook),
        reason: reason.as_str().to_owned(),
        disabled_at: Time(world.now_ms()),
    };
    events::emit(tx, world, NewEvent::of(webhook.account_id, &data)).await?;
    Ok(webhooks::disable(tx, world, webhook.id, reason).await?.is_some())
}

async fn recovered(tx: &mut Tx, world: &World, webhook: &Webhook) -> db::Result<bool> {
    if !store::note_recovered(tx, webhook.id).await? {
        return Ok(false);
    }
    note(tx, world, webhook, "webhook.recovered", Changes::default()).await?;
    let data = WebhookEndpointRecovered { endpoint: endpoint(webhook), recovered_at: Time(world.now_ms()) };
    events::emit(tx, world, NewEvent::of(webhook.account_id, &data)).await?;
    Ok(true)
}

/// Writes to the account's owners.
async fn tell(tx: &mut Tx, world: &World, outbox: &Outbox, webhook: &Webhook, act: Act) -> db::Result<()> {
    let url = &webhook.settings.url;
    let (what, more) = match act {
        Act::Warn => ("is failing", "No attempt has succeeded for 24 hours. After 120 hours it will be disabled."),
        Act::Disable => (
            "was disabled",
            "No attempt has succeeded for 120 hours. Enable it when its receiver is well again, and recover what it missed.",
        ),
        Act::Gone => ("was disabled", "Its receiver answered 410 Gone."),
        Act::Recovered => ("has recovered", "Its receiver answers again."),
    };
    let subject = format!("Webhook {} {what}", webhook.id);
    let body = format!("The webhook {} to {url} {what}.\n\n{more}\n", webhook.id);
    for to in store::owners(tx, webhook.account_id).await? {
        outbox.send(tx, world, &Mail { to, subject: subject.clone(), body: body.clone() }).await?;
    }
    Ok(())
}

async fn note(tx: &mut Tx, world: &World, webhook: &Webhook, action: &'static str, changes: Changes) -> db::Result<()> {
    let object_id = webhook.id.to_string();
    let account_id = webhook.account_id;
    let event = audit::Event { action, account_id, object_kind: "webhook", object_id: &object_id, changes };
    audit::record(tx, world, &Actor::System, event).await
}

fn endpoint(webhook: &Webhook) -> Endpoint {
    Endpoint { webhook_id: webhook.id.to_string(), url: webhook.settings.url.clone() }
}
