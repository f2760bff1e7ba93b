//! What is trending: installs of the last 14 days, counted anew now and then, because days pass without anything happening.

use crate::{
    db::{self, Db},
    world::World,
};

/// Days that count.
const DAYS: i64 = 14;
/// Listings that one sweep changes.
const BATCH: i64 = 500;
pub(in super::super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Corrects what days have changed; how many listings that was.
pub async fn sweep(db: &Db, world: &World) -> db::Result<u64> {
    let since = world.now_ms() / DAY_MS - DAYS;
    db.query(
        "UPDATE app_listings
         SET trend = (SELECT CAST(coalesce(sum(d.installs), 0) AS BIGINT) FROM app_days d
                      WHERE d.app_id = app_listings.app_id AND d.day > $1)
         WHERE number IN (
             SELECT l.number FROM app_listings l
             WHERE l.trend <> (SELECT CAST(coalesce(sum(d.installs), 0) AS BIGINT) FROM app_days d
                               WHERE d.app_id = l.app_id AND d.day > $1)
             LIMIT $2)",
    )
    .bind(since)
    .bind(BATCH)
    .execute()
    .await
}
