//! Every statement on `sessions`.

use clearway_config::{SessionHash, SessionId, UserId};
use sqlx::FromRow;

use super::{Begun, IDLE_MS, NewSession, USER_AGENT_CHARS_MAX};
use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

/// Rows that one sweep removes at most, so that it never holds the writer for long.
const SWEEP_MAX: i64 = 1_000;

#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) impersonator_id: Option<String>,
    pub(super) last_used_at: i64,
    pub(super) expires_at: i64,
    pub(super) ended_at: Option<i64>,
    /// Whether it was asked for by the token before the newest.
    pub(super) by_previous: bool,
    /// Whether there is a token before the newest.
    pub(super) has_previous: bool,
    pub(super) user_suspended_at: Option<i64>,
    pub(super) account_id: String,
    pub(super) account_suspended_at: Option<i64>,
    pub(super) platform: bool,
    /// `None`: no member of the account.
    pub(super) role: Option<String>,
}

pub(super) async fn insert(tx: &mut Tx, begun: &Begun, new: &NewSession, now_ms: i64) -> db::Result<()> {
    let user_agent: String = new.user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
    tx.query(
        "INSERT INTO sessions
             (id, user_id, account_id, hash, impersonator_id, address, user_agent, second_factor,
              created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)",
    )
    .bind(begun.id.to_string())
    .bind(new.user_id.to_string())
    .bind(new.account_id.to_string())
    .bind(begun.token.hash().as_bytes().to_vec())
    .bind(new.impersonator.map(|id| id.to_string()))
    .bind(new.address.to_string())
    .bind(user_agent)
    .bind(new.second_factor)
    .bind(now_ms)
    .bind(begun.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// The session with this token or with the one before it; in `account`, or in its own.
pub(super) async fn find<'c>(on: impl On<'c>, hash: &SessionHash, account: Option<String>) -> db::Result<Option<Row>> {
    on.query(
        "SELECT s.id, s.user_id, s.impersonator_id, s.last_used_at, s.expires_at, s.ended_at,
                s.hash <> $1 AS by_previous, s.previous_hash IS NOT NULL AS has_previous,
                u.suspended_at AS user_suspended_at, a.id AS account_id, a.suspended_at AS account_suspended_at, a.platform, m.role
         FROM (SELECT * FROM sessions WHERE hash = $1 UNION ALL SELECT * FROM sessions WHERE previous_hash = $1) s
         JOIN users u ON u.id = s.user_id
         JOIN accounts a ON a.id = COALESCE(CAST($2 AS TEXT), s.account_id)
         LEFT JOIN memberships m ON m.account_id = a.id AND m.user_id = s.user_id
         LIMIT 1",
    )
    .bind(hash.as_bytes().to_vec())
    .bind(account)
    .optional()
    .await
}

/// When a session began: its person signed in then.
pub async fn began_at<'c>(on: impl On<'c>, id: SessionId) -> db::Result<Option<i64>> {
    let row: Option<(i64,)> = on.query("SELECT created_at FROM sessions WHERE id = $1").bind(id.to_string()).optional().await?;
    Ok(row.map(|(created_at,)| created_at))
}

/// Notes that it was used, and forgets the token before the newest if it was used by that one.
pub(super) async fn note_use(db: &Db, id: &str, by_newest: bool, now_ms: i64) -> db::Result<()> {
    db.query(
        "UPDATE sessions
         SET last_used_at = $2, previous_hash = CASE WHEN $3 THEN NULL ELSE previous_hash END
         WHERE id = $1",
    )
    .bind(id.to_owned())
    .bind(now_ms)
    .bind(by_newest)
    .execute()
    .await
    .map(|_| ())
}

/// Puts `fresh` in place of the newest token; the one that was presented goes on working beside it. When it ends, or
/// `None` where it has, or where somebody else has replaced it meanwhile.
pub(super) async fn replace(
    tx: &mut Tx,
    id: SessionId,
    presented: &SessionHash,
    fresh: &SessionHash,
    now_ms: i64,
) -> db::Result<Option<i64>> {
    tx.query(
        "UPDATE sessions
         SET hash = $3, previous_hash = $2, last_used_at = $4
         WHERE id = $1 AND (hash = $2 OR previous_hash = $2) AND ended_at IS NULL AND expires_at > $4 AND last_used_at > $5
         RETURNING expires_at",
    )
    .bind(id.to_string())
    .bind(presented.as_bytes().to_vec())
    .bind(fresh.as_bytes().to_vec())
    .bind(now_ms)
    .bind(now_ms - IDLE_MS)
    .optional::<(i64,)>()
    .await
    .map(|row| row.map(|(expires_at,)| expires_at))
}

