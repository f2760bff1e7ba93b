//! Policies that accounts name: what keeps them from being deleted.

use clearway_config::settings::gateway::ObjectKind;

use super::store;
use crate::db::{self, Tx};

/// What accounts are among those who name objects.
pub(super) const ACCOUNT: &str = "account";

/// Writes down that an account names these policies, in the place of those it named. Answers which of them there is
/// not; then the transaction must be given up.
pub async fn name_policies(tx: &mut Tx, account: &str, policies: &[String]) -> db::Result<Option<usize>> {
    store::lock(tx).await?;
    store::forget_references(tx, ACCOUNT, account).await?;
    for (at, name) in policies.iter().enumerate() {
        if store::find(&mut *tx, ObjectKind::Policy, name).await?.is_none() {
            return Ok(Some(at));
        }
        store::refer(tx, (ACCOUNT, account), (ObjectKind::Policy, name)).await?;
    }
    Ok(None)
}
