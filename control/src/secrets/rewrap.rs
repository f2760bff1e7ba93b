//! Changing the master key: the data keys are wrapped by another one. What they seal is not touched, and
//! processes that run go on: they hold the data keys already.

use super::{Master, SecretsError, store, unwrap_all, wrap};
use crate::{db::Db, world::World};

/// Wraps every data key by the key in `to`, which is made where it is a file that is missing; how many. All or
/// none: from then on only the new master key opens them.
pub async fn rewrap(db: &Db, world: &World, from: &Master, to: &Master) -> Result<usize, SecretsError> {
    let mut tx = db.begin().await?;
    let stored = store::all(&mut tx).await?;
    let before: Vec<_> = stored.iter().map(|key| store::Wrapped { id: key.id, wrapped: key.wrapped.clone() }).collect();
    let keys = unwrap_all(stored, from)?;
    let master = to.read_or_make(world)?;
    for (before, data_key) in before.iter().zip(&keys) {
        let wrapped = wrap(&master, world, data_key.id, &data_key.key);
        if !store::replace(&mut tx, before, wrapped).await? {
            return Err(SecretsError::Changed);
        }
    }
    tx.commit().await?;
    Ok(keys.len())
}
