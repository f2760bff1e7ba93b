//! What ends with an installation, or when less is granted to it: its keys are revoked, its webhooks deleted, and what people
//! have let its OAuth client do is ended, in the caller's transaction.

use clearway_config::Scopes;

use super::{
    model::{Installation, Tied},
    store,
};
use crate::{
    apps,
    audit::Actor,
    db::{self, Tx},
    keys::{self, Key},
    oauth,
    sync::Revision,
    webhooks::{self, WebhookError},
    world::World,
};

/// Locked rows: acts tell what happened after they have locked, and nobody may lock after they have told.
#[derive(Debug)]
pub(super) struct Held {
    keys: Vec<Key>,
    webhooks: Vec<webhooks::Webhook>,
    grants: oauth::Held,
}

/// Locks everything that an app holds by an installation.
pub(super) async fn lock(tx: &mut Tx, of: &Installation) -> db::Result<Held> {
    let mut held = Held { keys: Vec::new(), webhooks: Vec::new(), grants: oauth::Held::default() };
    // The developer's own account needs no installation for what it lets its app do.
    let client = apps::client_of(&mut *tx, of.app_id).await?.filter(|(_, developer)| *developer != of.account_id);
    if let Some((client, _)) = client {
        held.grants = oauth::hold(tx, of.account_id, client).await?;
    }
    for tied in store::tied(&mut *tx, of.id).await? {
        match tied {
            Tied::Key(id) => held.keys.extend(keys::lock(tx, None, id).await?),
            Tied::Webhook(id) => held.webhooks.extend(webhooks::lock(tx, None, id).await?),
        }
    }
    Ok(held)
}

/// Ends all of it; what the gateways must know then, if it is anything.
pub(super) async fn end(tx: &mut Tx, world: &World, actor: &Actor, held: &Held) -> Result<Option<Revision>, WebhookError> {
    let mut last = None;
    for key in &held.keys {
        last = keys::revoke(tx, world, actor, None, key.id).await?.map(|(_, revision)| revision).or(last);
    }
    for webhook in &held.webhooks {
        last = Some(webhooks::remove(tx, world, actor, None, webhook.id, None).await?);
    }
    let ended = oauth::end_held(tx, world, actor, &held.grants, "installation").await?;
    Ok(ended.revision.or(last))
}

/// Ends what may do more than is granted now.
pub(super) async fn narrow(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    held: Held,
    granted: &Scopes,
) -> Result<Option<Revision>, WebhookError> {
    let keys = held.keys.into_iter().filter(|key| granted.missing(&key.scopes).is_some()).collect();
    let grants = held.grants.beyond(granted);
    end(tx, world, actor, &Held { keys, webhooks: Vec::new(), grants }).await
}
