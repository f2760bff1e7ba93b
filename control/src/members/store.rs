//! Every statement on `memberships` and `invitations`.

use clearway_config::{AccountId, InvitationId, UserId};
use sqlx::FromRow;

use super::{Role, invite::Invitation};
use crate::{
    db::{self, Db, On, Page, Tx, cut},
    http::Paging,
    users::User,
};

/// An account as one of its members sees it.
#[derive(Debug, Clone)]
pub struct Membership {
    pub account_id: AccountId,
    pub name: String,
    pub role: Role,
    pub suspended: bool,
}

#[derive(Debug, FromRow)]
struct Row {
    account_id: String,
    name: String,
    role: String,
    suspended_at: Option<i64>,
}

/// Makes the person a member. A conflict (`memberships_pkey`) where they are one already.
pub async fn insert(tx: &mut Tx, account: AccountId, user: UserId, role: Role, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(account.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Where an account's people are told by mail what concerns all of it: its owners and admins, ten at most.
pub async fn addresses<'c>(on: impl On<'c>, account: AccountId) -> db::Result<Vec<String>> {
    let rows: Vec<(String,)> = on
        .query(
            "SELECT u.email
             FROM memberships m JOIN users u ON u.id = m.user_id
             WHERE m.account_id = $1 AND m.role IN ('owner', 'admin')
             ORDER BY u.created_at, u.id
             LIMIT 10",
        )
        .bind(account.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}

/// The accounts where a person is a member, their own first and then by age; `max` at most.
pub async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Membership>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT m.account_id, a.name, m.role, a.suspended_at
             FROM memberships m JOIN accounts a ON a.id = m.account_id JOIN users u ON u.id = m.user_id
             WHERE m.user_id = $1
             ORDER BY CASE WHEN m.account_id = u.account_id THEN 0 ELSE 1 END, m.created_at, m.account_id
             LIMIT $2",
        )
        .bind(user.to_string())
        .bind(max)
        .all()
        .await?;
    let membership = |row: Row| {
        Ok(Membership {
            account_id: db::decode("memberships.account_id", &row.account_id)?,
            name: row.name,
            role: db::decode("memberships.role", &row.role)?,
            suspended: row.suspended_at.is_some(),
        })
    };
    rows.into_iter().map(membership).collect()
}

/// The account that a person's sessions act for unless they say otherwise: their own, or else the first they have
/// joined. `None` where they are no member of any.
pub async fn home<'c>(on: impl On<'c>, user: &User) -> db::Result<Option<AccountId>> {
    Ok(of_person(on, user.id, 1).await?.first().map(|membership| membership.account_id))
}

/// A member of an account.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) user_id: UserId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) joined_at: i64,
}

#[derive(Debug, FromRow)]
struct MemberRow {
    user_id: String,
    email: String,
    name: String,
    role: String,
    created_at: i64,
}

#[derive(Debug, FromRow)]
struct InvitationRow {
    id: String,
    account_id: String,
    email: String,
    role: String,
    invited_by: String,
    created_at: i64,
    expires_at: i64,
}

pub(super) async fn role<'c>(on: impl On<'c>, account: AccountId, user: UserId) -> db::Result<Option<Role>> {
    let row: Option<(String,)> = on
        .query("SELECT role FROM memberships WHERE account_id = $1 AND user_id = $2")
        .bind(account.to_string())
        .bind(user.to_string())
        .optional()
        .await?;
    row.map(|(role,)| db::decode("memberships.role", &role)).transpose()
}

/// How many members the account has, and how many of them are owners.
pub async fn counts(tx: &mut Tx, account: AccountId) -> db::Result<(i64, i64)> {
    tx.query(
        "SELECT count(*), CAST(COALESCE(SUM(CASE WHEN role = 'owner' THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM memberships
         WHERE account_id = $1",
    )
    .bind(account.to_string())
    .one()
    .await
}

/// Whether somebody may act on every account: an owner or admin of the platform's, neither of them suspended.
pub async fn runs_platform<'c>(on: impl On<'c>, user: UserId) -> db::Result<bool> {
    let count: i64 = on
        .query(
            "SELECT count(*)
             FROM memberships m JOIN accounts a ON a.id = m.account_id JOIN users u ON u.id = m.user_id
             WHERE m.user_id = $1 AND m.role IN ('owner', 'admin') AND a.platform
               AND a.suspended_at IS NULL AND u.suspended_at IS NULL",
        )
        .bind(user.to_string())
        .scalar()
        .await?;
    Ok(count > 0)
}

/// The person is a member of no account any more, and nobody invites the address.
pub async fn forget_person(tx: &mut Tx, user: UserId, email: &str) -> db::Result<()> {
    tx.query("DELETE FROM memberships WHERE user_id = $1").bind(user.to_string()).execute().await?;
    tx.query("DELETE FROM invitations WHERE email = $1").bind(email.to_owned()).execute().await.map(|_| ())
}

/// Who invites an address to what: account, role, since when and until when.
pub async fn invitations_of<'c>(on: impl On<'c>, email: &str, max: i64) -> db::Result<Vec<(String, String, i64, i64)>> {
    on.query(
        "SELECT account_id, role, created_at, expires_at FROM invitations WHERE email = $1 ORDER BY created_at DESC, id LIMIT $2",
    )
    .bind(email.to_owned())
    .bind(max)
    .all()
    .await
}

/// How many owners the account has.
pub(super) async fn owners(tx: &mut Tx, account: AccountId) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM memberships WHERE account_id = $1 AND role = 'owner'").bind(account.to_string()).scalar().await
}

