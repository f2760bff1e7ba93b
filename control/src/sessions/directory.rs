//! Looking callers' sessions up, for [`crate::http::Permit`] and [`crate::http::Person`].

use async_trait::async_trait;
use clearway_config::{AccountId, Scopes, SessionHash};

use super::{IDLE_MS, NOTED_EVERY_MS, store};
use crate::{
    db::{self, Db},
    http::{HeldSession, SessionDirectory},
    members::{self, Role},
};

/// The sessions in the database.
#[derive(Debug, Clone, Copy, Default)]
pub struct Directory;

#[async_trait]
impl SessionDirectory for Directory {
    async fn find(
        &self,
        db: &Db,
        hash: &SessionHash,
        account: Option<AccountId>,
        now_ms: i64,
    ) -> db::Result<Option<HeldSession>> {
        let Some(row) = store::find(db, hash, account.map(|id| id.to_string())).await? else { return Ok(None) };
        let expires_at = row.expires_at.min(row.last_used_at.saturating_add(IDLE_MS));
        let held = HeldSession {
            session_id: db::decode("sessions.id", &row.id)?,
            user_id: db::decode("sessions.user_id", &row.user_id)?,
            impersonator: row.impersonator_id.as_deref().map(|id| db::decode("sessions.impersonator_id", id)).transpose()?,
            account_id: db::decode("accounts.id", &row.account_id)?,
            scopes: scopes(&row)?,
            ended: row.ended_at.is_some() || !may_go_on(db, &row).await?,
            expires_at,
            suspended: row.user_suspended_at.or(row.account_suspended_at).is_some(),
        };
        let replaces = row.has_previous && !row.by_previous;
        if !held.ended && expires_at > now_ms && (replaces || now_ms - row.last_used_at >= NOTED_EVERY_MS) {
            store::note_use(db, &row.id, !row.by_previous, now_ms).await?;
        }
        Ok(Some(held))
    }
}

/// Whoever acts as somebody else does so for as long as they run the platform.
async fn may_go_on(db: &Db, row: &store::Row) -> db::Result<bool> {
    match &row.impersonator_id {
        Some(id) => members::runs_platform(db, db::decode("sessions.impersonator_id", id)?).await,
        None => Ok(true),
    }
}

fn scopes(row: &store::Row) -> db::Result<Option<Scopes>> {
    let Some(role) = &row.role else { return Ok(None) };
    let role: Role = db::decode("memberships.role", role)?;
    Ok(Some(if row.impersonator_id.is_some() { role.scopes_of_impersonator() } else { role.scopes(row.platform) }))
}
