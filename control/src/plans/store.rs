//! Every statement on `plans`.

use clearway_config::{Limits, settings::Plan};
use sqlx::{FromRow, types::Json};

use crate::db::{self, On, PerEngine, Tx};

/// A plan as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) plan: Plan,
    pub(super) position: i64,
    pub(super) retired: bool,
}

#[derive(Debug, FromRow)]
struct Row {
    name: String,
    title: String,
    position: i64,
    per_second: Option<i64>,
    per_day: Option<i64>,
    per_month: Option<i64>,
    concurrent: Option<i64>,
    overage: bool,
    keys_max: Option<i64>,
    event_retention_days: i64,
    on_quota_store_loss: String,
    price_monthly: Option<i64>,
    price_annual: Option<i64>,
    currency: String,
    retired: bool,
}

/// All of them, retired ones too, in the file's order: a thousand in the file, and those that once were.
pub(super) async fn all<'c>(on: impl On<'c>) -> db::Result<Vec<Stored>> {
    let rows = on
        .query(
            "SELECT name, title, position, per_second, per_day, per_month, concurrent, overage, keys_max,
                    event_retention_days, on_quota_store_loss, price_monthly, price_annual, currency, retired
             FROM plans
             ORDER BY position, name
             LIMIT 10000",
        )
        .all::<Row>()
        .await?;
    Ok(rows.into_iter().map(Stored::from).collect())
}

/// Some plans, for a delta.
pub(super) async fn some<'c>(on: impl On<'c>, names: &[String]) -> db::Result<Vec<Stored>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT name, title, position, per_second, per_day, per_month, concurrent, overage, keys_max,
                            event_retention_days, on_quota_store_loss, price_monthly, price_annual, currency, retired
                     FROM plans
                     WHERE name IN (SELECT value FROM json_each($1))",
            postgres: "SELECT name, title, position, per_second, per_day, per_month, concurrent, overage, keys_max,
                              event_retention_days, on_quota_store_loss, price_monthly, price_annual, currency, retired
                       FROM plans
                       WHERE name IN (SELECT jsonb_array_elements_text($1))",
        })
        .bind(Json(names.to_vec()))
        .all::<Row>()
        .await?;
    Ok(rows.into_iter().map(Stored::from).collect())
}

pub(super) async fn put(tx: &mut Tx, stored: &Stored) -> db::Result<()> {
    let Stored { plan, position, retired } = stored;
    let signed = |limit: Option<u64>| limit.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    tx.query(
        "INSERT INTO plans
             (name, title, position, per_second, per_day, per_month, concurrent, overage, keys_max,
              event_retention_days, on_quota_store_loss, price_monthly, price_annual, currency, retired)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (name) DO UPDATE
         SET title = excluded.title, position = excluded.position, per_second = excluded.per_second,
             per_day = excluded.per_day, per_month = excluded.per_month, concurrent = excluded.concurrent,
             overage = excluded.overage, keys_max = excluded.keys_max,
             event_retention_days = excluded.event_retention_days,
             on_quota_store_loss = excluded.on_quota_store_loss, price_monthly = excluded.price_monthly,
             price_annual = excluded.price_annual, currency = excluded.currency, retired = excluded.retired",
    )
    .bind(plan.name.clone())
    .bind(plan.title.clone())
    .bind(*position)
    .bind(plan.limits.per_second.map(i64::from))
    .bind(signed(plan.limits.per_day))
    .bind(signed(plan.limits.per_month))
    .bind(plan.limits.concurrent.map(i64::from))
    .bind(plan.limits.overage)
    .bind(plan.keys_max.map(i64::from))
    .bind(i64::from(plan.event_retention_days))
    .bind(plan.on_quota_store_loss.as_str().to_owned())
    .bind(plan.price_monthly)
    .bind(plan.price_annual)
    .bind(plan.currency.clone())
    .bind(*retired)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn accounts_on(tx: &mut Tx, plan: &str) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM subscriptions WHERE plan = $1 AND ended_at IS NULL").bind(plan.to_owned()).scalar().await
}

/// The plan of a new account for which none is named.
pub async fn first_offered(tx: &mut Tx) -> db::Result<String> {
    tx.query("SELECT name FROM plans WHERE retired = FALSE ORDER BY position LIMIT 1").scalar().await
}

impl From<Row> for Stored {
    fn from(row: Row) -> Self {
        let narrow = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
        let wide = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        let plan = Plan {
            name: row.name,
            title: row.title,
            limits: Limits {
                per_second: narrow(row.per_second),
                per_day: wide(row.per_day),
                per_month: wide(row.per_month),
                concurrent: narrow(row.concurrent),
                overage: row.overage,
            },
            keys_max: narrow(row.keys_max),
            event_retention_days: u32::try_from(row.event_retention_days).unwrap_or(u32::MAX),
            // The table takes no other words.
            on_quota_store_loss: row.on_quota_store_loss.parse().unwrap_or_default(),
            price_monthly: row.price_monthly,
            price_annual: row.price_annual,
            currency: row.currency,
        };
        Self { plan, position: row.position, retired: row.retired }
    }
}
