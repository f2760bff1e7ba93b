//! What ends with an installation, or when less is granted to it: its keys are revoked and its webhooks deleted, in the
//! caller's transaction. Whatever else an app can hold of an account (grants and tokens of OAuth) ends here, too.

use clearway_config::{InstallationId, Scopes};

use super::{model::Tied, store};
use crate::{
    audit::Actor,
    db::{self, Tx},
    keys::{self, Key},
    sync::Revision,
    webhooks::{self, WebhookError},
    world::World,
};

/// Locked rows: acts tell what happened after they have locked, and nobody may lock after they have told.
#[derive(Debug)]
pub(super) struct Held {
    keys: Vec<Key>,
    webhooks: Vec<webhooks::Webhook>,
}

/// Locks everything that is tied to an installation.
pub(super) async fn lock(tx: &mut Tx, id: InstallationId) -> db::Result<Held> {
    let mut held = Held { keys: Vec::new(), webhooks: Vec::new() };
    for tied in store::tied(&mut *tx, id).await? {
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
    Ok(last)
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
    end(tx, world, actor, &Held { keys, webhooks: Vec::new() }).await
}
