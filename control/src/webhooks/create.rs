//! Making a webhook.

use clearway_config::{AccountId, WebhookId};
use clearway_filters::webhook::HmacSecret;

use super::{
    Means, WebhookError,
    change::SettingsUpdate,
    check_events,
    model::{Health, Settings, WEBHOOKS_MAX, Webhook},
    secret::{self, Secret},
    store,
};
use crate::{
    accounts,
    audit::{self, Actor, Event},
    db::Tx,
    sync::{self, ChangeKind, Revision},
};

/// A webhook after an act that has made a secret, and the one sight of that.
#[derive(Debug)]
pub struct WithSecret {
    pub webhook: Webhook,
    /// Those that sign, the current one first.
    pub secrets: Vec<Secret>,
    pub key: HmacSecret,
    pub revision: Revision,
}

/// Makes a webhook of `account`; signed by `key`, or by a new one. The update must hold a URL and types of events.
pub async fn create(
    tx: &mut Tx,
    means: Means<'_>,
    actor: &Actor,
    account: AccountId,
    settings: SettingsUpdate,
    key: Option<HmacSecret>,
) -> Result<WithSecret, WebhookError> {
    // Locks the account, so that two callers cannot both take the last place.
    let account = accounts::lock(tx, account).await?.ok_or(WebhookError::AccountNotFound)?;
    if store::count(&mut *tx, account.id).await? >= WEBHOOKS_MAX {
        return Err(WebhookError::Full);
    }
    let now_ms = means.world.now_ms();
    let id = means.world.id(WebhookId::new);
    let webhook = Webhook {
        id,
        account_id: account.id,
        settings: Settings::new().changed(means, id, settings)?,
        account_brand: account.brand,
        account_suspended: account.suspended_at.is_some(),
        health: Health::default(),
        version: 1,
        created_at: now_ms,
        updated_at: now_ms,
    };
    check_events(tx, &[], &webhook.settings.events).await?;
    store::insert(tx, &webhook).await?;
    let key = key.unwrap_or_else(|| secret::mint(means.world));
    let secret = secret::new(means.world, means.secrets, id, &key, webhook.settings.ed25519);
    store::insert_secret(tx, &secret).await?;
    let object_id = id.to_string();
    let changes = webhook.settings.differences(None);
    let event =
        Event { action: "webhook.created", account_id: account.id, object_kind: "webhook", object_id: &object_id, changes };
    audit::record(tx, means.world, actor, event).await?;
    let revision = sync::record(tx, ChangeKind::Webhook, &object_id, now_ms).await?;
    Ok(WithSecret { webhook, secrets: vec![secret], key, revision })
}
