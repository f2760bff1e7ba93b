//! Every statement on `api_keys` and `key_uses`; those on `key_secrets` are in [`secrets`].

mod secrets;

use std::collections::HashMap;

use clearway_config::{AccountId, Environment, KeyHash, KeyId, Limits, Scopes};
use ipnet::IpNet;
use sqlx::{FromRow, types::Json};

pub(super) use self::secrets::{
    end_secret, forget_signing_secrets, insert_secret, live_secrets, live_secrets_of, set_signing_secret,
};
use super::model::Key;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct KeyRow {
    id: String,
    account_id: String,
    name: String,
    environment: String,
    scopes: Json<Scopes>,
    allowed_addresses: Json<Vec<IpNet>>,
    per_second: Option<i64>,
    per_day: Option<i64>,
    per_month: Option<i64>,
    concurrent: Option<i64>,
    require_signature: bool,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    version: i64,
}

/// When and from where a key was last used.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Use {
    pub(super) last_used_at: i64,
    pub(super) last_used_address: Option<String>,
}

pub(super) async fn insert(tx: &mut Tx, key: &Key) -> db::Result<()> {
    tx.query(
        "INSERT INTO api_keys
             (id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month, concurrent,
              require_signature, created_at, expires_at, expiry_due)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
    )
    .bind(key.id.to_string())
    .bind(key.account_id.to_string())
    .bind(key.name.clone())
    .bind(key.environment.as_str())
    .bind(Json(key.scopes.clone()))
    .bind(Json(key.allowed.clone()))
    .bind(key.limits.per_second.map(i64::from))
    .bind(signed(key.limits.per_day))
    .bind(signed(key.limits.per_month))
    .bind(key.limits.concurrent.map(i64::from))
    .bind(key.require_signature)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Writes what an update or a revocation may change.
pub(super) async fn save(tx: &mut Tx, key: &Key) -> db::Result<()> {
    let changed = tx
        .query(
            "UPDATE api_keys
             SET name = $3, scopes = $4, allowed_addresses = $5, per_second = $6, per_day = $7, per_month = $8,
                 concurrent = $9, require_signature = $10, expires_at = $11, revoked_at = $12,
                 expiry_due = CASE WHEN CAST($12 AS BIGINT) IS NOT NULL THEN NULL
                                   WHEN expires_at IS NOT DISTINCT FROM $11 THEN expiry_due
                                   ELSE $11 END,
                 version = $13
             WHERE id = $1 AND account_id = $2",
        )
        .bind(key.id.to_string())
        .bind(key.account_id.to_string())
        .bind(key.name.clone())
        .bind(Json(key.scopes.clone()))
        .bind(Json(key.allowed.clone()))
        .bind(key.limits.per_second.map(i64::from))
        .bind(signed(key.limits.per_day))
        .bind(signed(key.limits.per_month))
        .bind(key.limits.concurrent.map(i64::from))
        .bind(key.require_signature)
        .bind(key.expires_at)
        .bind(key.revoked_at)
        .bind(key.version)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

/// The key, if it is of `account`; NULL is every account, for admins.
pub(super) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: KeyId) -> db::Result<Option<Key>> {
    let row = on
        .query(
            "SELECT id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month, concurrent,
                    require_signature, created_at, expires_at, revoked_at, version
             FROM api_keys
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<KeyRow>()
        .await?;
    row.map(Key::try_from).transpose()
}

/// [`find`], and nobody else changes the key until this transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, account: Option<AccountId>, id: KeyId) -> db::Result<Option<Key>> {
    let row = tx
        .query(PerEngine {
            sqlite: "SELECT id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month,
                            concurrent, require_signature, created_at, expires_at, revoked_at, version
                     FROM api_keys
                     WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
            postgres: "SELECT id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month,
                              concurrent, require_signature, created_at, expires_at, revoked_at, version
                       FROM api_keys
                       WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)
                       FOR UPDATE",
        })
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<KeyRow>()
        .await?;
    row.map(Key::try_from).transpose()
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, account: AccountId, paging: Paging<KeyId>) -> db::Result<Page<Key, KeyId>> {
    let rows = on
        .query(
            "SELECT id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month, concurrent,
                    require_signature, created_at, expires_at, revoked_at, version
             FROM api_keys
             WHERE account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<KeyRow>()
        .await?;
    let keys = rows.into_iter().map(Key::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(keys, paging.limit, |key| key.id))
}

/// The oldest key of that name which can be used.
pub async fn find_active_named(tx: &mut Tx, account: AccountId, name: &str, now_ms: i64) -> db::Result<Option<KeyId>> {
    let id = tx
        .query(
            "SELECT id FROM api_keys
             WHERE account_id = $1 AND name = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)
             ORDER BY id
             LIMIT 1",
        )
        .bind(account.to_string())
        .bind(name)
        .bind(now_ms)
        .optional::<(String,)>()
        .await?;
    id.map(|(id,)| db::decode("api_keys.id", &id)).transpose()
}

