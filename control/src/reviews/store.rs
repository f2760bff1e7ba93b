//! Every statement on `app_reviews` and `app_review_reports`.

use clearway_config::{AccountId, AppId, ReviewId};
use sqlx::FromRow;

use super::model::Review;
use crate::{
    db::{self, On, Page, Tx, cut},
    http::Paging,
};

/// Who wrote what an erased person had written.
const ERASED: &str = "erased";

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    app_id: String,
    account_id: String,
    account_name: String,
    author: String,
    rating: i64,
    comment: String,
    reply: Option<String>,
    replied_at: Option<i64>,
    reports: i64,
    hidden_at: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

/// A conflict (`app_reviews_app_id_account_id_key`) where the account has written one.
pub(super) async fn insert(tx: &mut Tx, review: &Review) -> db::Result<()> {
    let of = review.clone();
    tx.query(
        "INSERT INTO app_reviews (id, app_id, account_id, author, rating, comment, reports, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $8)",
    )
    .bind(of.id.to_string())
    .bind(of.app_id.to_string())
    .bind(of.account_id.to_string())
    .bind(of.author)
    .bind(of.rating)
    .bind(of.comment)
    .bind(of.version)
    .bind(of.created_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, review: &Review) -> db::Result<()> {
    let of = review.clone();
    let changed = tx
        .query(
            "UPDATE app_reviews
             SET rating = $3, comment = $4, reply = $5, replied_at = $6, reports = $7, hidden_at = $8, version = $9,
                 updated_at = $10, author = $11
             WHERE id = $1 AND account_id = $2",
        )
        .bind(of.id.to_string())
        .bind(of.account_id.to_string())
        .bind(of.rating)
        .bind(of.comment)
        .bind(of.reply)
        .bind(of.replied_at)
        .bind(of.reports)
        .bind(of.hidden_at)
        .bind(of.version)
        .bind(of.updated_at)
        .bind(of.author)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

pub(super) async fn delete(tx: &mut Tx, review: &Review) -> db::Result<()> {
    tx.query("DELETE FROM app_review_reports WHERE review_id = $1").bind(review.id.to_string()).execute().await?;
    tx.query("DELETE FROM app_reviews WHERE id = $1 AND account_id = $2")
        .bind(review.id.to_string())
        .bind(review.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The review, if it is of this app. Its listing is locked by who changes it.
pub(super) async fn find<'c>(on: impl On<'c>, app: AppId, id: ReviewId) -> db::Result<Option<Review>> {
    let row = on
        .query(
            "SELECT r.id, r.app_id, r.account_id, a.name AS account_name, r.author, r.rating, r.comment, r.reply, r.replied_at,
                    r.reports, r.hidden_at, r.version, r.created_at, r.updated_at
             FROM app_reviews r JOIN accounts a ON a.id = r.account_id
             WHERE r.id = $1 AND r.app_id = $2",
        )
        .bind(id.to_string())
        .bind(app.to_string())
        .optional::<Row>()
        .await?;
    row.map(Review::try_from).transpose()
}

/// Which app a review is of.
pub(super) async fn app_of<'c>(on: impl On<'c>, id: ReviewId) -> db::Result<Option<AppId>> {
    let row: Option<(String,)> = on.query("SELECT app_id FROM app_reviews WHERE id = $1").bind(id.to_string()).optional().await?;
    row.map(|(id,)| db::decode("app_reviews.app_id", &id)).transpose()
}

/// Those of an app that are not hidden, newest first.
pub(super) async fn list<'c>(on: impl On<'c>, app: AppId, paging: Paging<ReviewId>) -> db::Result<Page<Review, ReviewId>> {
    let rows = on
        .query(
            "SELECT r.id, r.app_id, r.account_id, a.name AS account_name, r.author, r.rating, r.comment, r.reply, r.replied_at,
                    r.reports, r.hidden_at, r.version, r.created_at, r.updated_at
             FROM app_reviews r JOIN accounts a ON a.id = r.account_id
             WHERE r.app_id = $1 AND r.hidden_at IS NULL AND (CAST($2 AS TEXT) IS NULL OR r.id < $2)
             ORDER BY r.id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(app.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    page(rows, paging.limit)
}

/// Those that somebody has reported, newest first, hidden ones too.
pub(super) async fn reported<'c>(on: impl On<'c>, paging: Paging<ReviewId>) -> db::Result<Page<Review, ReviewId>> {
    let rows = on
        .query(
            "SELECT r.id, r.app_id, r.account_id, a.name AS account_name, r.author, r.rating, r.comment, r.reply, r.replied_at,
                    r.reports, r.hidden_at, r.version, r.created_at, r.updated_at
             FROM app_reviews r JOIN accounts a ON a.id = r.account_id
             WHERE r.reports > 0 AND (CAST($1 AS TEXT) IS NULL OR r.id < $1)
             ORDER BY r.id DESC
             LIMIT $2 OFFSET $3",
        )
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    page(rows, paging.limit)
}

/// Whether this account has not reported it before.
pub(super) async fn insert_report(
    tx: &mut Tx,
    id: ReviewId,
    account: AccountId,
    reason: String,
    now_ms: i64,
) -> db::Result<bool> {
    let rows = tx
        .query(
            "INSERT INTO app_review_reports (review_id, account_id, reason, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (review_id, account_id) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(account.to_string())
        .bind(reason)
        .bind(now_ms)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// What somebody has written, newest first.
pub async fn by_author<'c>(on: impl On<'c>, author: &str, max: i64) -> db::Result<Vec<Review>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT r.id, r.app_id, r.account_id, a.name AS account_name, r.author, r.rating, r.comment, r.reply, r.replied_at,
                    r.reports, r.hidden_at, r.version, r.created_at, r.updated_at
             FROM app_reviews r JOIN accounts a ON a.id = r.account_id
             WHERE r.author = $1
             ORDER BY r.id DESC
             LIMIT $2",
        )
        .bind(author.to_owned())
        .bind(max)
        .all()
        .await?;
    rows.into_iter().map(Review::try_from).collect()
}

/// Nothing says any more that it was them who wrote it.
pub async fn forget_author(tx: &mut Tx, author: &str) -> db::Result<()> {
    tx.query("UPDATE app_reviews SET author = $2, version = version + 1 WHERE author = $1")
        .bind(author.to_owned())
        .bind(ERASED.to_owned())
        .execute()
        .await
        .map(|_| ())
}

/// What an account has written is gone. Its ratings stay, so that nobody's mean changes by that.
pub async fn forget_texts(tx: &mut Tx, account: AccountId) -> db::Result<()> {
    tx.query("UPDATE app_review_reports SET reason = '' WHERE account_id = $1").bind(account.to_string()).execute().await?;
    tx.query("UPDATE app_reviews SET comment = '', version = version + 1 WHERE account_id = $1")
        .bind(account.to_string())
        .execute()
        .await
        .map(|_| ())
}

fn page(rows: Vec<Row>, limit: u32) -> db::Result<Page<Review, ReviewId>> {
    let reviews = rows.into_iter().map(Review::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(reviews, limit, |review| review.id))
}

impl TryFrom<Row> for Review {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("app_reviews.id", &row.id)?,
            app_id: db::decode("app_reviews.app_id", &row.app_id)?,
            account_id: db::decode("app_reviews.account_id", &row.account_id)?,
            account_name: row.account_name,
            author: row.author,
            rating: row.rating,
            comment: row.comment,
            reply: row.reply,
            replied_at: row.replied_at,
            reports: row.reports,
            hidden_at: row.hidden_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
