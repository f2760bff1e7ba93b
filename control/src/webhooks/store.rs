//! Every statement on `webhooks` and `webhook_secrets`, and what an owner changes of `webhook_health`.

use clearway_config::{AccountId, WebhookId};
use sqlx::{FromRow, types::Json};

use super::{
    headers::Header,
    model::{ClientCertificate, Health, Oauth, OauthClient, Ordering, Settings, Timeouts, Webhook},
    retry::RetryPolicy,
    secret::Secret,
};
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    events::Pattern,
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    url: String,
    description: String,
    events: Json<Vec<Pattern>>,
    filter: Option<String>,
    headers: Json<Vec<Header>>,
    sealed_authorization: Option<Vec<u8>>,
    active: bool,
    retry_policy: Json<RetryPolicy>,
    rate_limit: Option<i64>,
    concurrency: i64,
    ordering: String,
    brand: Option<String>,
    ed25519: bool,
    timeouts: Json<Timeouts>,
    client_certificate: Option<String>,
    sealed_client_key: Option<Vec<u8>>,
    oauth: Option<Json<OauthClient>>,
    sealed_oauth_secret: Option<Vec<u8>>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    failing_since: Option<i64>,
    warned_at: Option<i64>,
    disabled_at: Option<i64>,
    disabled_reason: Option<String>,
    account_brand: String,
    suspended_at: Option<i64>,
}

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
pub(super) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: WebhookId) -> db::Result<Option<Webhook>> {
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

pub(super) async fn insert_secret(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
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
pub(super) async fn set_ed25519(tx: &mut Tx, secret: &Secret) -> db::Result<()> {
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
pub(super) async fn end_secrets(tx: &mut Tx, id: WebhookId, at: i64) -> db::Result<()> {
    tx.query("UPDATE webhook_secrets SET expires_at = $2 WHERE webhook_id = $1 AND (expires_at IS NULL OR expires_at > $2)")
        .bind(id.to_string())
        .bind(at)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn forget_secrets(tx: &mut Tx, id: WebhookId) -> db::Result<()> {
    tx.query("DELETE FROM webhook_secrets WHERE webhook_id = $1").bind(id.to_string()).execute().await.map(|_| ())
}

/// The secrets of some webhooks that have not ended: the current one first, then the newest. Few, because rotation bounds
/// them.
pub(super) async fn live_secrets<'c>(on: impl On<'c>, ids: &[String], now_ms: i64) -> db::Result<Vec<Secret>> {
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
pub(super) async fn remove_ended(tx: &mut Tx, before: i64, max: i64) -> db::Result<Vec<String>> {
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

/// The columns that stand for one thing together.
struct Parts {
    client_certificate: Option<String>,
    sealed_client_key: Option<Vec<u8>>,
    oauth: Option<Json<OauthClient>>,
    sealed_oauth_secret: Option<Vec<u8>>,
}

impl Parts {
    fn of(settings: &Settings) -> Self {
        let certificate = settings.client_certificate.clone();
        let oauth = settings.oauth.clone();
        Self {
            client_certificate: certificate.as_ref().map(|certificate| certificate.chain.clone()),
            sealed_client_key: certificate.map(|certificate| certificate.sealed_key),
            oauth: oauth.as_ref().map(|oauth| Json(oauth.client.clone())),
            sealed_oauth_secret: oauth.map(|oauth| oauth.sealed_secret),
        }
    }
}

impl TryFrom<Row> for Webhook {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        let narrow = |column, n: i64| u32::try_from(n).map_err(|_| db::undecodable(column, "out of range"));
        let certificate = row.client_certificate.zip(row.sealed_client_key);
        let oauth = row.oauth.zip(row.sealed_oauth_secret);
        let settings = Settings {
            url: row.url,
            description: row.description,
            events: row.events.0,
            filter: row.filter,
            headers: row.headers.0,
            sealed_authorization: row.sealed_authorization,
            active: row.active,
            retry_policy: row.retry_policy.0,
            rate_limit: row.rate_limit.map(|n| narrow("webhooks.rate_limit", n)).transpose()?,
            concurrency: narrow("webhooks.concurrency", row.concurrency)?,
            ordering: Ordering::parse(&row.ordering).ok_or_else(|| db::undecodable("webhooks.ordering", "unknown"))?,
            brand: row.brand,
            ed25519: row.ed25519,
            timeouts: row.timeouts.0,
            client_certificate: certificate.map(|(chain, sealed_key)| ClientCertificate { chain, sealed_key }),
            oauth: oauth.map(|(Json(client), sealed_secret)| Oauth { client, sealed_secret }),
        };
        Ok(Self {
            id: db::decode("webhooks.id", &row.id)?,
            account_id: db::decode("webhooks.account_id", &row.account_id)?,
            settings,
            account_brand: row.account_brand,
            account_suspended: row.suspended_at.is_some(),
            health: Health {
                failing_since: row.failing_since,
                warned_at: row.warned_at,
                disabled_at: row.disabled_at,
                disabled_reason: row.disabled_reason,
            },
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
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
