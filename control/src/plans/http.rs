//! `GET /billing/plans`.

use axum::extract::State;
use clearway_config::envelope::Success;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store::{self, Stored};
use crate::http::{Answer, Answered, Api, List, Permit, ReadBilling};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What an account can subscribe to. A limit that is null is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "starter", "title": "Starter", "keys_max": 25, "event_retention_days": 7, "on_quota_store_loss": "lease_then_deny", "price_monthly": 0, "price_annual": 0, "currency": "USD",
    "limits": {"per_second": 10, "per_day": 10000, "per_month": 100000, "concurrent": 5, "overage": false}}))]
struct PlanView {
    name: String,
    title: String,
    limits: PlanLimits,
    /// Keys that an account may have at the same time.
    keys_max: Option<u32>,
    /// Days for which an account's events are kept, and what became of them.
    event_retention_days: u32,
    /// Where several proxies share quotas by a store, and it cannot be reached: `lease_then_deny`, `lease_then_local_share` or
    /// `lease_then_allow`.
    on_quota_store_loss: &'static str,
    /// Millionths of the currency; null is by agreement.
    price_monthly: Option<i64>,
    price_annual: Option<i64>,
    /// ISO 4217.
    currency: String,
}

/// They bind the account: all of its keys together.
#[derive(Debug, Serialize, ToSchema)]
struct PlanLimits {
    per_second: Option<u32>,
    per_day: Option<u64>,
    per_month: Option<u64>,
    concurrent: Option<u32>,
    /// Beyond `per_month` requests are billed, not refused.
    overage: bool,
}

impl From<Stored> for PlanView {
    fn from(Stored { plan, .. }: Stored) -> Self {
        let limits = plan.limits;
        Self {
            name: plan.name,
            title: plan.title,
            limits: PlanLimits {
                per_second: limits.per_second,
                per_day: limits.per_day,
                per_month: limits.per_month,
                concurrent: limits.concurrent,
                overage: limits.overage,
            },
            keys_max: plan.keys_max,
            event_retention_days: plan.event_retention_days,
            on_quota_store_loss: plan.on_quota_store_loss.as_str(),
            price_monthly: plan.price_monthly,
            price_annual: plan.price_annual,
            currency: plan.currency,
        }
    }
}

/// List the plans on offer
///
/// With their limits and prices, in the order in which they are offered.
#[utoipa::path(get, path = "/billing/plans", operation_id = "plans_list", tag = "billing", security(("key" = ["read:billing"])),
    responses((status = 200, description = "Every plan on offer", body = Success<List<PlanView>>)))]
async fn list(State(api): State<Api>, _: Permit<ReadBilling>) -> Answered {
    let offered = store::all(&api.db).await?.into_iter().filter(|stored| !stored.retired);
    let items: Vec<PlanView> = offered.map(PlanView::from).collect();
    let total = i64::try_from(items.len()).ok();
    Answer::ok(&List { items, total, next_cursor: None })
}
