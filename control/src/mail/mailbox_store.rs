//! The local mailbox: where mails stay that no mail server takes, because none is set. For the operator to read, on a
//! machine of their own. What is older than a week goes, and so does what is beyond the newest five hundred.

use clearway_config::MailId;
use sqlx::FromRow;

use crate::{
    db::{self, Db, On, Page, Tx, cut},
    http::Paging,
};

/// Mails that are kept.
const KEPT_MAX: i64 = 500;
/// How long they are.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    recipient: String,
    subject: String,
    body: String,
    created_at: i64,
}

/// A mail that nobody was handed.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) id: MailId,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) created_at: i64,
}

/// Keeps a mail, and forgets the oldest beyond what is kept.
pub(super) async fn insert(tx: &mut Tx, mail: &Kept) -> db::Result<()> {
    tx.query("INSERT INTO mailbox (id, recipient, subject, body, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(mail.id.to_string())
        .bind(mail.to.clone())
        .bind(mail.subject.clone())
        .bind(mail.body.clone())
        .bind(mail.created_at)
        .execute()
        .await?;
    tx.query("DELETE FROM mailbox WHERE id <= (SELECT id FROM mailbox ORDER BY id DESC LIMIT 1 OFFSET $1)")
        .bind(KEPT_MAX)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn find<'c>(on: impl On<'c>, id: MailId) -> db::Result<Option<Kept>> {
    let row = on
        .query("SELECT id, recipient, subject, body, created_at FROM mailbox WHERE id = $1")
        .bind(id.to_string())
        .optional::<Row>()
        .await?;
    row.map(Kept::try_from).transpose()
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, paging: Paging<MailId>) -> db::Result<Page<Kept, MailId>> {
    let rows = on
        .query(
            "SELECT id, recipient, subject, body, created_at
             FROM mailbox
             WHERE CAST($1 AS TEXT) IS NULL OR id < $1
             ORDER BY id DESC
             LIMIT $2 OFFSET $3",
        )
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let kept = rows.into_iter().map(Kept::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(kept, paging.limit, |mail| mail.id))
}

/// Removes what is too old; how many.
pub async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM mailbox WHERE created_at < $1").bind(now_ms - KEPT_MS).execute().await
}

impl TryFrom<Row> for Kept {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        let Row { id, recipient, subject, body, created_at } = row;
        Ok(Self { id: db::decode("mailbox.id", &id)?, to: recipient, subject, body, created_at })
    }
}

/// Forgets the mails to an address.
pub(super) async fn forget(tx: &mut Tx, recipient: &str) -> db::Result<()> {
    tx.query("DELETE FROM mailbox WHERE recipient = $1").bind(recipient.to_owned()).execute().await.map(|_| ())
}
