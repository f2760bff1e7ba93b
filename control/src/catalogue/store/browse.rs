//! The catalogue without words: listings in an order that has an index, so that a page costs a page.

use super::{
    super::listing::{Listing, Place, Sort},
    Row,
};
use crate::{
    apps::{Category, PriceModel},
    db::{self, Db, Page, cut},
    http::Paging,
};

/// What listings must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub category: Option<Category>,
    pub price_model: Option<PriceModel>,
    /// The mean of the ratings in thousandths, at least. Apps that nobody has rated have none.
    pub rating_min: Option<i64>,
    pub installs_min: Option<i64>,
    pub featured: bool,
}

/// Those that are listed, in this order. [`Sort::Relevance`] without words is [`Sort::Popular`].
pub async fn browse(db: &Db, filter: Filter, sort: Sort, paging: Paging<Place>) -> db::Result<Page<Listing, Place>> {
    let query = match sort {
        Sort::Popular | Sort::Relevance => db.query(
            "SELECT l.installs AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug,
                    l.name, l.summary, l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs,
                    l.rating_count, l.rating_sum, l.published_at, l.updated_at
             FROM app_listings l JOIN accounts a ON a.id = l.account_id
             WHERE l.listed
               AND (CAST($1 AS TEXT) IS NULL OR l.category = $1)
               AND (CAST($2 AS TEXT) IS NULL OR l.price_model = $2)
               AND (CAST($3 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $3 AND l.rating_count > 0)
               AND (CAST($4 AS BIGINT) IS NULL OR l.installs >= $4)
               AND (NOT $5 OR l.featured_at IS NOT NULL)
               AND (CAST($6 AS BIGINT) IS NULL OR (l.installs, l.number) < ($6, $7))
             ORDER BY l.installs DESC, l.number DESC
             LIMIT $8 OFFSET $9",
        ),
        Sort::Newest => db.query(
            "SELECT l.published_at AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug,
                    l.name, l.summary, l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs,
                    l.rating_count, l.rating_sum, l.published_at, l.updated_at
             FROM app_listings l JOIN accounts a ON a.id = l.account_id
             WHERE l.listed
               AND (CAST($1 AS TEXT) IS NULL OR l.category = $1)
               AND (CAST($2 AS TEXT) IS NULL OR l.price_model = $2)
               AND (CAST($3 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $3 AND l.rating_count > 0)
               AND (CAST($4 AS BIGINT) IS NULL OR l.installs >= $4)
               AND (NOT $5 OR l.featured_at IS NOT NULL)
               AND (CAST($6 AS BIGINT) IS NULL OR (l.published_at, l.number) < ($6, $7))
             ORDER BY l.published_at DESC, l.number DESC
             LIMIT $8 OFFSET $9",
        ),
        Sort::Trending => db.query(
            "SELECT l.trend AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug,
                    l.name, l.summary, l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs,
                    l.rating_count, l.rating_sum, l.published_at, l.updated_at
             FROM app_listings l JOIN accounts a ON a.id = l.account_id
             WHERE l.listed
               AND (CAST($1 AS TEXT) IS NULL OR l.category = $1)
               AND (CAST($2 AS TEXT) IS NULL OR l.price_model = $2)
               AND (CAST($3 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $3 AND l.rating_count > 0)
               AND (CAST($4 AS BIGINT) IS NULL OR l.installs >= $4)
               AND (NOT $5 OR l.featured_at IS NOT NULL)
               AND (CAST($6 AS BIGINT) IS NULL OR (l.trend, l.number) < ($6, $7))
             ORDER BY l.trend DESC, l.number DESC
             LIMIT $8 OFFSET $9",
        ),
        Sort::Rating => db.query(
            "SELECT l.rank AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug,
                    l.name, l.summary, l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs,
                    l.rating_count, l.rating_sum, l.published_at, l.updated_at
             FROM app_listings l JOIN accounts a ON a.id = l.account_id
             WHERE l.listed
               AND (CAST($1 AS TEXT) IS NULL OR l.category = $1)
               AND (CAST($2 AS TEXT) IS NULL OR l.price_model = $2)
               AND (CAST($3 AS BIGINT) IS NULL OR l.rating_sum * 1000 >= l.rating_count * $3 AND l.rating_count > 0)
               AND (CAST($4 AS BIGINT) IS NULL OR l.installs >= $4)
               AND (NOT $5 OR l.featured_at IS NOT NULL)
               AND (CAST($6 AS BIGINT) IS NULL OR (l.rank, l.number) < ($6, $7))
             ORDER BY l.rank DESC, l.number DESC
             LIMIT $8 OFFSET $9",
        ),
    };
    let after = paging.cursor.map(|place| (place.key, place.number)).unzip();
    let rows = query
        .bind(filter.category.map(Category::as_str))
        .bind(filter.price_model.map(PriceModel::as_str))
        .bind(filter.rating_min)
        .bind(filter.installs_min)
        .bind(filter.featured)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    page(rows, paging.limit)
}

pub(in super::super) fn page(rows: Vec<Row>, limit: u32) -> db::Result<Page<Listing, Place>> {
    let Page { items, next } = cut(rows, limit, Row::place);
    let items = items.into_iter().map(Listing::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(Page { items, next })
}

/// How many are listed in each category.
pub(in super::super) async fn categories(db: &Db) -> db::Result<Vec<(String, i64)>> {
    db.query("SELECT category, count(*) FROM app_listings WHERE listed GROUP BY category ORDER BY category LIMIT 100").all().await
}
