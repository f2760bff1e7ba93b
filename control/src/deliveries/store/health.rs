//! How webhooks fare, and who is told.

use std::collections::HashMap;

use clearway_config::{AccountId, WebhookId};
use sqlx::types::Json;

use super::super::batch::Failing;
use crate::db::{self, PerEngine, Tx};

/// Notes since when webhooks fail; the earliest that is known stays. That one was warned of stays noted until it has been said
/// that it is well again.
pub(in super::super) async fn note_failing(tx: &mut Tx, failing: &HashMap<WebhookId, Failing>) -> db::Result<()> {
    if failing.is_empty() {
        return Ok(());
    }
    let since = |failing: &Failing| match failing {
        Failing::Since(at) => Some(*at),
        Failing::NoLonger => None,
    };
    let mut rows: Vec<(WebhookId, Option<i64>)> = failing.iter().map(|(webhook, failing)| (*webhook, since(failing))).collect();
    rows.sort_unstable();
    tx.query(PerEngine {
        sqlite: "INSERT INTO webhook_health (webhook_id, failing_since)
                 SELECT value ->> 0, value ->> 1
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT (webhook_id) DO UPDATE
                 SET failing_since = CASE WHEN excluded.failing_since IS NULL THEN NULL
                                          ELSE COALESCE(webhook_health.failing_since, excluded.failing_since) END",
        postgres: "INSERT INTO webhook_health (webhook_id, failing_since)
                   SELECT row ->> 0, CAST(row ->> 1 AS BIGINT)
                   FROM jsonb_array_elements($1) AS row
                   ON CONFLICT (webhook_id) DO UPDATE
                   SET failing_since = CASE WHEN excluded.failing_since IS NULL THEN NULL
                                            ELSE COALESCE(webhook_health.failing_since, excluded.failing_since) END",
    })
    .bind(Json(rows))
    .execute()
    .await
    .map(|_| ())
}

/// Whether it has not been warned of before.
pub(in super::super) async fn note_warned(tx: &mut Tx, webhook: WebhookId, now_ms: i64) -> db::Result<bool> {
    let noted = tx
        .query(
            "UPDATE webhook_health
             SET warned_at = $2
             WHERE webhook_id = $1 AND failing_since IS NOT NULL AND warned_at IS NULL AND disabled_at IS NULL",
        )
        .bind(webhook.to_string())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(noted == 1)
}

/// Whether it was warned of, and nobody has been told since that it is well again.
pub(in super::super) async fn note_recovered(tx: &mut Tx, webhook: WebhookId) -> db::Result<bool> {
    let noted = tx
        .query("UPDATE webhook_health SET warned_at = NULL WHERE webhook_id = $1 AND warned_at IS NOT NULL")
        .bind(webhook.to_string())
        .execute()
        .await?;
    Ok(noted == 1)
}

/// Webhooks that were warned of and are well again, of which nobody has been told yet: whoever was to tell has died.
pub(in super::super) async fn recovered_untold(tx: &mut Tx) -> db::Result<Vec<WebhookId>> {
    let rows: Vec<(String,)> = tx
        .query(
            "SELECT webhook_id FROM webhook_health
             WHERE warned_at IS NOT NULL AND failing_since IS NULL AND disabled_at IS NULL
             ORDER BY webhook_id
             LIMIT 1000",
        )
        .all()
        .await?;
    rows.into_iter().map(|(id,)| db::decode("webhook_health.webhook_id", &id)).collect()
}

/// Where the owners of an account are written to.
pub(in super::super) async fn owners(tx: &mut Tx, account: AccountId) -> db::Result<Vec<String>> {
    let rows: Vec<(String,)> = tx
        .query("SELECT email FROM users WHERE account_id = $1 AND role = 'owner' ORDER BY id LIMIT 10")
        .bind(account.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}