pub(super) async fn set_role(tx: &mut Tx, account: AccountId, user: UserId, role: Role) -> db::Result<()> {
    tx.query("UPDATE memberships SET role = $3 WHERE account_id = $1 AND user_id = $2")
        .bind(account.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn remove(tx: &mut Tx, account: AccountId, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM memberships WHERE account_id = $1 AND user_id = $2")
        .bind(account.to_string())
        .bind(user.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// By the age of the person.
pub(super) async fn list<'c>(on: impl On<'c>, account: AccountId, paging: Paging<UserId>) -> db::Result<Page<Member, UserId>> {
    let rows = on
        .query(
            "SELECT m.user_id, u.email, u.name, m.role, m.created_at
             FROM memberships m JOIN users u ON u.id = m.user_id
             WHERE m.account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR m.user_id > $2)
             ORDER BY m.user_id
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<MemberRow>()
        .await?;
    let member = |row: MemberRow| {
        Ok(Member {
            user_id: db::decode("memberships.user_id", &row.user_id)?,
            email: row.email,
            name: row.name,
            role: db::decode("memberships.role", &row.role)?,
            joined_at: row.created_at,
        })
    };
    let members = rows.into_iter().map(member).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(members, paging.limit, |member| member.user_id))
}

/// In the place of an earlier one for the same address.
pub(super) async fn put_invitation(tx: &mut Tx, new: &Invitation, hash: &[u8; 32]) -> db::Result<()> {
    tx.query("DELETE FROM invitations WHERE account_id = $1 AND email = $2")
        .bind(new.account_id.to_string())
        .bind(new.email.clone())
        .execute()
        .await?;
    tx.query(
        "INSERT INTO invitations (id, account_id, email, role, hash, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.id.to_string())
    .bind(new.account_id.to_string())
    .bind(new.email.clone())
    .bind(new.role.as_str())
    .bind(hash.to_vec())
    .bind(new.invited_by.to_string())
    .bind(new.created_at)
    .bind(new.expires_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn count_invitations(tx: &mut Tx, account: AccountId) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM invitations WHERE account_id = $1").bind(account.to_string()).scalar().await
}

/// The invitation that a token is of; the token stays good.
pub(super) async fn invitation<'c>(on: impl On<'c>, hash: &[u8; 32], now_ms: i64) -> db::Result<Option<Invitation>> {
    let row = on
        .query(
            "SELECT id, account_id, email, role, invited_by, created_at, expires_at
             FROM invitations
             WHERE hash = $1 AND expires_at > $2",
        )
        .bind(hash.to_vec())
        .bind(now_ms)
        .optional::<InvitationRow>()
        .await?;
    row.map(Invitation::try_from).transpose()
}

pub(super) async fn take_invitation(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<Option<Invitation>> {
    let row = tx
        .query(
            "DELETE FROM invitations
             WHERE hash = $1 AND expires_at > $2
             RETURNING id, account_id, email, role, invited_by, created_at, expires_at",
        )
        .bind(hash.to_vec())
        .bind(now_ms)
        .optional::<InvitationRow>()
        .await?;
    row.map(Invitation::try_from).transpose()
}

/// The newest of an address, where one waits.
pub(super) async fn take_newest_invitation(tx: &mut Tx, email: &str, now_ms: i64) -> db::Result<Option<Invitation>> {
    let row = tx
        .query(
            "DELETE FROM invitations
             WHERE id = (SELECT id FROM invitations WHERE email = $1 AND expires_at > $2 ORDER BY created_at DESC, id DESC LIMIT 1)
             RETURNING id, account_id, email, role, invited_by, created_at, expires_at",
        )
        .bind(email.to_owned())
        .bind(now_ms)
        .optional::<InvitationRow>()
        .await?;
    row.map(Invitation::try_from).transpose()
}

pub(super) async fn remove_invitation(tx: &mut Tx, account: AccountId, id: InvitationId) -> db::Result<Option<Invitation>> {
    let row = tx
        .query(
            "DELETE FROM invitations
             WHERE account_id = $1 AND id = $2
             RETURNING id, account_id, email, role, invited_by, created_at, expires_at",
        )
        .bind(account.to_string())
        .bind(id.to_string())
        .optional::<InvitationRow>()
        .await?;
    row.map(Invitation::try_from).transpose()
}

/// Those that wait, newest first.
pub(super) async fn list_invitations<'c>(
    on: impl On<'c>,
    account: AccountId,
    paging: Paging<InvitationId>,
    now_ms: i64,
) -> db::Result<Page<Invitation, InvitationId>> {
    let rows = on
        .query(
            "SELECT id, account_id, email, role, invited_by, created_at, expires_at
             FROM invitations
             WHERE account_id = $1 AND expires_at > $2 AND (CAST($3 AS TEXT) IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(account.to_string())
        .bind(now_ms)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<InvitationRow>()
        .await?;
    let invitations = rows.into_iter().map(Invitation::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(invitations, paging.limit, |invitation| invitation.id))
}

/// Removes invitations whose time is over, a thousand at most.
pub async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM invitations WHERE id IN (SELECT id FROM invitations WHERE expires_at <= $1 LIMIT 1000)")
        .bind(now_ms)
        .execute()
        .await
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = db::Error;

    fn try_from(row: InvitationRow) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("invitations.id", &row.id)?,
            account_id: db::decode("invitations.account_id", &row.account_id)?,
            email: row.email,
            role: db::decode("invitations.role", &row.role)?,
            invited_by: db::decode("invitations.invited_by", &row.invited_by)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
