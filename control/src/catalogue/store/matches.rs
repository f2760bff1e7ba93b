//! One tier of a search: those that match, in the order that is asked for.

use super::{
    super::listing::{Place, Sort},
    Row,
    browse::Filter,
    search::Tier,
};
use crate::{
    apps::{Category, PriceModel},
    db::{self, Db, PerEngine, Wanted},
    http::Paging,
};

/// Apps that a search looks at: what it costs is bounded by it. The statement for PostgreSQL knows by this number that all that
/// match are to be looked at.
pub const MATCHES_MAX: i64 = 50_000;
/// Apps that are looked at in their order before those that match are looked for: words that many have are among them. Of
/// summaries, which are not stored as they are searched, it is fewer.
const FIRST_MAX: i64 = 500;
const FIRST_MAX_OF_SUMMARIES: i64 = 150;

/// The first `limit` of one tier, without those of the better one.
pub(super) async fn matches(
    db: &Db,
    wanted: &Wanted,
    (tier, better): (Tier, Option<Tier>),
    filter: Filter,
    sort: Sort,
    paging: Paging<Place>,
    limit: usize,
) -> db::Result<Vec<Row>> {
    let after = paging.cursor.map(|place| (place.key, place.number)).unzip();
    let sort = match sort {
        Sort::Popular => "popular",
        Sort::Newest => "newest",
        Sort::Trending => "trending",
        Sort::Rating => "rating",
        Sort::Relevance => "relevance",
    };
    let ask = async |looks_at: i64| {
        // $1 is what is wanted, $2 what the better tier's are left out by, $3 how many are looked at: all that match, or else the
        // first in their order. $4 is that order, $5 the tier's key, $6 to $10 the filter, $11 and $12 the place after which they
        // begin, $13 how many.
        db.query(PerEngine {
            sqlite: "SELECT sorted.sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name, l.summary,
                            l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count, l.rating_sum,
                            l.published_at, l.updated_at
                     FROM (
                         SELECT number, sort_key FROM (
                             SELECT l.number, CASE $4 WHEN 'popular' THEN l.installs WHEN 'newest' THEN l.published_at
                                                      WHEN 'trending' THEN l.trend WHEN 'rating' THEN l.rank
                                                      ELSE $5 + l.installs END AS sort_key
                             FROM (SELECT rowid AS number FROM app_search WHERE app_search MATCH $1 LIMIT $3) found
                             CROSS JOIN app_listings l ON l.number = found.number
                             WHERE l.listed
                               AND (CAST($2 AS TEXT) IS NULL OR l.number NOT IN (SELECT rowid FROM app_search WHERE app_search MATCH $2))
                               AND (CAST($6 AS TEXT) IS NULL OR l.category = $6)
                               AND (CAST($7 AS TEXT) IS NULL OR l.price_model = $7)
                               AND (CAST($8 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $8 AND l.rating_count > 0)
                               AND (CAST($9 AS BIGINT) IS NULL OR l.installs >= $9)
                               AND (NOT $10 OR l.featured_at IS NOT NULL)
                         ) keyed
                         WHERE CAST($11 AS BIGINT) IS NULL OR (sort_key, number) < ($11, $12)
                         ORDER BY sort_key DESC, number DESC
                         LIMIT $13
                     ) sorted
                     JOIN app_listings l ON l.number = sorted.number
                     JOIN accounts a ON a.id = l.account_id
                     ORDER BY sorted.sort_key DESC, l.number DESC",
            postgres: "SELECT sorted.sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name, l.summary,
                              l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count, l.rating_sum,
                              l.published_at, l.updated_at
                       FROM (
                           SELECT number, sort_key FROM (
                               SELECT l.number, CASE $4 WHEN 'popular' THEN l.installs WHEN 'newest' THEN l.published_at
                                                        WHEN 'trending' THEN l.trend WHEN 'rating' THEN l.rank
                                                        ELSE $5 + l.installs END AS sort_key
                               FROM (
                                   SELECT * FROM (
                                       (SELECT * FROM app_listings
                                        WHERE listed AND CAST($3 AS BIGINT) < 50000 AND $4 IN ('popular', 'relevance')
                                          AND (CAST($11 AS BIGINT) IS NULL OR (installs, number) < ($11 - $5, $12))
                                        ORDER BY installs DESC, number DESC LIMIT $3)
                                       UNION ALL
                                       (SELECT * FROM app_listings
                                        WHERE listed AND CAST($3 AS BIGINT) < 50000 AND $4 = 'newest'
                                          AND (CAST($11 AS BIGINT) IS NULL OR (published_at, number) < ($11 - $5, $12))
                                        ORDER BY published_at DESC, number DESC LIMIT $3)
                                       UNION ALL
                                       (SELECT * FROM app_listings
                                        WHERE listed AND CAST($3 AS BIGINT) < 50000 AND $4 = 'trending'
                                          AND (CAST($11 AS BIGINT) IS NULL OR (trend, number) < ($11 - $5, $12))
                                        ORDER BY trend DESC, number DESC LIMIT $3)
                                       UNION ALL
                                       (SELECT * FROM app_listings
                                        WHERE listed AND CAST($3 AS BIGINT) < 50000 AND $4 = 'rating'
                                          AND (CAST($11 AS BIGINT) IS NULL OR (rank, number) < ($11 - $5, $12))
                                        ORDER BY rank DESC, number DESC LIMIT $3)
                                   ) first
                                   WHERE CASE CAST($5 AS BIGINT)
                                             WHEN 0 THEN search @@ to_tsquery('simple', $1)
                                             ELSE to_tsvector('simple', words_name || ' ' || words_summary) @@ to_tsquery('simple', $1)
                                         END
                                   UNION ALL
                                   (SELECT * FROM (
                                       SELECT * FROM app_listings
                                       WHERE CAST($3 AS BIGINT) = 50000 AND CAST($5 AS BIGINT) = 2199023255552
                                         AND to_tsvector('simple', words_name) @@ to_tsquery('simple', $1)
                                       UNION ALL
                                       SELECT * FROM app_listings
                                       WHERE CAST($3 AS BIGINT) = 50000 AND CAST($5 AS BIGINT) = 1099511627776
                                         AND to_tsvector('simple', words_name || ' ' || words_summary) @@ to_tsquery('simple', $1)
                                       UNION ALL
                                       SELECT * FROM app_listings
                                       WHERE CAST($3 AS BIGINT) = 50000 AND CAST($5 AS BIGINT) = 0 AND search @@ to_tsquery('simple', $1)
                                   ) found LIMIT $3)
                               ) l
                               WHERE l.listed
                                 AND (CAST($2 AS TEXT) IS NULL OR l.number NOT IN (
                                     SELECT number FROM app_listings
                                     WHERE CAST($5 AS BIGINT) = 1099511627776 AND to_tsvector('simple', words_name) @@ to_tsquery('simple', $2)
                                     UNION ALL
                                     SELECT number FROM app_listings
                                     WHERE CAST($5 AS BIGINT) = 0
                                       AND to_tsvector('simple', words_name || ' ' || words_summary) @@ to_tsquery('simple', $2)))
                                 AND (CAST($6 AS TEXT) IS NULL OR l.category = $6)
                                 AND (CAST($7 AS TEXT) IS NULL OR l.price_model = $7)
                                 AND (CAST($8 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $8 AND l.rating_count > 0)
                                 AND (CAST($9 AS BIGINT) IS NULL OR l.installs >= $9)
                                 AND (NOT $10 OR l.featured_at IS NOT NULL)
                           ) keyed
                           WHERE CAST($11 AS BIGINT) IS NULL OR (sort_key, number) < ($11, $12)
                           ORDER BY sort_key DESC, number DESC
                           LIMIT $13
                       ) sorted
                       JOIN app_listings l ON l.number = sorted.number
                       JOIN accounts a ON a.id = l.account_id
                       ORDER BY sorted.sort_key DESC, l.number DESC",
        })
        .bind(tier.expression(wanted, db.engine()))
        .bind(better.map(|better| better.expression(wanted, db.engine())))
        .bind(looks_at)
        .bind(sort)
        .bind(tier.key())
        .bind(filter.category.map(Category::as_str))
        .bind(filter.price_model.map(PriceModel::as_str))
        .bind(filter.rating_min)
        .bind(filter.installs_min)
        .bind(filter.featured)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .all()
        .await
    };
    // Where the store looks at each that matches to put them in order, words that most apps have would cost most. Names have
    // few of those, and a page of them ends the search.
    if db.engine() == "postgres" && tier != Tier::Name {
        let looks_at = if tier == Tier::Anywhere { FIRST_MAX } else { FIRST_MAX_OF_SUMMARIES };
        let first = ask(looks_at).await?;
        if first.len() == limit {
            return Ok(first);
        }
    }
    ask(MATCHES_MAX).await
}
