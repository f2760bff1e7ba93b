//! Every statement on `webhooks`, and what an owner changes of `webhook_health`.

mod row;
mod secrets;

use clearway_config::{AccountId, WebhookId};
use sqlx::types::Json;

pub(super) use self::secrets::{end_secrets, forget_secrets, insert_secret, live_secrets, remove_ended, set_ed25519};

use self::row::{Parts, Row};
use super::model::{Settings, Webhook};
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

pub(super) async fn insert(tx: &mut Tx, webhook: &Webhook) -> db::Result<()> {
    let Settings { url, description, events, filter, headers, .. } = webhook.settings.clone();
    let parts = Parts::of(&webhook.settings);
    tx.query(
        "INSERT INTO webhooks
             (id, account_id, url, description, events, filter, headers, sealed_authorization, active, retry_policy, rate_limit,
              concurrency, ordering, brand, ed25519, timeouts, client_certificate, sealed_client_key, oauth, sealed_oauth_secret,
              version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
    )
    .bind(webhook.id.to_string())
    .bind(webhook.account_id.to_string())
    .bind(url)
    .bind(description)
    .bind(Json(events))
    .bind(filter)
    .bind(Json(headers))
    .bind(webhook.settings.sealed_authorization.clone())
    .bind(webhook.settings.active)
    .bind(Json(webhook.settings.retry_policy.clone()))
    .bind(webhook.settings.rate_limit.map(i64::from))
    .bind(i64::from(webhook.settings.concurrency))
    .bind(webhook.settings.ordering.as_str())
    .bind(webhook.settings.brand.clone())
    .bind(webhook.settings.ed25519)
    .bind(Json(webhook.settings.timeouts))
    .bind(parts.client_certificate)
    .bind(parts.sealed_client_key)
    .bind(parts.oauth)
    .bind(parts.sealed_oauth_secret)
    .bind(webhook.version)
    .bind(webhook.created_at)
    .bind(webhook.updated_at)
    .execute()
    .await?;
    tx.query("INSERT INTO webhook_health (webhook_id) VALUES ($1)").bind(webhook.id.to_string()).execute().await.map(|_| ())
}

/// Writes what an owner may change.
pub(super) async fn save(tx: &mut Tx, webhook: &Webhook) -> db::Result<()> {
    let Settings { url, description, events, filter, headers, .. } = webhook.settings.clone();
    let parts = Parts::of(&webhook.settings);
    let changed = tx
        .query(
            "UPDATE webhooks
             SET url = $3, description = $4, events = $5, filter = $6, headers = $7, sealed_authorization = $8, active = $9,
                 retry_policy = $10, rate_limit = $11, concurrency = $12, ordering = $13, brand = $14, ed25519 = $15,
                 timeouts = $16, client_certificate = $17, sealed_client_key = $18, oauth = $19, sealed_oauth_secret = $20,
                 version = $21, updated_at = $22
             WHERE id = $1 AND account_id = $2",
        )
        .bind(webhook.id.to_string())
        .bind(webhook.account_id.to_string())
        .bind(url)
        .bind(description)
        .bind(Json(events))
        .bind(filter)
        .bind(Json(headers))
        .bind(webhook.settings.sealed_authorization.clone())
        .bind(webhook.settings.active)
        .bind(Json(webhook.settings.retry_policy.clone()))
        .bind(webhook.settings.rate_limit.map(i64::from))
        .bind(i64::from(webhook.settings.concurrency))
        .bind(webhook.settings.ordering.as_str())
        .bind(webhook.settings.brand.clone())
        .bind(webhook.settings.ed25519)
        .bind(Json(webhook.settings.timeouts))
        .bind(parts.client_certificate)
        .bind(parts.sealed_client_key)
        .bind(parts.oauth)
        .bind(parts.sealed_oauth_secret)
        .bind(webhook.version)
        .bind(webhook.updated_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

/// With its secrets. How it fared stays: what is left of its deliveries is found by that.
pub(super) async fn delete(tx: &mut Tx, webhook: &Webhook) -> db::Result<()> {
    tx.query("DELETE FROM webhooks WHERE id = $1 AND account_id = $2")
        .bind(webhook.id.to_string())
        .bind(webhook.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The webhook, if it is of `account`; `None` is every account, for admins.
pub(super) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: WebhookId) -> db::Result<Option<Webhook>> {
    let found = some(on, &[id.to_string()]).await?;
    Ok(found.into_iter().find(|webhook| account.is_none_or(|account| webhook.account_id == account)))
}

/// [`find`], and nobody else changes the webhook until this transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, account: Option<AccountId>, id: WebhookId) -> db::Result<Option<Webhook>> {
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM webhooks WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
            postgres: "SELECT id FROM webhooks WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2) FOR UPDATE",
        })
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<(String,)>()
        .await?;
    match locked {
        Some(_) => find(tx, account, id).await,
        None => Ok(None),
    }
}

/// The ids of a page, newest first.
pub(super) async fn list<'c>(on: impl On<'c>, account: AccountId, paging: Paging<WebhookId>) -> db::Result<Page<String, String>> {
    let rows = on
        .query(
            "SELECT id FROM webhooks
             WHERE account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<(String,)>()
        .await?;
    Ok(cut(rows, paging.limit, |(id,)| id.clone()).map(|(id,)| id))
}

pub(super) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<i64> {
    on.query("SELECT count(*) FROM webhooks WHERE account_id = $1").bind(account.to_string()).scalar().await
}

/// The next ids of all accounts, in order.
pub(super) async fn ids_after<'c>(on: impl On<'c>, after: String, limit: u32) -> db::Result<Vec<String>> {
    let rows = on
        .query("SELECT id FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .all::<(String,)>()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The ids of those that are signed under their account's brand: at most as many as an account may have.
pub(super) async fn unbranded<'c>(on: impl On<'c>, account: AccountId) -> db::Result<Vec<String>> {
    let rows = on
        .query("SELECT id FROM webhooks WHERE account_id = $1 AND brand IS NULL ORDER BY id LIMIT 1000")
        .bind(account.to_string())
        .all::<(String,)>()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Those of `ids` that exist, newest first.
pub(super) async fn some<'c>(on: impl On<'c>, ids: &[String]) -> db::Result<Vec<Webhook>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT w.id, w.account_id, w.url, w.description, w.events, w.filter, w.headers, w.sealed_authorization,
                            w.active, w.retry_policy, w.rate_limit, w.concurrency, w.ordering, w.brand, w.ed25519, w.timeouts,
                            w.client_certificate, w.sealed_client_key, w.oauth, w.sealed_oauth_secret, w.version, w.created_at,
                            w.updated_at, h.failing_since, h.warned_at, h.disabled_at, h.disabled_reason,
                            a.brand AS account_brand, a.suspended_at
                     FROM json_each($1) wanted
                     JOIN webhooks w ON w.id = wanted.value
                     JOIN webhook_health h ON h.webhook_id = w.id
                     JOIN accounts a ON a.id = w.account_id
                     ORDER BY w.id DESC",
            postgres: "SELECT w.id, w.account_id, w.url, w.description, w.events, w.filter, w.headers, w.sealed_authorization,
                              w.active, w.retry_policy, w.rate_limit, w.concurrency, w.ordering, w.brand, w.ed25519, w.timeouts,
                              w.client_certificate, w.sealed_client_key, w.oauth, w.sealed_oauth_secret, w.version,
                              w.created_at, w.updated_at, h.failing_since, h.warned_at, h.disabled_at, h.disabled_reason,
                              a.brand AS account_brand, a.suspended_at
                       FROM jsonb_array_elements_text($1) wanted (id)
                       JOIN webhooks w ON w.id = wanted.id
                       JOIN webhook_health h ON h.webhook_id = w.id
                       JOIN accounts a ON a.id = w.account_id
                       ORDER BY w.id DESC",
        })
        .bind(Json(ids.to_vec()))
        .all::<Row>()
        .await?;
    rows.into_iter().map(Webhook::try_from).collect()
}

