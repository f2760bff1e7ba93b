//! Who dispatches, and what it takes over from the one before.

use crate::db::{self, Tx};

/// Takes the hold on dispatch from nobody, from oneself or from a holder that was last seen before `lost_before`: how far
/// events have been fanned out, or `None` where another holds it.
pub(in super::super) async fn take_hold(tx: &mut Tx, me: &str, now_ms: i64, lost_before: i64) -> db::Result<Option<i64>> {
    let row: Option<(i64,)> = tx
        .query(
            "UPDATE dispatch
             SET holder = $1, seen_at = $2
             WHERE holder IS NULL OR holder = $1 OR seen_at < $3
             RETURNING fanned_out",
        )
        .bind(me.to_owned())
        .bind(now_ms)
        .bind(lost_before)
        .optional()
        .await?;
    Ok(row.map(|(fanned_out,)| fanned_out))
}

/// Whether `me` still holds dispatch; if so nobody else can take it before the commit.
pub(in super::super) async fn keep_hold(tx: &mut Tx, me: &str, now_ms: i64, fanned_out: Option<i64>) -> db::Result<bool> {
    let kept = tx
        .query(
            "UPDATE dispatch
             SET seen_at = $2, fanned_out = COALESCE($3, fanned_out)
             WHERE holder = $1",
        )
        .bind(me.to_owned())
        .bind(now_ms)
        .bind(fanned_out)
        .execute()
        .await?;
    Ok(kept == 1)
}

/// Lets another process take it at once.
pub(in super::super) async fn leave_hold(tx: &mut Tx, me: &str) -> db::Result<()> {
    tx.query("UPDATE dispatch SET holder = NULL WHERE holder = $1").bind(me.to_owned()).execute().await.map(|_| ())
}

/// What an earlier holder had in its memory becomes due.
pub(in super::super) async fn release_claims(tx: &mut Tx, now_ms: i64) -> db::Result<u64> {
    tx.query(
        "INSERT INTO webhook_health (webhook_id, due_at)
         SELECT DISTINCT webhook_id, CAST($1 AS BIGINT)
         FROM deliveries
         WHERE claimed
         ON CONFLICT (webhook_id) DO UPDATE SET due_at = excluded.due_at",
    )
    .bind(now_ms)
    .execute()
    .await?;
    tx.query("UPDATE deliveries SET claimed = FALSE, due_at = $1 WHERE claimed").bind(now_ms).execute().await
}
