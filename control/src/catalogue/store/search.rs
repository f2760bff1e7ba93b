//! Searching by words, and what to suggest while somebody types.

use super::{
    super::listing::{Listing, Place, Sort},
    Row,
    browse::{Filter, page},
};
use crate::{
    apps::{Category, PriceModel},
    db::{self, Db, Page, PerEngine, Wanted},
    http::Paging,
};

/// Apps that a search looks at: what it costs is bounded by it.
pub const MATCHES_MAX: i64 = 50_000;
/// Apps that are suggested.
pub(in super::super) const SUGGESTIONS_MAX: i64 = 10;

/// How well an app matches: by where all the words are that are wanted. Among those that match as well as each other the
/// most installed comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Anywhere,
    Summary,
    Name,
}

/// Less than this many installations an app has.
const TIER: i64 = 1 << 40;

impl Tier {
    /// The best first.
    const ALL: [Self; 3] = [Self::Name, Self::Summary, Self::Anywhere];

    fn key(self) -> i64 {
        self as i64 * TIER
    }

    /// What matches so well or better.
    fn expression(self, wanted: &Wanted, engine: &str) -> String {
        match self {
            Self::Anywhere => wanted.anywhere(engine),
            Self::Summary => wanted.within(engine, "{words_name words_summary}", "AB"),
            Self::Name => wanted.within(engine, "words_name", "A"),
        }
    }
}

/// Those that are listed and hold a word for each that is wanted, which begins with it.
pub async fn search(
    db: &Db,
    wanted: &Wanted,
    filter: Filter,
    sort: Sort,
    paging: Paging<Place>,
) -> db::Result<Page<Listing, Place>> {
    let tiers = if sort == Sort::Relevance { &Tier::ALL[..] } else { &[Tier::Anywhere] };
    let needed = paging.offset as usize + paging.limit as usize + 1;
    let (mut rows, mut better) = (Vec::new(), None);
    for &tier in tiers {
        let is_before = paging.cursor.is_some_and(|place| sort == Sort::Relevance && place.key < tier.key());
        if !is_before {
            rows.extend(matches(db, wanted, (tier, better), filter, sort, paging, needed - rows.len()).await?);
        }
        if rows.len() == needed {
            break;
        }
        better = Some(tier);
    }
    rows.drain(..rows.len().min(paging.offset as usize));
    page(rows, paging.limit)
}

/// The first `limit` of one tier, without those of the better one.
async fn matches(
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
                           FROM (SELECT * FROM app_listings WHERE search @@ to_tsquery('simple', $1) LIMIT $3) l
                           WHERE l.listed
                             AND (CAST($2 AS TEXT) IS NULL OR NOT l.search @@ to_tsquery('simple', $2))
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
    .bind(MATCHES_MAX)
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
}

/// Id, slug and name of apps whose name has a word for each that is wanted, the most installed first.
pub async fn suggest(db: &Db, wanted: &Wanted) -> db::Result<Vec<(String, String, String)>> {
    db.query(PerEngine {
        sqlite: "SELECT l.app_id, l.slug, l.name
                 FROM (SELECT rowid AS number FROM app_search WHERE app_search MATCH $1 LIMIT $2) found
                 CROSS JOIN app_listings l ON l.number = found.number
                 WHERE l.listed
                 ORDER BY l.installs DESC, l.number DESC
                 LIMIT $3",
        postgres: "SELECT l.app_id, l.slug, l.name
                   FROM (SELECT * FROM app_listings WHERE search @@ to_tsquery('simple', $1) LIMIT $2) l
                   WHERE l.listed
                   ORDER BY l.installs DESC, l.number DESC
                   LIMIT $3",
    })
    .bind(Tier::Name.expression(wanted, db.engine()))
    .bind(MATCHES_MAX)
    .bind(SUGGESTIONS_MAX)
    .all()
    .await
}