/// Ends one of a person's sessions; whether it was in force.
pub async fn end(tx: &mut Tx, user: UserId, id: SessionId, now_ms: i64) -> db::Result<bool> {
    let ended = tx
        .query("UPDATE sessions SET ended_at = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(ended > 0)
}

/// Ends all of a person's sessions but one; how many were in force.
pub async fn end_all(tx: &mut Tx, user: UserId, but: Option<SessionId>, now_ms: i64) -> db::Result<u64> {
    tx.query(
        "UPDATE sessions SET ended_at = $3 WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id <> $2) AND ended_at IS NULL",
    )
    .bind(user.to_string())
    .bind(but.map(|id| id.to_string()))
    .bind(now_ms)
    .execute()
    .await
}

/// Whether one of a person's sessions has not ended yet.
pub async fn in_force<'c>(on: impl On<'c>, user: UserId, id: SessionId, now_ms: i64) -> db::Result<bool> {
    let row: Option<(String,)> = on
        .query(
            "SELECT id
             FROM sessions
             WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3 AND last_used_at > $4",
        )
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(now_ms)
        .bind(now_ms - IDLE_MS)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Ends those in which a person acts as somebody else; how many were in force.
pub async fn end_impersonations(tx: &mut Tx, impersonator: UserId, now_ms: i64) -> db::Result<u64> {
    tx.query("UPDATE sessions SET ended_at = $2 WHERE impersonator_id = $1 AND ended_at IS NULL")
        .bind(impersonator.to_string())
        .bind(now_ms)
        .execute()
        .await
}

/// Removes a person's sessions, and those in which they acted as somebody else.
pub async fn forget(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM sessions WHERE user_id = $1 OR impersonator_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

/// A person's sessions, in force or not, newest first.
pub async fn all<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Listed>> {
    let rows: Vec<ListedRow> = on
        .query(
            "SELECT id, address, user_agent, impersonator_id IS NOT NULL AS impersonated, created_at, last_used_at, expires_at
             FROM sessions
             WHERE user_id = $1
             ORDER BY id DESC
             LIMIT $2",
        )
        .bind(user.to_string())
        .bind(max)
        .all()
        .await?;
    rows.into_iter().map(listed).collect()
}

/// Removes sessions that ended by themselves before a moment, or were ended before it; a thousand at most.
pub async fn sweep(db: &Db, before: i64) -> db::Result<u64> {
    db.query(PerEngine {
        sqlite: "DELETE FROM sessions
                 WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 OR ended_at < $1 LIMIT $2)",
        postgres: "DELETE FROM sessions
                   WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 OR ended_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    })
    .bind(before)
    .bind(SWEEP_MAX)
    .execute()
    .await
}

/// A session in force, as its person sees it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: SessionId,
    pub address: String,
    pub user_agent: String,
    pub impersonated: bool,
    pub created_at: i64,
    pub last_used_at: i64,
    pub expires_at: i64,
}

#[derive(Debug, FromRow)]
struct ListedRow {
    id: String,
    address: String,
    user_agent: String,
    impersonated: bool,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
}

/// A person's sessions in force, newest first.
pub async fn list(db: &Db, user: UserId, paging: Paging<SessionId>, now_ms: i64) -> db::Result<Page<Listed, SessionId>> {
    let rows = db
        .query(
            "SELECT id, address, user_agent, impersonator_id IS NOT NULL AS impersonated, created_at, last_used_at, expires_at
             FROM sessions
             WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_used_at > $3
                   AND (CAST($4 AS TEXT) IS NULL OR id < $4)
             ORDER BY id DESC
             LIMIT $5 OFFSET $6",
        )
        .bind(user.to_string())
        .bind(now_ms)
        .bind(now_ms - IDLE_MS)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<ListedRow>()
        .await?;
    let sessions = rows.into_iter().map(listed).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(sessions, paging.limit, |session| session.id))
}

fn listed(row: ListedRow) -> db::Result<Listed> {
    Ok(Listed {
        id: db::decode("sessions.id", &row.id)?,
        address: row.address,
        user_agent: row.user_agent,
        impersonated: row.impersonated,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        expires_at: row.expires_at,
    })
}
