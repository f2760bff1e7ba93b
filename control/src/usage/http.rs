//! `GET /analytics/usage`.

use std::collections::HashMap;

use axum::extract::State;
use clearway_config::{AccountId, KeyId, envelope::Success};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{platform, store};
use crate::http::{
    Answer, Answered, Api, ApiError, Fields, Form, Paging, Permit, Query, ReadAnalytics,
    fields::parsed,
    issue,
    time::{day, day_of, day_text},
};

/// Days that one question may span.
const DAYS_MAX: i64 = 400;
/// Days, up to today, when the question names none.
const DAYS_DEFAULT: i64 = 30;

pub fn routes() -> OpenApiRouter<Api> {
    aliases().merge(platform::routes())
}

/// What seed 001 has under `/marketplace` too.
pub fn aliases() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(usage))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct UsageParams {
    /// The first day, such as `2026-11-01`; 29 days before `to` when left out.
    from: Option<String>,
    /// The last day; today (UTC) when left out. At most 400 days from `from` to `to`.
    to: Option<String>,
    /// Another account's usage; for admins.
    account_id: Option<String>,
    /// Only this key: `days` and `total` are then its own.
    key_id: Option<String>,
    /// Keys on a page, 1 to 100; 20 when left out.
    limit: Option<u32>,
    /// Where an earlier page of keys ended.
    cursor: Option<String>,
}

#[derive(Debug)]
struct UsageForm {
    from: Option<i64>,
    to: Option<i64>,
    account_id: Option<AccountId>,
    key_id: Option<KeyId>,
    paging: Paging<KeyId>,
}

impl Form for UsageForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let from = fields.optional("from", day);
        let to = fields.optional("to", day);
        let account_id = fields.optional("account_id", parsed);
        let key_id = fields.optional("key_id", parsed);
        let paging = Paging::read(fields);
        if paging.as_ref().is_some_and(|paging: &Paging<KeyId>| paging.offset > 0) {
            fields.refuse("offset", ("unknown", "is not known here; use cursor".into()));
        }
        Some(Self { from: from?, to: to?, account_id: account_id?, key_id: key_id?, paging: paging? })
    }
}

/// Requests admitted by the gateway. The same count enforces quotas.
#[derive(Debug, Serialize, ToSchema)]
struct UsageView {
    #[schema(value_type = String)]
    account_id: AccountId,
    /// The first day, as `2026-11-01`.
    from: String,
    /// The last day.
    to: String,
    /// Over all the days.
    total: i64,
    /// Every day from `from` to `to`.
    days: Vec<DayView>,
    /// The keys that were used in these days, newest first.
    keys: Vec<KeyUsageView>,
    /// Ask for more keys with `cursor` set to this; null on the last page.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageDayView)]
pub(super) struct DayView {
    /// A UTC date.
    pub(super) date: String,
    pub(super) admitted: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyUsageView {
    id: String,
    name: String,
    /// Over all the days.
    admitted: i64,
}

/// Read usage
///
/// Requests admitted per day (UTC) and per key, summed over every proxy.
#[utoipa::path(get, path = "/analytics/usage", operation_id = "usage_read", tag = "analytics", params(UsageParams),
    security(("key" = ["read:analytics"])),
    responses((status = 200, description = "Usage per day and per key", body = Success<UsageView>)))]
async fn usage(State(api): State<Api>, caller: Permit<ReadAnalytics>, Query(form): Query<UsageForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let to = form.to.unwrap_or_else(|| day_of(api.world.now_ms()));
    let from = form.from.unwrap_or(to - (DAYS_DEFAULT - 1));
    if !(0..DAYS_MAX).contains(&(to - from)) {
        let message = format!("must be on or after from, and at most {DAYS_MAX} days in all");
        return Err(ApiError::invalid(&[issue("to", "out_of_bounds", message)]));
    }
    let counted = match form.key_id {
        None => store::account_days(&api.db, account, from, to).await?,
        Some(key) => store::key_days(&api.db, account, key, from, to).await?,
    };
    let keys = match form.key_id {
        None => store::keys(&api.db, account, from, to, form.paging.cursor, form.paging.limit).await?,
        Some(_) => crate::db::Page { items: Vec::new(), next: None },
    };
    let counted: HashMap<i64, i64> = counted.into_iter().map(|row| (row.day, row.admitted)).collect();
    let view = |key: store::KeyTotal| KeyUsageView { id: key.id, name: key.name, admitted: key.admitted };
    Answer::ok(&UsageView {
        account_id: account,
        from: day_text(from),
        to: day_text(to),
        total: counted.values().sum(),
        days: (from..=to).map(|day| DayView { date: day_text(day), admitted: counted.get(&day).copied().unwrap_or(0) }).collect(),
        keys: keys.items.into_iter().map(view).collect(),
        next_cursor: keys.next,
    })
}
