//! How an app fares, for its developer.

use axum::extract::State as Given;
use clearway_config::{AppId, envelope::Success};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::store::{
        self,
        days::{self, Counted},
        trend::DAY_MS,
    },
    view::rating,
};
use crate::{
    apps,
    http::{Answer, Answered, Api, ApiError, Fields, Form, Id, Permit, Query, ReadApps, fields::number, time::rfc3339},
};

const DAYS_DEFAULT: u64 = 30;
const DAYS_MAX: u64 = 365;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(analytics))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct DaysParams {
    /// Up to and with today, 1 to 365; 30 when left out.
    #[param(minimum = 1, maximum = 365)]
    days: Option<u32>,
}

#[derive(Debug)]
struct DaysForm {
    days: i64,
}

impl Form for DaysForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let days = fields.optional("days", number(1, DAYS_MAX))?.unwrap_or(DAYS_DEFAULT);
        Some(Self { days: i64::try_from(days).unwrap_or(1) })
    }
}

/// What happened in a while.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"days": 30, "installs": 42, "uninstalls": 8, "reviews": 9, "average_rating": 4.8,
    "total": {"installs": 1203, "reviews": 124, "rating": 4.8},
    "series": [{"day": "2026-11-20", "installs": 2, "uninstalls": 0, "reviews": 1, "average_rating": 5.0}]}))]
struct AnalyticsView {
    days: i64,
    installs: i64,
    uninstalls: i64,
    /// Ratings that were given.
    reviews: i64,
    /// Of those; null without any.
    average_rating: Option<f64>,
    total: TotalView,
    /// Days on which something happened, in order.
    series: Vec<DayView>,
}

/// As it is now.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct TotalView {
    /// Accounts that have the app.
    installs: i64,
    reviews: i64,
    rating: Option<f64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = AppDayView)]
struct DayView {
    /// Of UTC.
    day: String,
    installs: i64,
    uninstalls: i64,
    reviews: i64,
    average_rating: Option<f64>,
}

impl From<&Counted> for DayView {
    fn from(of: &Counted) -> Self {
        Self {
            day: rfc3339(of.day * DAY_MS).chars().take(10).collect(),
            installs: of.installs,
            uninstalls: of.uninstalls,
            reviews: of.reviews,
            average_rating: rating(of.reviews, of.rating_sum),
        }
    }
}

/// Read how an app fares
///
/// Installs, uninstalls and ratings by day.
#[utoipa::path(get, path = "/developer/apps/{id}/analytics", operation_id = "developer_apps_analytics", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"), DaysParams), security(("key" = ["read:apps"])),
    responses((status = 200, description = "What happened", body = Success<AnalyticsView>)))]
async fn analytics(
    Given(api): Given<Api>,
    caller: Permit<ReadApps>,
    Id(id): Id<AppId>,
    Query(DaysForm { days: asked }): Query<DaysForm>,
) -> Answered {
    let app = apps::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let first = api.world.now_ms() / DAY_MS - asked + 1;
    let counted = days::since(&api.db, app.id, first, asked + 1).await?;
    let listing = store::find(&api.db, &app.id.to_string()).await?;
    let total = |of: fn(&Counted) -> i64| counted.iter().map(of).sum::<i64>();
    let reviews = total(|day| day.reviews);
    Answer::ok(&AnalyticsView {
        days: asked,
        installs: total(|day| day.installs),
        uninstalls: total(|day| day.uninstalls),
        reviews,
        average_rating: rating(reviews, total(|day| day.rating_sum)),
        total: TotalView {
            installs: listing.as_ref().map_or(0, |listing| listing.installs),
            reviews: listing.as_ref().map_or(0, |listing| listing.rating_count),
            rating: listing.and_then(|listing| rating(listing.rating_count, listing.rating_sum)),
        },
        series: counted.iter().map(DayView::from).collect(),
    })
}
