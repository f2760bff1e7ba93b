//! Searching by words, and what to suggest while somebody types.

use super::{
    super::listing::{Listing, Place, Sort},
    browse::{Filter, page},
};
use crate::{
    apps::{Category, PriceModel},
    db::{self, Db, Page, PerEngine, Wanted},
    http::Paging,
};

/// The apps that match best, which are sorted and filtered then: what a search costs is bounded by it.
pub const CANDIDATES_MAX: i64 = 1_000;
/// Apps that are suggested.
pub(in super::super) const SUGGESTIONS_MAX: i64 = 10;

/// Those that are listed and hold a word for each that is wanted, which begins with it.
pub async fn search(
    db: &Db,
    wanted: &Wanted,
    filter: Filter,
    sort: Sort,
    paging: Paging<Place>,
) -> db::Result<Page<Listing, Place>> {
    let after = paging.cursor.map(|place| (place.key, place.number)).unzip();
    let sort = match sort {
        Sort::Popular => "popular",
        Sort::Newest => "newest",
        Sort::Trending => "trending",
        Sort::Rating => "rating",
        Sort::Relevance => "relevance",
    };
    let rows = db
        .query(PerEngine {
            sqlite: "SELECT sort_key, number, app_id, account_id, developer, slug, name, summary, category, price_model, details,
                            listed, featured_at, installs, rating_count, rating_sum, published_at, updated_at
                     FROM (
                         SELECT CASE $3 WHEN 'popular' THEN l.installs WHEN 'newest' THEN l.published_at WHEN 'trending' THEN l.trend
                                        WHEN 'rating' THEN l.rank ELSE found.relevance END AS sort_key,
                             l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name, l.summary,
                             l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count,
                             l.rating_sum, l.published_at, l.updated_at
                         FROM (
                             SELECT rowid AS number, CAST(-1e12 * rank AS INTEGER) AS relevance
                             FROM app_search WHERE app_search MATCH $1 ORDER BY rank LIMIT $2
                         ) found
                         JOIN app_listings l ON l.number = found.number
                         JOIN accounts a ON a.id = l.account_id
                         WHERE l.listed
                           AND (CAST($4 AS TEXT) IS NULL OR l.category = $4)
                           AND (CAST($5 AS TEXT) IS NULL OR l.price_model = $5)
                           AND (CAST($6 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $6 AND l.rating_count > 0)
                           AND (CAST($7 AS BIGINT) IS NULL OR l.installs >= $7)
                           AND (NOT $8 OR l.featured_at IS NOT NULL)
                     ) sorted
                     WHERE CAST($9 AS BIGINT) IS NULL OR (sort_key, number) < ($9, $10)
                     ORDER BY sort_key DESC, number DESC
                     LIMIT $11 OFFSET $12",
            postgres: "SELECT sort_key, number, app_id, account_id, developer, slug, name, summary, category, price_model, details,
                            listed, featured_at, installs, rating_count, rating_sum, published_at, updated_at
                     FROM (
                         SELECT CASE $3 WHEN 'popular' THEN l.installs WHEN 'newest' THEN l.published_at WHEN 'trending' THEN l.trend
                                        WHEN 'rating' THEN l.rank ELSE found.relevance END AS sort_key,
                             l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name, l.summary,
                             l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count,
                             l.rating_sum, l.published_at, l.updated_at
                         FROM (
                             SELECT number,
                                 CAST(1000000 * ts_rank('{0.1, 0.1, 0.4, 1.0}', search, to_tsquery('simple', $1)) AS BIGINT) AS relevance
                             FROM app_listings WHERE search @@ to_tsquery('simple', $1) ORDER BY 2 DESC LIMIT $2
                         ) found
                         JOIN app_listings l ON l.number = found.number
                         JOIN accounts a ON a.id = l.account_id
                         WHERE l.listed
                           AND (CAST($4 AS TEXT) IS NULL OR l.category = $4)
                           AND (CAST($5 AS TEXT) IS NULL OR l.price_model = $5)
                           AND (CAST($6 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $6 AND l.rating_count > 0)
                           AND (CAST($7 AS BIGINT) IS NULL OR l.installs >= $7)
                           AND (NOT $8 OR l.featured_at IS NOT NULL)
                     ) sorted
                     WHERE CAST($9 AS BIGINT) IS NULL OR (sort_key, number) < ($9, $10)
                     ORDER BY sort_key DESC, number DESC
                     LIMIT $11 OFFSET $12",
        })
        .bind(wanted.anywhere(db.engine()))
        .bind(CANDIDATES_MAX)
        .bind(sort)
        .bind(filter.category.map(Category::as_str))
        .bind(filter.price_model.map(PriceModel::as_str))
        .bind(filter.rating_min)
        .bind(filter.installs_min)
        .bind(filter.featured)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all()
        .await?;
    page(rows, paging.limit)
}

/// Id, slug and name of apps whose name has a word for each that is wanted, the most installed first.
pub async fn suggest(db: &Db, wanted: &Wanted) -> db::Result<Vec<(String, String, String)>> {
    db.query(PerEngine {
        sqlite: "SELECT l.app_id, l.slug, l.name
                 FROM (SELECT rowid AS number FROM app_search WHERE app_search MATCH $1 ORDER BY rank LIMIT $2) found
                 JOIN app_listings l ON l.number = found.number
                 WHERE l.listed
                 ORDER BY l.installs DESC, l.number DESC
                 LIMIT $3",
        postgres: "SELECT l.app_id, l.slug, l.name
                   FROM (SELECT number FROM app_listings WHERE search @@ to_tsquery('simple', $1) LIMIT $2) found
                   JOIN app_listings l ON l.number = found.number
                   WHERE l.listed
                   ORDER BY l.installs DESC, l.number DESC
                   LIMIT $3",
    })
    .bind(wanted.within(db.engine(), "words_name", "A"))
    .bind(CANDIDATES_MAX)
    .bind(SUGGESTIONS_MAX)
    .all()
    .await
}
