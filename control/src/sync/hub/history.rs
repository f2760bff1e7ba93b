//! Whether the database is still the one that it was, so that a revision means what proxies take it for.

use super::{Inner, store};
use crate::db;

impl Inner {
    /// What numbers the revisions, as proxies are told it.
    pub(in crate::sync) fn history(&self) -> String {
        self.state().history.clone()
    }

    /// Looks whether the database is still the one that it was. Where it was restored from a backup, or a replica that
    /// lacks the last commits has taken over, revisions that proxies hold are given again to other changes: every
    /// proxy starts over, and nothing counts that was acknowledged.
    pub(super) async fn look_at_history(&self) -> db::Result<()> {
        let history = store::history(&self.db).await?;
        if self.state().history == history {
            return Ok(());
        }
        let last = store::last_revision(&self.db).await?;
        let mut state = self.state();
        if state.history == history {
            // Somebody else has looked meanwhile.
            return Ok(());
        }
        tracing::warn!(revision = last, "the database goes on from another history: every proxy is sent everything");
        state.sessions.clear();
        state.membership.forget_acknowledgements();
        (state.history, state.published) = (history, last);
        drop(state);
        self.published.send_replace(last);
        self.moved.notify_waiters();
        Ok(())
    }

    /// A proxy holds a revision that there has not been: what followed was undone.
    pub(in crate::sync) async fn is_undone(&self, history: &str) -> db::Result<()> {
        store::rename_history(&self.db, history, &fresh_id()).await?;
        self.look_at_history().await
    }
}

/// 128 random bits in hexadecimal.
pub(super) fn fresh_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
