//! Every statement on `mails`.

use sqlx::FromRow;

use crate::db::{self, Db, On, PerEngine, Tx};

/// A mail that is to be handed over now.
#[derive(Debug, FromRow)]
pub(super) struct Due {
    pub(super) id: String,
    pub(super) recipient: String,
    pub(super) subject: String,
    pub(super) body: String,
    /// This one too.
    pub(super) attempts: i64,
}

pub(super) async fn insert(tx: &mut Tx, id: &str, recipient: &str, subject: &str, body: &str, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO mails (id, recipient, subject, body, due_at, attempts, created_at) VALUES ($1, $2, $3, $4, $5, 0, $5)")
        .bind(id.to_owned())
        .bind(recipient.to_owned())
        .bind(subject.to_owned())
        .bind(body.to_owned())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Takes at most `max` mails that are due, until `until`: nobody else hands them over before.
pub(super) async fn claim(db: &Db, now_ms: i64, until: i64, max: i64) -> db::Result<Vec<Due>> {
    db.query(PerEngine {
        sqlite: "UPDATE mails
                 SET due_at = $2, attempts = attempts + 1
                 WHERE id IN (SELECT id FROM mails WHERE due_at <= $1 ORDER BY due_at LIMIT $3)
                 RETURNING id, recipient, subject, body, attempts",
        postgres: "UPDATE mails
                   SET due_at = $2, attempts = attempts + 1
                   WHERE id IN (SELECT id FROM mails WHERE due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
                   RETURNING id, recipient, subject, body, attempts",
    })
    .bind(now_ms)
    .bind(until)
    .bind(max)
    .all()
    .await
}

pub(super) async fn remove(db: &Db, id: &str) -> db::Result<()> {
    db.query("DELETE FROM mails WHERE id = $1").bind(id.to_owned()).execute().await.map(|_| ())
}

pub(super) async fn put_off(db: &Db, id: &str, due_at: i64) -> db::Result<()> {
    db.query("UPDATE mails SET due_at = $2 WHERE id = $1").bind(id.to_owned()).bind(due_at).execute().await.map(|_| ())
}

/// Mails to an address that nobody was handed yet.
pub(super) async fn forget(tx: &mut Tx, recipient: &str) -> db::Result<()> {
    tx.query("DELETE FROM mails WHERE recipient = $1").bind(recipient.to_owned()).execute().await.map(|_| ())
}

/// Subjects of the mails to an address, handed to nobody yet or kept here, newest first.
pub(super) async fn to<'c>(on: impl On<'c>, recipient: &str, max: i64) -> db::Result<Vec<(String, i64)>> {
    on.query(
        "SELECT subject, created_at
         FROM (SELECT id, subject, created_at FROM mails WHERE recipient = $1
               UNION ALL
               SELECT id, subject, created_at FROM mailbox WHERE recipient = $1) every
         ORDER BY created_at DESC, id
         LIMIT $2",
    )
    .bind(recipient.to_owned())
    .bind(max)
    .all()
    .await
}
