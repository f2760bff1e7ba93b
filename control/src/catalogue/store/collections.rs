//! Collections: apps that belong together, chosen by whoever runs the catalogue. And every statement on them.

use std::{fmt, str::FromStr};

use clearway_config::AppId;
use sqlx::FromRow;

use super::{super::listing::Listing, Row};
use crate::db::{self, Db, On, Tx};

/// Collections at most.
pub(in super::super) const COLLECTIONS_MAX: i64 = 100;
/// Apps of one collection.
pub(in super::super) const APPS_MAX: usize = 50;
const SLUG_CHARS_MAX: usize = 60;

/// What a collection is called in its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Slug(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {SLUG_CHARS_MAX} letters a to z, digits and -")]
pub(in super::super) struct MalformedSlug;

impl FromStr for Slug {
    type Err = MalformedSlug;

    fn from_str(text: &str) -> Result<Self, MalformedSlug> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=SLUG_CHARS_MAX).contains(&text.len()) && text.bytes().all(good);
        if fits { Ok(Self(text.to_owned())) } else { Err(MalformedSlug) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(in super::super) struct Collection {
    pub(in super::super) slug: String,
    pub(in super::super) title: String,
    pub(in super::super) summary: String,
    /// Where it stands among the others, from the smallest.
    pub(in super::super) position: i64,
    pub(in super::super) version: i64,
    pub(in super::super) created_at: i64,
    pub(in super::super) updated_at: i64,
}

/// In their order.
pub(in super::super) async fn list(db: &Db) -> db::Result<Vec<Collection>> {
    db.query(
        "SELECT slug, title, summary, position, version, created_at, updated_at FROM app_collections
         ORDER BY position, slug LIMIT $1",
    )
    .bind(COLLECTIONS_MAX)
    .all()
    .await
}

pub(in super::super) async fn find<'c>(on: impl On<'c>, slug: &Slug) -> db::Result<Option<Collection>> {
    on.query("SELECT slug, title, summary, position, version, created_at, updated_at FROM app_collections WHERE slug = $1")
        .bind(slug.to_string())
        .optional()
        .await
}

pub(in super::super) async fn count(tx: &mut Tx) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM app_collections").scalar().await
}

/// Its apps that are listed, in its order.
pub(in super::super) async fn apps<'c>(on: impl On<'c>, slug: &Slug) -> db::Result<Vec<Listing>> {
    let rows = on
        .query(
            "SELECT e.position AS sort_key, l.number, l.app_id, l.account_id, a.name AS developer, l.slug, l.name, l.summary,
                    l.category, l.price_model, l.details, l.listed, l.featured_at, l.installs, l.rating_count, l.rating_sum,
                    l.published_at, l.updated_at
             FROM app_collection_entries e
             JOIN app_listings l ON l.app_id = e.app_id
             JOIN accounts a ON a.id = l.account_id
             WHERE e.collection = $1 AND l.listed
             ORDER BY e.position
             LIMIT 50",
        )
        .bind(slug.to_string())
        .all::<Row>()
        .await?;
    rows.into_iter().map(Listing::try_from).collect()
}

/// Writes it and its apps, in place of those there were.
pub(in super::super) async fn put(tx: &mut Tx, collection: &Collection, apps: &[AppId]) -> db::Result<()> {
    let of = collection.clone();
    tx.query(
        "INSERT INTO app_collections (slug, title, summary, position, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (slug) DO UPDATE
         SET title = excluded.title, summary = excluded.summary, position = excluded.position, version = excluded.version,
             updated_at = excluded.updated_at",
    )
    .bind(of.slug.clone())
    .bind(of.title)
    .bind(of.summary)
    .bind(of.position)
    .bind(of.version)
    .bind(of.created_at)
    .bind(of.updated_at)
    .execute()
    .await?;
    clear(tx, &of.slug).await?;
    for (position, app) in (1_i64..).zip(apps) {
        tx.query("INSERT INTO app_collection_entries (collection, app_id, position) VALUES ($1, $2, $3)")
            .bind(of.slug.clone())
            .bind(app.to_string())
            .bind(position)
            .execute()
            .await?;
    }
    Ok(())
}

pub(in super::super) async fn delete(tx: &mut Tx, slug: &Slug) -> db::Result<()> {
    clear(tx, &slug.to_string()).await?;
    tx.query("DELETE FROM app_collections WHERE slug = $1").bind(slug.to_string()).execute().await.map(|_| ())
}

async fn clear(tx: &mut Tx, slug: &str) -> db::Result<()> {
    tx.query("DELETE FROM app_collection_entries WHERE collection = $1").bind(slug.to_owned()).execute().await.map(|_| ())
}