/// Every webhook of some accounts, for the fan-out: few, because an account's number of them is bounded.
pub(super) async fn of_accounts<'c>(on: impl On<'c>, accounts: &[AccountId]) -> db::Result<Vec<Webhook>> {
    let accounts: Vec<_> = accounts.iter().map(ToString::to_string).collect();
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT w.id, w.account_id, w.url, w.description, w.events, w.filter, w.headers, w.sealed_authorization,
                            w.active, w.retry_policy, w.rate_limit, w.concurrency, w.ordering, w.brand, w.ed25519, w.timeouts,
                            w.client_certificate, w.sealed_client_key, w.oauth, w.sealed_oauth_secret, w.version, w.created_at,
                            w.updated_at, h.failing_since, h.warned_at, h.disabled_at, h.disabled_reason,
                            a.brand AS account_brand, a.suspended_at
                     FROM json_each($1) wanted
                     JOIN webhooks w ON w.account_id = wanted.value
                     JOIN webhook_health h ON h.webhook_id = w.id
                     JOIN accounts a ON a.id = w.account_id
                     ORDER BY w.id",
            postgres: "SELECT w.id, w.account_id, w.url, w.description, w.events, w.filter, w.headers, w.sealed_authorization,
                              w.active, w.retry_policy, w.rate_limit, w.concurrency, w.ordering, w.brand, w.ed25519, w.timeouts,
                              w.client_certificate, w.sealed_client_key, w.oauth, w.sealed_oauth_secret, w.version,
                              w.created_at, w.updated_at, h.failing_since, h.warned_at, h.disabled_at, h.disabled_reason,
                              a.brand AS account_brand, a.suspended_at
                       FROM jsonb_array_elements_text($1) wanted (id)
                       JOIN webhooks w ON w.account_id = wanted.id
                       JOIN webhook_health h ON h.webhook_id = w.id
                       JOIN accounts a ON a.id = w.account_id
                       ORDER BY w.id",
        })
        .bind(Json(accounts))
        .all::<Row>()
        .await?;
    rows.into_iter().map(Webhook::try_from).collect()
}

pub(super) async fn set_disabled(tx: &mut Tx, id: WebhookId, at: i64, reason: &'static str) -> db::Result<()> {
    tx.query("UPDATE webhook_health SET disabled_at = $2, disabled_reason = $3 WHERE webhook_id = $1")
        .bind(id.to_string())
        .bind(at)
        .bind(reason)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn clear_health(tx: &mut Tx, id: WebhookId) -> db::Result<()> {
    tx.query(
        "UPDATE webhook_health
         SET failing_since = NULL, warned_at = NULL, disabled_at = NULL, disabled_reason = NULL
         WHERE webhook_id = $1",
    )
    .bind(id.to_string())
    .execute()
    .await
    .map(|_| ())
}
