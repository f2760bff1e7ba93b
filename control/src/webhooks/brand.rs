//! An account's brand: what `X-<Brand>-Signature` is called on those of its webhooks that have none of their own.

use clearway_config::AccountId;

use super::{headers::Brand, store};
use crate::{
    accounts::{self, Account, AccountError},
    audit::Actor,
    db::Tx,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// Gives an account a brand, and tells the proxies of every webhook that is signed under it.
pub async fn set_brand(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    brand: &Brand,
) -> Result<(Account, Revision), AccountError> {
    let (account, mut revision) = accounts::set_brand(tx, world, actor, account, brand.to_string()).await?;
    for id in store::unbranded(&mut *tx, account.id).await? {
        revision = sync::record(tx, ChangeKind::Webhook, &id, world.now_ms()).await?;
    }
    Ok((account, revision))
}
