//! `GET /admin/analytics`: how much there is of everything, and how much it is used.

use std::collections::HashMap;

use axum::extract::State;
use clearway_config::envelope::Success;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{http::DayView, store};
use crate::{
    accounts,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Fields, Form, Permit, Query, issue,
        time::{DAY_MS, day, day_of, day_text},
    },
    keys, users,
};

/// Days that one question may span: every account's rows of them are read.
const DAYS_MAX: i64 = 92;
/// Days, up to today, when the question names none.
const DAYS_DEFAULT: i64 = 30;
/// Accounts that are named.
const BUSIEST_MAX: i64 = 10;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct PlatformParams {
    /// The first day, such as `2026-11-01`; 29 days before `to` when left out.
    from: Option<String>,
    /// The last day; today (UTC) when left out. At most 92 days from `from` to `to`.
    to: Option<String>,
}

#[derive(Debug)]
struct PlatformForm {
    from: Option<i64>,
    to: Option<i64>,
}

impl Form for PlatformForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let from = fields.optional("from", day);
        let to = fields.optional("to", day);
        Some(Self { from: from?, to: to? })
    }
}

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
struct TotalsView {
    total: i64,
    suspended: i64,
    /// Since the first day.
    new: i64,
}

impl From<(i64, i64, i64)> for TotalsView {
    fn from((total, suspended, new): (i64, i64, i64)) -> Self {
        Self { total, suspended, new }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct BusyView {
    account_id: String,
    name: String,
    /// Over all the days.
    admitted: i64,
}

/// The platform in numbers.
#[derive(Debug, Serialize, ToSchema)]
struct PlatformView {
    /// The first day, as `2026-11-01`.
    from: String,
    /// The last day.
    to: String,
    accounts: TotalsView,
    /// Without those who were erased.
    users: TotalsView,
    /// Keys that were not revoked.
    keys: i64,
    /// Requests that the gateways admitted over all the days.
    admitted: i64,
    /// Every day from `from` to `to`.
    days: Vec<DayView>,
    /// The ten accounts with the most requests.
    busiest: Vec<BusyView>,
}

/// Read the platform's analytics
///
/// Accounts, people and keys as they are now, and what was admitted in a span of days (UTC).
#[utoipa::path(get, path = "/admin/analytics", operation_id = "admin_analytics", tag = "admin", params(PlatformParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The platform in numbers", body = Success<PlatformView>)))]
async fn read(State(api): State<Api>, _: Permit<AdminPlatform>, Query(form): Query<PlatformForm>) -> Answered {
    let to = form.to.unwrap_or_else(|| day_of(api.world.now_ms()));
    let from = form.from.unwrap_or(to - (DAYS_DEFAULT - 1));
    if !(0..DAYS_MAX).contains(&(to - from)) {
        let message = format!("must be on or after from, and at most {DAYS_MAX} days in all");
        return Err(ApiError::invalid(&[issue("to", "out_of_bounds", message)]));
    }
    let since = from.saturating_mul(DAY_MS);
    // Each counts much: beside each other.
    let (counted, busiest, accounts, users, keys) = tokio::try_join!(
        store::platform_days(&api.db, from, to),
        store::busiest(&api.db, from, to, BUSIEST_MAX),
        accounts::totals(&api.db, since),
        users::totals(&api.db, since),
        keys::count_all(&api.db),
    )?;
    let counted: HashMap<i64, i64> = counted.into_iter().map(|row| (row.day, row.admitted)).collect();
    let busy = |row: store::KeyTotal| BusyView { account_id: row.id, name: row.name, admitted: row.admitted };
    Answer::ok(&PlatformView {
        from: day_text(from),
        to: day_text(to),
        accounts: accounts.into(),
        users: users.into(),
        keys,
        admitted: counted.values().sum(),
        days: (from..=to).map(|day| DayView { date: day_text(day), admitted: counted.get(&day).copied().unwrap_or(0) }).collect(),
        busiest: busiest.into_iter().map(busy).collect(),
    })
}
