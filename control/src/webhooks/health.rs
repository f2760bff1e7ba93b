//! Disabling a webhook whose receiver is gone, and enabling it again.

use clearway_config::{AccountId, WebhookId};

use super::{
    WebhookError,
    model::{DisabledReason, Health, Webhook},
    store,
    update::{note, seen},
};
use crate::{
    audit::{Actor, Changes},
    db::{self, Tx},
    http::time::rfc3339,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// Has nothing more posted to a webhook until it is enabled; `None` where it is gone, or disabled already. For those who
/// deliver; its owner switches it off by `active`, which stays as it is.
pub async fn disable(
    tx: &mut Tx,
    world: &World,
    id: WebhookId,
    reason: DisabledReason,
) -> db::Result<Option<(Webhook, Revision)>> {
    let now_ms = world.now_ms();
    let Some(mut webhook) = store::lock(tx, None, id).await?.filter(|webhook| webhook.health.disabled_at.is_none()) else {
        return Ok(None);
    };
    store::set_disabled(tx, id, now_ms, reason.as_str()).await?;
    webhook.health.disabled_at = Some(now_ms);
    webhook.health.disabled_reason = Some(reason.as_str().to_owned());
    let changes = Changes::default().field("disabled_at", (), rfc3339(now_ms)).field("disabled_reason", (), reason.as_str());
    note(tx, world, &Actor::System, "webhook.disabled", &webhook, changes).await?;
    let revision = sync::record(tx, ChangeKind::Webhook, &id.to_string(), now_ms).await?;
    Ok(Some((webhook, revision)))
}

/// Has events posted again, from now on, and forgets that it failed. The revision is there even when nothing changed.
pub async fn enable(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: WebhookId,
) -> Result<(Webhook, Revision), WebhookError> {
    let now_ms = world.now_ms();
    let old = seen(tx, bounds, id, None).await?;
    let mut new = Webhook { health: Health::default(), ..old.clone() };
    new.settings.active = true;
    if new != old {
        store::clear_health(tx, id).await?;
        if !old.settings.active {
            new.version += 1;
            new.updated_at = now_ms;
            store::save(tx, &new).await?;
        }
        let changes = Changes::default()
            .field("active", old.settings.active, true)
            .field("failing_since", old.health.failing_since.map(rfc3339), ())
            .field("disabled_at", old.health.disabled_at.map(rfc3339), ());
        note(tx, world, actor, "webhook.enabled", &new, changes).await?;
    }
    let revision = sync::record(tx, ChangeKind::Webhook, &id.to_string(), now_ms).await?;
    Ok((new, revision))
}
