//! Changing a webhook, and deleting it.

use clearway_config::{AccountId, WebhookId};

use super::{
    Means, WebhookError,
    change::SettingsUpdate,
    check_events,
    model::Webhook,
    secret::{self, Secret},
    store,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// Changes the given fields; `expected` is the version that the caller has seen. The revision is there even when nothing
/// changed.
pub async fn update(
    tx: &mut Tx,
    means: Means<'_>,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: WebhookId,
    update: SettingsUpdate,
    expected: Option<i64>,
) -> Result<(Webhook, Revision), WebhookError> {
    let now_ms = means.world.now_ms();
    let old = seen(tx, bounds, id, expected).await?;
    let settings = old.settings.changed(means, id, update)?;
    let object_id = id.to_string();
    let new = if settings == old.settings {
        old
    } else {
        check_events(tx, &old.settings.events, &settings.events).await?;
        let new = Webhook { settings, version: old.version + 1, updated_at: now_ms, ..old.clone() };
        store::save(tx, &new).await?;
        if new.settings.ed25519 != old.settings.ed25519 {
            sign(tx, means, &new).await?;
        }
        let changes = new.settings.differences(Some(&old.settings));
        note(tx, means.world, actor, "webhook.updated", &new, changes).await?;
        new
    };
    let revision = sync::record(tx, ChangeKind::Webhook, &object_id, now_ms).await?;
    Ok((new, revision))
}

/// Deletes a webhook with its secrets. What was on its way to it is cancelled.
pub async fn remove(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: WebhookId,
    expected: Option<i64>,
) -> Result<Revision, WebhookError> {
    let old = seen(tx, bounds, id, expected).await?;
    store::delete(tx, &old).await?;
    let changes = Changes::default().field("url", &old.settings.url, ());
    note(tx, world, actor, "webhook.deleted", &old, changes).await?;
    Ok(sync::record(tx, ChangeKind::Webhook, &id.to_string(), world.now_ms()).await?)
}

/// The webhook, locked, if it is at the version that was expected.
pub(super) async fn seen(
    tx: &mut Tx,
    bounds: Option<AccountId>,
    id: WebhookId,
    expected: Option<i64>,
) -> Result<Webhook, WebhookError> {
    let webhook = store::lock(tx, bounds, id).await?.ok_or(WebhookError::NotFound)?;
    if expected.is_some_and(|expected| webhook.version != expected) {
        return Err(WebhookError::Changed);
    }
    Ok(webhook)
}

pub(super) async fn note(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    webhook: &Webhook,
    changes: Changes,
) -> db::Result<()> {
    let object_id = webhook.id.to_string();
    let event = Event { action, account_id: webhook.account_id, object_kind: "webhook", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

/// Gives the current secret a pair of ed25519 keys, or takes them from all.
async fn sign(tx: &mut Tx, means: Means<'_>, webhook: &Webhook) -> db::Result<()> {
    let live = store::live_secrets(&mut *tx, &[webhook.id.to_string()], means.world.now_ms()).await?;
    for (nth, old) in live.into_iter().enumerate() {
        let new = match (webhook.settings.ed25519, nth) {
            (true, 0) => secret::with_ed25519(means.world, means.secrets, old),
            (true, _) => continue,
            (false, _) => Secret { sealed_ed25519_seed: None, public_key: None, ..old },
        };
        store::set_ed25519(tx, &new).await?;
    }
    Ok(())
}
