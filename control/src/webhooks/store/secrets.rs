//! Every statement on `webhook_secrets`.

use clearway_config::WebhookId;
use sqlx::{FromRow, types::Json};

use super::super::secret::Secret;
use crate::db::{self, On, PerEngine, Tx};

#[derive(Debug, FromRow)]
struct SecretRow {
    id: String,
    webhook_id: String,
    sealed_hmac_key: Vec<u8>,
    sealed_ed25519_seed: Option<Vec<u8>>,
    ed25519_public_key: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
}

pub(in super::super) async fn insert_secret(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
    tx.query(
        "INSERT INTO webhook_secrets
             (id, webhook_id, sealed_hmac_key, sealed_ed25519_seed, ed25519_public_key, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(secret.id.to_string())
    .bind(secret.webhook_id.to_string())
    .bind(secret.sealed_hmac_key.clone())
    .bind(secret.sealed_ed25519_seed.clone())
    .bind(secret.public_key.clone())
    .bind(secret.created_at)
    .bind(secret.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Writes the pair of ed25519 keys of a secret, or that it has none.
pub(in super::super) async fn set_ed25519(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
    tx.query("UPDATE webhook_secrets SET sealed_ed25519_seed = $3, ed25519_public_key = $4 WHERE id = $1 AND webhook_id = $2")
        .bind(secret.id.to_string())
        .bind(secret.webhook_id.to_string())
        .bind(secret.sealed_ed25519_seed.clone())
        .bind(secret.public_key.clone())
        .execute()
        .await
        .map(|_| ())
}

/// Has every secret of a webhook end at `at`, or when it would have ended anyway.
pub(in super::super) async fn end_secrets(tx: &mut Tx, id: WebhookId, at: i64) -> db::Result<()> {
    tx.query("UPDATE webhook_secrets SET expires_at = $2 WHERE webhook_id = $1 AND (expires_at IS NULL OR expires_at > $2)")
        .bind(id.to_string())
        .bind(at)
        .execute()
        .await
        .map(|_| ())
}

pub(in super::super) async fn forget_secrets(tx: &mut Tx, id: WebhookId) -> db::Result<()> {
    tx.query("DELETE FROM webhook_secrets WHERE webhook_id = $1").bind(id.to_string()).execute().await.map(|_| ())
}

/// The secrets of some webhooks that have not ended: the current one first, then the newest. Few, because rotation bounds
/// them.
pub(in super::super) async fn live_secrets<'c>(on: impl On<'c>, ids: &[String], now_ms: i64) -> db::Result<Vec<Secret>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT s.id, s.webhook_id, s.sealed_hmac_key, s.sealed_ed25519_seed, s.ed25519_public_key, s.created_at,
                            s.expires_at
                     FROM json_each($1) wanted
                     JOIN webhook_secrets s ON s.webhook_id = wanted.value
                     WHERE s.expires_at IS NULL OR s.expires_at > $2",
            postgres: "SELECT s.id, s.webhook_id, s.sealed_hmac_key, s.sealed_ed25519_seed, s.ed25519_public_key, s.created_at,
                              s.expires_at
                       FROM jsonb_array_elements_text($1) wanted (id)
                       JOIN webhook_secrets s ON s.webhook_id = wanted.id
                       WHERE s.expires_at IS NULL OR s.expires_at > $2",
        })
        .bind(Json(ids.to_vec()))
        .bind(now_ms)
        .all::<SecretRow>()
        .await?;
    let mut secrets = rows.into_iter().map(Secret::try_from).collect::<db::Result<Vec<_>>>()?;
    // Two that were made in one millisecond are in no order by their ids; but one of them is current.
    secrets.sort_by_key(|secret| (secret.expires_at.is_some(), std::cmp::Reverse(secret.id)));
    Ok(secrets)
}

/// Removes at most `max` secrets that ended before `before`; whose they were.
pub(in super::super) async fn remove_ended(tx: &mut Tx, before: i64, max: i64) -> db::Result<Vec<String>> {
    let removed = tx
        .query(
            "DELETE FROM webhook_secrets
             WHERE id IN (SELECT id FROM webhook_secrets WHERE expires_at <= $1 LIMIT $2)
             RETURNING webhook_id",
        )
        .bind(before)
        .bind(max)
        .all::<(String,)>()
        .await?;
    Ok(removed.into_iter().map(|(id,)| id).collect())
}

impl TryFrom<SecretRow> for Secret {
    type Error = db::Error;

    fn try_from(row: SecretRow) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("webhook_secrets.id", &row.id)?,
            webhook_id: db::decode("webhook_secrets.webhook_id", &row.webhook_id)?,
            sealed_hmac_key: row.sealed_hmac_key,
            sealed_ed25519_seed: row.sealed_ed25519_seed,
            public_key: row.ed25519_public_key,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
