//! A further secret of the admin's key, for a start that was asked to show one: no secret is stored that
//! could be shown again.

use clearway_config::PlainKey;

use super::{bootstrap::BootstrapError, store};
use crate::{
    audit::Actor,
    db::Db,
    keys::{self, RotateError},
    secrets::Secrets,
    world::World,
};

/// How long older secrets of the admin's key go on working.
const OVERLAP_S: u64 = 24 * 3600;

/// The first user's address and a new secret of the key that was made with it. `None` where that key has been
/// revoked or has expired: whoever did that has another.
pub async fn another_admin_key(db: &Db, world: &World, secrets: &Secrets) -> Result<Option<(String, PlainKey)>, BootstrapError> {
    let mut tx = db.begin().await?;
    let Some((email, account)) = store::first(&mut tx).await? else { return Ok(None) };
    let Some(key) = keys::find_active_named(&mut tx, account, "admin", world.now_ms()).await? else { return Ok(None) };
    let mut rotated = keys::rotate(&mut tx, world, secrets, &Actor::System, None, key, OVERLAP_S).await;
    if matches!(rotated, Err(RotateError::TooManySecrets)) {
        rotated = keys::rotate(&mut tx, world, secrets, &Actor::System, None, key, 0).await;
    }
    let rotated = rotated?;
    tx.commit().await?;
    Ok(Some((email, rotated.plain)))
}
