//! A webhook's columns, and what they stand for.

use sqlx::{FromRow, types::Json};

use super::super::{
    headers::Header,
    model::{ClientCertificate, Health, Oauth, OauthClient, Ordering, Settings, Timeouts, Webhook},
    retry::RetryPolicy,
};
use crate::{db, events::Pattern};

#[derive(Debug, FromRow)]
pub(super) struct Row {
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

/// The columns that stand for one thing together.
pub(super) struct Parts {
    pub(super) client_certificate: Option<String>,
    pub(super) sealed_client_key: Option<Vec<u8>>,
    pub(super) oauth: Option<Json<OauthClient>>,
    pub(super) sealed_oauth_secret: Option<Vec<u8>>,
}

impl Parts {
    pub(super) fn of(settings: &Settings) -> Self {
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
