//! What time has made useless, and the next signing key.

use super::{
    clients::{ClientError, delete},
    registration::UNUSED_MS,
    signing,
    store::{clients, codes, devices, grants, proofs, refresh, registration, requests, revocations},
};
use crate::{
    audit::Actor,
    db::{self, Db},
    secrets::Secrets,
    world::World,
};

/// How long a grant that has ended can still be looked up.
const KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// How long a device that asks too late is told so.
const DEVICE_KEPT_MS: i64 = 10 * 60 * 1_000;

/// One bounded sweep; how many rows it took.
pub async fn sweep(db: &Db, world: &World, secrets: &Secrets) -> db::Result<u64> {
    let now_ms = world.now_ms();
    let mut rows = signing::rotate(db, world, secrets).await?;
    rows += clients::sweep_secrets(db, now_ms).await?;
    rows += revocations::sweep(db, now_ms).await?;
    rows += proofs::sweep(db, now_ms).await?;
    rows += requests::sweep(db, now_ms).await?;
    rows += devices::sweep(db, now_ms - DEVICE_KEPT_MS).await?;
    rows += codes::sweep(db, now_ms - KEPT_MS).await?;
    rows += refresh::sweep(db, now_ms - KEPT_MS).await?;
    rows += registration::sweep_tokens(db, now_ms - KEPT_MS).await?;
    let mut tx = db.begin().await?;
    rows += grants::sweep(&mut tx, now_ms - KEPT_MS).await?;
    tx.commit().await?;
    rows += forget_unused(db, world, now_ms - UNUSED_MS).await?;
    Ok(rows)
}

/// Takes away applications that anyone could register, and that nobody lets do anything.
async fn forget_unused(db: &Db, world: &World, before: i64) -> db::Result<u64> {
    let mut tx = db.begin().await?;
    let mut gone = 0;
    for id in registration::unused(&mut tx, before).await? {
        match delete(&mut tx, world, &Actor::System, (None, id, None)).await {
            Ok(_) => gone += 1,
            Err(ClientError::Store(error)) => return Err(error),
            // Somebody has made something else of it meanwhile.
            Err(_) => {}
        }
    }
    tx.commit().await?;
    Ok(gone)
}