/// Every key of an account.
pub(super) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<i64> {
    on.query("SELECT count(*) FROM api_keys WHERE account_id = $1").bind(account.to_string()).scalar().await
}

/// Those that count against the plan: neither revoked nor expired.
pub(super) async fn count_active(tx: &mut Tx, account: AccountId, now_ms: i64) -> db::Result<i64> {
    tx.query(
        "SELECT count(*) FROM api_keys
         WHERE account_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(account.to_string())
    .bind(now_ms)
    .scalar()
    .await
}

/// [`last_use`] of each of these keys that was ever used.
pub(super) async fn last_uses<'c>(on: impl On<'c>, keys: &[KeyId]) -> db::Result<HashMap<KeyId, Use>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT key_id, last_used_at, last_used_address FROM key_uses
                     WHERE key_id IN (SELECT value FROM json_each($1))",
            postgres: "SELECT key_id, last_used_at, last_used_address FROM key_uses
                       WHERE key_id IN (SELECT jsonb_array_elements_text($1))",
        })
        .bind(ids(keys))
        .all::<(String, i64, Option<String>)>()
        .await?;
    let of = |(key, last_used_at, last_used_address): (String, i64, Option<String>)| {
        Ok((db::decode("key_uses.key_id", &key)?, Use { last_used_at, last_used_address }))
    };
    rows.into_iter().map(of).collect()
}

fn ids(keys: &[KeyId]) -> Json<Vec<String>> {
    Json(keys.iter().map(ToString::to_string).collect())
}

pub(super) async fn last_use<'c>(on: impl On<'c>, key: KeyId) -> db::Result<Option<Use>> {
    on.query("SELECT last_used_at, last_used_address FROM key_uses WHERE key_id = $1").bind(key.to_string()).optional().await
}

/// Keys that have expired by now and were not told of yet, `max` at most; from now on they have been.
pub(super) async fn take_expired(tx: &mut Tx, now_ms: i64, max: i64) -> db::Result<Vec<Key>> {
    let rows = tx
        .query(
            "UPDATE api_keys
             SET expiry_due = NULL
             WHERE id IN (SELECT id FROM api_keys WHERE expiry_due <= $1 ORDER BY expiry_due LIMIT $2) AND expiry_due <= $1
             RETURNING id, account_id, name, environment, scopes, allowed_addresses, per_second, per_day, per_month, concurrent,
                       require_signature, created_at, expires_at, revoked_at, version",
        )
        .bind(now_ms)
        .bind(max)
        .all::<KeyRow>()
        .await?;
    rows.into_iter().map(Key::try_from).collect()
}

/// Removes at most `max` secrets whose overlap ended, or whose key was revoked, before `before`.
pub(super) async fn remove_useless(tx: &mut Tx, before: i64, max: i64) -> db::Result<Vec<KeyHash>> {
    let removed = tx
        .query(
            "DELETE FROM key_secrets
             WHERE id IN (
                 SELECT s.id
                 FROM key_secrets s
                 JOIN api_keys k ON k.id = s.key_id
                 WHERE s.expires_at <= $1 OR k.revoked_at <= $1
                 LIMIT $2
             )
             RETURNING hash",
        )
        .bind(before)
        .bind(max)
        .all::<(Vec<u8>,)>()
        .await?;
    let hash = |(bytes,): &(Vec<u8>,)| KeyHash::from_slice(bytes);
    removed.iter().map(|row| hash(row).ok_or_else(|| db::undecodable("key_secrets.hash", "not 32 bytes"))).collect()
}

impl TryFrom<KeyRow> for Key {
    type Error = db::Error;

    fn try_from(row: KeyRow) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("api_keys.id", &row.id)?,
            account_id: db::decode("api_keys.account_id", &row.account_id)?,
            name: row.name,
            environment: if row.environment == "live" { Environment::Live } else { Environment::Test },
            scopes: row.scopes.0,
            allowed: row.allowed_addresses.0,
            limits: limits(row.per_second, row.per_day, row.per_month, row.concurrent),
            require_signature: row.require_signature,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            version: row.version,
        })
    }
}

/// A key's own limits as they stand in a row. Its month never goes into overage: that is the account's.
pub(super) fn limits(per_second: Option<i64>, per_day: Option<i64>, per_month: Option<i64>, concurrent: Option<i64>) -> Limits {
    let narrow = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let wide = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    Limits {
        per_second: narrow(per_second),
        per_day: wide(per_day),
        per_month: wide(per_month),
        concurrent: narrow(concurrent),
        overage: false,
    }
}

/// Limits are at most 10^15.
fn signed(limit: Option<u64>) -> Option<i64> {
    limit.map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Forgets from where an account's keys were last used.
pub async fn forget_addresses(tx: &mut Tx, account: AccountId) -> db::Result<()> {
    tx.query("UPDATE key_uses SET last_used_address = NULL WHERE key_id IN (SELECT id FROM api_keys WHERE account_id = $1)")
        .bind(account.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// Keys that were not revoked, of all accounts.
pub async fn count_all<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL").scalar().await
}
