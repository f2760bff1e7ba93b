//! Statements that read secrets together with their keys and accounts: what proxies hold, and what callers are checked by.

use clearway_config::{KeyHash, Scopes};
use ipnet::IpNet;
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, On, PerEngine},
    http::hex,
};

/// A secret with what a request made with it must pass: what proxies and the API's own check hold of it.
#[derive(Debug, FromRow)]
pub(super) struct Credential {
    pub(super) secret_id: Option<String>,
    pub(super) hash: Option<Vec<u8>>,
    pub(super) signing_secret: Option<Vec<u8>>,
    pub(super) secret_expires_at: Option<i64>,
    pub(super) secret_revoked_at: Option<i64>,
    pub(super) key_id: String,
    pub(super) account_id: String,
    pub(super) scopes: Json<Scopes>,
    pub(super) allowed_addresses: Json<Vec<IpNet>>,
    pub(super) per_second: Option<i64>,
    pub(super) per_day: Option<i64>,
    pub(super) per_month: Option<i64>,
    pub(super) concurrent: Option<i64>,
    pub(super) require_signature: bool,
    pub(super) key_expires_at: Option<i64>,
    pub(super) key_revoked_at: Option<i64>,
    pub(super) suspended_at: Option<i64>,
}

/// The credential behind a hash: one look-up for all that the API's own check needs.
pub(super) async fn credential<'c>(on: impl On<'c>, hash: &KeyHash) -> db::Result<Option<Credential>> {
    on.query(
        "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
         FROM key_secrets s
         JOIN api_keys k ON k.id = s.key_id
         JOIN accounts a ON a.id = k.account_id
         WHERE s.hash = $1",
    )
    .bind(hash.as_bytes().to_vec())
    .optional()
    .await
}

/// The credentials behind some hashes, in one statement.
pub(super) async fn credentials_behind<'c>(on: impl On<'c>, hashes: &[&KeyHash]) -> db::Result<Vec<Credential>> {
    let hashes: Vec<String> = hashes.iter().map(|hash| hex(hash.as_bytes())).collect();
    on.query(PerEngine {
        sqlite: "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                        k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                        k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
                 FROM json_each($1) wanted
                 JOIN key_secrets s ON s.hash = unhex(wanted.value)
                 JOIN api_keys k ON k.id = s.key_id
                 JOIN accounts a ON a.id = k.account_id",
        postgres: "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                          k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                          k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
                   FROM jsonb_array_elements_text($1) wanted (hash)
                   JOIN key_secrets s ON s.hash = decode(wanted.hash, 'hex')
                   JOIN api_keys k ON k.id = s.key_id
                   JOIN accounts a ON a.id = k.account_id",
    })
    .bind(Json(hashes))
    .all()
    .await
}

/// Every credential of some keys, for a delta.
pub(super) async fn credentials_of<'c>(on: impl On<'c>, keys: &[String]) -> db::Result<Vec<Credential>> {
    on.query(PerEngine {
        sqlite: "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                        k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                        k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
                 FROM json_each($1) wanted
                 JOIN api_keys k ON k.id = wanted.value
                 JOIN key_secrets s ON s.key_id = k.id
                 JOIN accounts a ON a.id = k.account_id",
        postgres: "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                          k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                          k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
                   FROM jsonb_array_elements_text($1) wanted (id)
                   JOIN api_keys k ON k.id = wanted.id
                   JOIN key_secrets s ON s.key_id = k.id
                   JOIN accounts a ON a.id = k.account_id",
    })
    .bind(Json(keys.to_vec()))
    .all()
    .await
}

/// The credentials of the next `limit` keys after `after`, by key; a key whose secrets are all gone has one row without a hash.
pub(super) async fn credentials_after<'c>(on: impl On<'c>, after: String, limit: u32) -> db::Result<Vec<Credential>> {
    on.query(
        "SELECT s.id AS secret_id, s.hash, s.signing_secret, s.expires_at AS secret_expires_at, s.revoked_at AS secret_revoked_at,
                k.id AS key_id, k.account_id, k.scopes, k.allowed_addresses, k.per_second, k.per_day, k.per_month,
                k.concurrent, k.require_signature, k.expires_at AS key_expires_at, k.revoked_at AS key_revoked_at, a.suspended_at
         FROM (SELECT * FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2) k
         JOIN accounts a ON a.id = k.account_id
         LEFT JOIN key_secrets s ON s.key_id = k.id
         ORDER BY k.id",
    )
    .bind(after)
    .bind(i64::from(limit))
    .all()
    .await
}

pub(super) async fn count_secrets<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT count(*) FROM key_secrets").scalar().await
}
