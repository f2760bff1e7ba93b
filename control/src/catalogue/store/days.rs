//! What happened to an app, by day: for its developer, and for what is trending. And every statement on `app_days`.

use clearway_config::AppId;
use sqlx::FromRow;

use super::trend::DAY_MS;
use crate::db::{self, On, Tx};

/// Counts of one day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    pub installs: i64,
    pub uninstalls: i64,
    /// Ratings that were given; not those that were changed or taken back.
    pub reviews: i64,
    pub rating_sum: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(in super::super) struct Counted {
    /// Days since 1970 UTC.
    pub(in super::super) day: i64,
    pub(in super::super) installs: i64,
    pub(in super::super) uninstalls: i64,
    pub(in super::super) reviews: i64,
    pub(in super::super) rating_sum: i64,
}

/// Adds to what happened today.
pub async fn note(tx: &mut Tx, app: AppId, now_ms: i64, more: Day) -> db::Result<()> {
    tx.query(
        "INSERT INTO app_days (app_id, day, installs, uninstalls, reviews, rating_sum) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (app_id, day) DO UPDATE
         SET installs = app_days.installs + excluded.installs, uninstalls = app_days.uninstalls + excluded.uninstalls,
             reviews = app_days.reviews + excluded.reviews, rating_sum = app_days.rating_sum + excluded.rating_sum",
    )
    .bind(app.to_string())
    .bind(now_ms / DAY_MS)
    .bind(more.installs)
    .bind(more.uninstalls)
    .bind(more.reviews)
    .bind(more.rating_sum)
    .execute()
    .await
    .map(|_| ())
}

/// Days on which something happened, from `first` on.
pub(in super::super) async fn since<'c>(on: impl On<'c>, app: AppId, first: i64, limit: i64) -> db::Result<Vec<Counted>> {
    on.query(
        "SELECT day, installs, uninstalls, reviews, rating_sum FROM app_days
         WHERE app_id = $1 AND day >= $2
         ORDER BY day LIMIT $3",
    )
    .bind(app.to_string())
    .bind(first)
    .bind(limit)
    .all()
    .await
}
