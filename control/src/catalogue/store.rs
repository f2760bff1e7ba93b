//! What writes to `app_listings`, and reading one of them. How many are found is in [`browse`] and [`search`].

pub(super) mod browse;
pub(super) mod collections;
pub(super) mod days;
mod matches;
pub(super) mod search;
pub(super) mod trend;

use clearway_config::{AccountId, AppId};
use sqlx::{FromRow, types::Json};

use super::listing::{Details, Entry, Listing, Place, number_of, rank};
use crate::db::{self, On, PerEngine, Tx, folded};

/// A listing with what it is sorted by. The name of its developer comes from the account.
#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub(super) sort_key: i64,
    pub(super) number: i64,
    app_id: String,
    account_id: String,
    developer: String,
    slug: String,
    name: String,
    summary: String,
    category: String,
    price_model: String,
    details: Json<Details>,
    listed: bool,
    featured_at: Option<i64>,
    installs: i64,
    rating_count: i64,
    rating_sum: i64,
    published_at: i64,
    updated_at: i64,
}

/// Writes what an app's page shows from now on; its counts stay.
pub async fn put(tx: &mut Tx, entry: &Entry<'_>) -> db::Result<()> {
    let (content, details) = (entry.content, entry.details());
    let rest = [&content.category.title().to_owned(), &content.features.join(" "), &content.description];
    let rest = rest.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    tx.query(
        "INSERT INTO app_listings
             (number, app_id, account_id, slug, name, summary, category, price_model, details, words_name, words_summary,
              words_rest, listed, installs, trend, rating_count, rating_sum, rank, published_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, TRUE, 0, 0, 0, 0, $13, $14, $14)
         ON CONFLICT (app_id) DO UPDATE
         SET name = excluded.name, summary = excluded.summary, category = excluded.category,
             price_model = excluded.price_model, details = excluded.details, words_name = excluded.words_name,
             words_summary = excluded.words_summary, words_rest = excluded.words_rest, updated_at = excluded.updated_at",
    )
    .bind(number_of(entry.app_id))
    .bind(entry.app_id.to_string())
    .bind(entry.account_id.to_string())
    .bind(entry.slug.to_owned())
    .bind(content.name.clone())
    .bind(content.summary.clone())
    .bind(content.category.as_str())
    .bind(content.pricing.model.as_str())
    .bind(Json(details))
    .bind(folded(&content.name))
    .bind(folded(&content.summary))
    .bind(folded(&rest))
    .bind(rank(0, 0))
    .bind(entry.now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// Whether it is found and can be installed.
pub async fn set_listed(tx: &mut Tx, id: AppId, listed: bool) -> db::Result<()> {
    tx.query("UPDATE app_listings SET listed = $2 WHERE app_id = $1")
        .bind(id.to_string())
        .bind(listed)
        .execute()
        .await
        .map(|_| ())
}

/// Since when it is featured; false where there is no listing.
pub async fn set_featured(tx: &mut Tx, id: AppId, featured_at: Option<i64>) -> db::Result<bool> {
    let changed = tx
        .query("UPDATE app_listings SET featured_at = $2 WHERE app_id = $1")
        .bind(id.to_string())
        .bind(featured_at)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Counts an installation (1), or one that ended (-1).
pub async fn installed(tx: &mut Tx, id: AppId, by: i64) -> db::Result<()> {
    tx.query(
        "UPDATE app_listings
         SET installs = installs + $2, trend = trend + CASE WHEN CAST($2 AS BIGINT) > 0 THEN $2 ELSE 0 END
         WHERE app_id = $1",
    )
    .bind(id.to_string())
    .bind(by)
    .execute()
    .await
    .map(|_| ())
}

/// Counts ratings that came or went: how many more, and by how much their sum is more. Call it with the listing locked.
pub async fn rated(tx: &mut Tx, id: AppId, count: i64, sum: i64) -> db::Result<()> {
    let (old_count, old_sum): (i64, i64) =
        tx.query("SELECT rating_count, rating_sum FROM app_listings WHERE app_id = $1").bind(id.to_string()).one().await?;
    let (count, sum) = (old_count + count, old_sum + sum);
    tx.query("UPDATE app_listings SET rating_count = $2, rating_sum = $3, rank = $4 WHERE app_id = $1")
        .bind(id.to_string())
        .bind(count)
        .bind(sum)
        .bind(rank(count, sum))
        .execute()
        .await
        .map(|_| ())
}

/// An app by its id or its slug, whether it is listed or not.
pub async fn find<'c>(on: impl On<'c>, id_or_slug: &str) -> db::Result<Option<Listing>> {
    let row = on
        .query(
            "SELECT CAST(0 AS BIGINT) AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name,
                    l.summary, l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count,
                    l.rating_sum, l.published_at, l.updated_at
             FROM app_listings l JOIN accounts a ON a.id = l.account_id
             WHERE l.app_id = $1 OR l.slug = $1",
        )
        .bind(id_or_slug.to_owned())
        .optional::<Row>()
        .await?;
    row.map(Listing::try_from).transpose()
}

/// [`find`], and nobody else changes it, its installations or its reviews until this transaction ends.
pub async fn lock(tx: &mut Tx, id: AppId) -> db::Result<Option<Listing>> {
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT number FROM app_listings WHERE app_id = $1",
            postgres: "SELECT number FROM app_listings WHERE app_id = $1 FOR UPDATE",
        })
        .bind(id.to_string())
        .optional::<(i64,)>()
        .await?;
    match locked {
        Some(_) => find(tx, &id.to_string()).await,
        None => Ok(None),
    }
}

impl Row {
    pub(super) fn place(&self) -> Place {
        Place { key: self.sort_key, number: self.number }
    }
}

impl TryFrom<Row> for Listing {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        let account_id: AccountId = db::decode("app_listings.account_id", &row.account_id)?;
        Ok(Self {
            app_id: db::decode("app_listings.app_id", &row.app_id)?,
            account_id,
            developer: row.developer,
            slug: row.slug,
            name: row.name,
            summary: row.summary,
            category: db::decode("app_listings.category", &row.category)?,
            price_model: db::decode("app_listings.price_model", &row.price_model)?,
            details: row.details.0,
            listed: row.listed,
            featured_at: row.featured_at,
            installs: row.installs,
            rating_count: row.rating_count,
            rating_sum: row.rating_sum,
            published_at: row.published_at,
            updated_at: row.updated_at,
        })
    }
}
