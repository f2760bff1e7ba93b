//! Taking a proxy out of the list that is gone for good: by hand, or after a time. Never one that may still serve by what
//! it was granted: a revoke would no longer wait for it.

use std::time::Duration;

use clearway_config::{ErrorCode, ProxyId};

use super::store;
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Db},
    http::{Api, ApiError, Caller},
};

/// Once it has not been heard of for longer than its lease, and for as long as it takes to be sure.
pub(super) async fn forget(api: &Api, caller: &Caller, id: &ProxyId) -> Result<String, ApiError> {
    let mut tx = api.db.begin().await?;
    let name = store::name(&mut tx, id).await?.ok_or_else(ApiError::not_found)?;
    let (silent, lease) = (api.hub.forgettable_after(), api.hub.auth_lease());
    if !store::forget(&mut tx, id, millis(silent), millis(lease)).await? {
        let why = "It is connected, or was so lately that its lease may still run.";
        return Err(ApiError::saying(ErrorCode::Conflict, why));
    }
    let text = id.to_string();
    let changes = Changes::default().field("name", Some(&name), None::<String>);
    let event =
        Event { action: "proxy.forgotten", account_id: caller.account_id, object_kind: "proxy", object_id: &text, changes };
    audit::record(&mut tx, &api.world, &Actor::from(caller), event).await?;
    tx.commit().await?;
    api.hub.look_again().await;
    Ok(name)
}

/// Forgets some of those that were not heard of for `after`: how many.
pub async fn sweep(db: &Db, after: Duration) -> db::Result<u64> {
    store::forget_silent(db, millis(after)).await
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
