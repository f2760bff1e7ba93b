//! Every statement on `identities` and `provider_requests`.

use clearway_config::{IdentityId, SessionId, UserId};
use sqlx::FromRow;

use crate::{
    db::{self, Db, On, Tx},
    providers::Profile,
};

/// Rows that one sweep removes at most.
const SWEEP_MAX: i64 = 1_000;

/// Who a person is at a provider.
#[derive(Debug, Clone)]
pub struct Identity {
    pub id: IdentityId,
    pub user_id: UserId,
    /// Its name in the settings when it was linked.
    pub provider: String,
    pub subject: String,
    pub email: Option<String>,
    pub created_at: i64,
    pub last_used_at: Option<i64>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    user_id: String,
    provider: String,
    subject: String,
    email: Option<String>,
    created_at: i64,
    last_used_at: Option<i64>,
}

/// A browser that is sent to a provider.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) return_to: String,
    /// Who wants to link what comes back, in which session.
    pub(super) link: Option<(UserId, SessionId)>,
}

#[derive(FromRow)]
struct RequestRow {
    return_to: String,
    user_id: Option<String>,
    session_id: Option<String>,
}

/// A conflict (`identities_issuer_subject_key`) where somebody has it.
pub(super) async fn insert(
    tx: &mut Tx,
    id: IdentityId,
    user: UserId,
    provider: &str,
    profile: &Profile,
    now_ms: i64,
) -> db::Result<()> {
    tx.query(
        "INSERT INTO identities (id, user_id, provider, issuer, subject, email, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(user.to_string())
    .bind(provider.to_owned())
    .bind(profile.issuer.clone())
    .bind(profile.subject.clone())
    .bind(profile.email.clone())
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn find<'c>(on: impl On<'c>, profile: &Profile) -> db::Result<Option<Identity>> {
    let row = on
        .query(
            "SELECT id, user_id, provider, subject, email, created_at, last_used_at
             FROM identities
             WHERE issuer = $1 AND subject = $2",
        )
        .bind(profile.issuer.clone())
        .bind(profile.subject.clone())
        .optional::<Row>()
        .await?;
    row.map(Identity::try_from).transpose()
}

/// Notes that somebody has signed in by it, and what the provider says of them now.
pub(super) async fn note_use(tx: &mut Tx, id: IdentityId, email: Option<&str>, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE identities SET last_used_at = $2, email = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(now_ms)
        .bind(email.map(str::to_owned))
        .execute()
        .await
        .map(|_| ())
}

/// A person's identities, oldest first.
pub async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Identity>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT id, user_id, provider, subject, email, created_at, last_used_at
             FROM identities
             WHERE user_id = $1
             ORDER BY id
             LIMIT $2",
        )
        .bind(user.to_string())
        .bind(max)
        .all()
        .await?;
    rows.into_iter().map(Identity::try_from).collect()
}

/// Whether it was one of the person's; it is none any more.
pub(super) async fn remove(tx: &mut Tx, user: UserId, id: IdentityId) -> db::Result<bool> {
    let removed = tx
        .query("DELETE FROM identities WHERE id = $1 AND user_id = $2")
        .bind(id.to_string())
        .bind(user.to_string())
        .execute()
        .await?;
    Ok(removed == 1)
}

/// None of a person's identities is left, and nothing that could become one.
pub async fn forget(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM provider_requests WHERE user_id = $1").bind(user.to_string()).execute().await?;
    tx.query("DELETE FROM identities WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

/// What is known of a browser by hashes only: of its `state`, and of its cookie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) state: [u8; 32],
    pub(super) browser: [u8; 32],
    pub(super) provider: &'a str,
}

pub(super) async fn insert_request(
    tx: &mut Tx,
    known: Known<'_>,
    request: &Request,
    now_ms: i64,
    expires_at: i64,
) -> db::Result<()> {
    tx.query(
        "INSERT INTO provider_requests (hash, browser, provider, return_to, user_id, session_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(known.state.to_vec())
    .bind(known.browser.to_vec())
    .bind(known.provider.to_owned())
    .bind(request.return_to.clone())
    .bind(request.link.map(|(user, _)| user.to_string()))
    .bind(request.link.map(|(_, session)| session.to_string()))
    .bind(now_ms)
    .bind(expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Takes it, so that nobody takes it again. One of another browser or provider stays.
pub(super) async fn take_request(tx: &mut Tx, known: Known<'_>, now_ms: i64) -> db::Result<Option<Request>> {
    let row = tx
        .query(
            "DELETE FROM provider_requests
             WHERE hash = $1 AND browser = $2 AND provider = $3 AND expires_at > $4
             RETURNING return_to, user_id, session_id",
        )
        .bind(known.state.to_vec())
        .bind(known.browser.to_vec())
        .bind(known.provider.to_owned())
        .bind(now_ms)
        .optional::<RequestRow>()
        .await?;
    let Some(RequestRow { return_to, user_id, session_id }) = row else { return Ok(None) };
    let link = match (user_id, session_id) {
        (Some(user), Some(session)) => {
            Some((db::decode("provider_requests.user_id", &user)?, db::decode("provider_requests.session_id", &session)?))
        }
        _ => None,
    };
    Ok(Some(Request { return_to, link }))
}

/// Removes requests whose browsers did not come back; a thousand at most.
pub async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM provider_requests WHERE hash IN (SELECT hash FROM provider_requests WHERE expires_at <= $1 LIMIT $2)")
        .bind(now_ms)
        .bind(SWEEP_MAX)
        .execute()
        .await
}

impl TryFrom<Row> for Identity {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("identities.id", &row.id)?,
            user_id: db::decode("identities.user_id", &row.user_id)?,
            provider: row.provider,
            subject: row.subject,
            email: row.email,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        })
    }
}
