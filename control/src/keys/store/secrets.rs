//! Every statement on `key_secrets` but those by which credentials are told to proxies.

use std::collections::HashMap;

use clearway_config::{KeyHash, KeyId, SecretId};
use sqlx::FromRow;

use super::{super::model::Secret, ids};
use crate::db::{self, On, PerEngine, Tx};

#[derive(Debug, FromRow)]
struct SecretRow {
    id: String,
    key_id: String,
    hash: Vec<u8>,
    shown: String,
    signing_secret: Option<Vec<u8>>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

pub(in super::super) async fn insert_secret(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
    tx.query("INSERT INTO key_secrets (id, key_id, hash, shown, signing_secret, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(secret.id.to_string())
        .bind(secret.key_id.to_string())
        .bind(secret.hash.as_bytes().to_vec())
        .bind(secret.shown.clone())
        .bind(secret.signing_secret.clone())
        .bind(secret.created_at)
        .execute()
        .await
        .map(|_| ())
}

/// Writes when a secret ends.
pub(in super::super) async fn end_secret(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
    tx.query("UPDATE key_secrets SET expires_at = $3, revoked_at = $4 WHERE id = $1 AND key_id = $2")
        .bind(secret.id.to_string())
        .bind(secret.key_id.to_string())
        .bind(secret.expires_at)
        .bind(secret.revoked_at)
        .execute()
        .await
        .map(|_| ())
}

/// Puts a signing secret, sealed, beside a secret.
pub(in super::super) async fn set_signing_secret(tx: &mut Tx, secret: &Secret, sealed: Vec<u8>) -> db::Result<()> {
    tx.query("UPDATE key_secrets SET signing_secret = $3 WHERE id = $1 AND key_id = $2")
        .bind(secret.id.to_string())
        .bind(secret.key_id.to_string())
        .bind(sealed)
        .execute()
        .await
        .map(|_| ())
}

/// Takes the signing secrets from all secrets of a key.
pub(in super::super) async fn forget_signing_secrets(tx: &mut Tx, key: KeyId) -> db::Result<()> {
    tx.query("UPDATE key_secrets SET signing_secret = NULL WHERE key_id = $1").bind(key.to_string()).execute().await.map(|_| ())
}

/// A key's secrets that neither are revoked nor have ended, newest first; few, because rotation bounds them.
pub(in super::super) async fn live_secrets<'c>(on: impl On<'c>, key: KeyId, now_ms: i64) -> db::Result<Vec<Secret>> {
    let rows = on
        .query(
            "SELECT id, key_id, hash, shown, signing_secret, created_at, expires_at, revoked_at
             FROM key_secrets
             WHERE key_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY id DESC
             LIMIT 100",
        )
        .bind(key.to_string())
        .bind(now_ms)
        .all::<SecretRow>()
        .await?;
    rows.into_iter().map(Secret::try_from).collect()
}

/// [`live_secrets`] of each of these keys; one that has none is not in it.
pub(in super::super) async fn live_secrets_of<'c>(
    on: impl On<'c>,
    keys: &[KeyId],
    now_ms: i64,
) -> db::Result<HashMap<KeyId, Vec<Secret>>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT id, key_id, hash, shown, signing_secret, created_at, expires_at, revoked_at
                     FROM key_secrets
                     WHERE key_id IN (SELECT value FROM json_each($1)) AND revoked_at IS NULL
                       AND (expires_at IS NULL OR expires_at > $2)
                     ORDER BY id DESC",
            postgres: "SELECT id, key_id, hash, shown, signing_secret, created_at, expires_at, revoked_at
                       FROM key_secrets
                       WHERE key_id IN (SELECT jsonb_array_elements_text($1)) AND revoked_at IS NULL
                         AND (expires_at IS NULL OR expires_at > $2)
                       ORDER BY id DESC",
        })
        .bind(ids(keys))
        .bind(now_ms)
        .all::<SecretRow>()
        .await?;
    let mut secrets: HashMap<KeyId, Vec<Secret>> = HashMap::new();
    for row in rows {
        let secret = Secret::try_from(row)?;
        secrets.entry(secret.key_id).or_default().push(secret);
    }
    Ok(secrets)
}

impl TryFrom<SecretRow> for Secret {
    type Error = db::Error;

    fn try_from(row: SecretRow) -> db::Result<Self> {
        Ok(Self {
            id: db::decode::<SecretId>("key_secrets.id", &row.id)?,
            key_id: db::decode("key_secrets.key_id", &row.key_id)?,
            hash: KeyHash::from_slice(&row.hash).ok_or_else(|| db::undecodable("key_secrets.hash", "not 32 bytes"))?,
            shown: row.shown,
            signing_secret: row.signing_secret,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}
