//! Every statement of sync: `changes`, `proxies` and the store's own id.

use super::{ChangeKind, Revision};
use crate::db::{self, PerEngine, Tx};

/// Notes that a row changed. Call it last in the transaction: from here to the commit nobody else can
/// record, so that revisions are in commit order.
pub async fn record(tx: &mut Tx, kind: ChangeKind, id: &str, now_ms: i64) -> db::Result<Revision> {
    // A statement of its own, so that the one after it sees what the lock's last holder committed.
    // SQLite's one writer already is that lock.
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862434)" }).execute().await?;
    // Trimming always leaves the last row, so that a number is never given twice.
    let revision = tx
        .query(
            "INSERT INTO changes (revision, kind, subject_id, created_at)
             SELECT COALESCE(MAX(revision), 0) + 1, $1, $2, $3 FROM changes
             RETURNING revision",
        )
        .bind(kind.as_str())
        .bind(id.to_owned())
        .bind(now_ms)
        .scalar()
        .await?;
    Ok(Revision(revision))
}
