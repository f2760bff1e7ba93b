//! Rotating what a webhook is signed by: a new secret, while those there are go on signing for a while.

use clearway_config::{AccountId, WebhookId};
use clearway_filters::webhook::HmacSecret;

use super::{
    Means, WebhookError,
    create::WithSecret,
    model::LIVE_SECRETS_MAX,
    secret, store,
    update::{note, seen},
};
use crate::{
    audit::{Actor, Changes},
    db::Tx,
    http::time::rfc3339,
    sync::{self, ChangeKind},
};

/// Gives the webhook a new secret: `key`, or a random one. The older ones sign for `overlap_s` more, beside it; with 0 they
/// are forgotten.
pub async fn rotate(
    tx: &mut Tx,
    means: Means<'_>,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: WebhookId,
    overlap_s: u64,
    key: Option<HmacSecret>,
) -> Result<WithSecret, WebhookError> {
    let now_ms = means.world.now_ms();
    let webhook = seen(tx, bounds, id, None).await?;
    let object_id = id.to_string();
    let ids = std::slice::from_ref(&object_id);
    let live = store::live_secrets(&mut *tx, ids, now_ms).await?;
    if overlap_s > 0 && live.len() >= LIVE_SECRETS_MAX {
        return Err(WebhookError::TooManySecrets);
    }
    if overlap_s == 0 {
        // Gone, and not merely ended: a proxy whose clock is behind must not sign by them either.
        store::forget_secrets(tx, id).await?;
    } else {
        let overlap_ms = i64::try_from(overlap_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        store::end_secrets(tx, id, now_ms.saturating_add(overlap_ms)).await?;
    }
    let key = key.unwrap_or_else(|| secret::mint(means.world));
    let secret = secret::new(means.world, means.secrets, id, &key, webhook.settings.ed25519);
    store::insert_secret(tx, &secret).await?;
    let changes = Changes::default()
        .field("secret", live.first().map(|old| old.id.to_string()), secret.id.to_string())
        .field("overlap_seconds", (), overlap_s)
        .field("created_at", live.first().map(|old| rfc3339(old.created_at)), rfc3339(now_ms));
    note(tx, means.world, actor, "webhook.rotated", &webhook, changes).await?;
    let secrets = store::live_secrets(&mut *tx, ids, now_ms).await?;
    let revision = sync::record(tx, ChangeKind::Webhook, &object_id, now_ms).await?;
    Ok(WithSecret { webhook, secrets, key, revision })
}
