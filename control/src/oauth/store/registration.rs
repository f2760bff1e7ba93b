//! `oauth_registration_tokens`, and what of `oauth_clients` is of those that have registered themselves.

use clearway_config::{AccountId, ClientId, RegistrationTokenId, Scopes};
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, Db, Page, PerEngine, Tx, cut},
    http::Paging,
    oauth::{clients::GrantType, registration::Token},
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    name: String,
    scopes: Json<Scopes>,
    grant_types: Json<Vec<GrantType>>,
    uses_max: i64,
    uses: i64,
    created_at: i64,
    expires_at: i64,
}

pub(in crate::oauth) async fn insert_token(tx: &mut Tx, token: &Token, hash: &[u8; 32]) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_registration_tokens
             (id, account_id, name, hash, scopes, grant_types, uses_max, uses, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(token.id.to_string())
    .bind(token.account_id.to_string())
    .bind(token.name.clone())
    .bind(hash.to_vec())
    .bind(Json(token.scopes.clone()))
    .bind(Json(token.grant_types.clone()))
    .bind(token.uses_max)
    .bind(token.uses)
    .bind(token.created_at)
    .bind(token.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Takes one of a token's uses; `None` where there is none left, its time is over, or its account is suspended.
pub(in crate::oauth) async fn take_use(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<Option<Token>> {
    let row = tx
        .query(
            "UPDATE oauth_registration_tokens SET uses = uses + 1
             WHERE hash = $1 AND uses < uses_max AND expires_at > $2
               AND account_id IN (SELECT id FROM accounts WHERE suspended_at IS NULL)
             RETURNING id, account_id, name, scopes, grant_types, uses_max, uses, created_at, expires_at",
        )
        .bind(hash.to_vec())
        .bind(now_ms)
        .optional::<Row>()
        .await?;
    row.map(Token::try_from).transpose()
}

/// The token, if it is of `account`; NULL is every account, for admins.
pub(in crate::oauth) async fn find_token(
    tx: &mut Tx,
    account: Option<AccountId>,
    id: RegistrationTokenId,
) -> db::Result<Option<Token>> {
    let row = tx
        .query(
            "SELECT id, account_id, name, scopes, grant_types, uses_max, uses, created_at, expires_at
             FROM oauth_registration_tokens
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Token::try_from).transpose()
}

/// Newest first; those whose time is over stay until they are swept.
pub(in crate::oauth) async fn list_tokens(
    db: &Db,
    account: AccountId,
    paging: Paging<RegistrationTokenId>,
) -> db::Result<Page<Token, RegistrationTokenId>> {
    let rows = db
        .query(
            "SELECT id, account_id, name, scopes, grant_types, uses_max, uses, created_at, expires_at
             FROM oauth_registration_tokens
             WHERE account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let tokens = rows.into_iter().map(Token::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(tokens, paging.limit, |token| token.id))
}

pub(in crate::oauth) async fn remove_token(tx: &mut Tx, id: RegistrationTokenId) -> db::Result<()> {
    tx.query("DELETE FROM oauth_registration_tokens WHERE id = $1").bind(id.to_string()).execute().await.map(|_| ())
}

/// Those of an account whose time is not over.
pub(in crate::oauth) async fn count_tokens(tx: &mut Tx, account: AccountId, now_ms: i64) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM oauth_registration_tokens WHERE account_id = $1 AND expires_at > $2")
        .bind(account.to_string())
        .bind(now_ms)
        .scalar()
        .await
}

/// Clients of an account: those that anyone may register, or all others.
pub(in crate::oauth) async fn count(tx: &mut Tx, account: AccountId, anyone: bool) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM oauth_clients WHERE account_id = $1 AND (COALESCE(registered_by, '') = 'anyone') = $2")
        .bind(account.to_string())
        .bind(anyone)
        .scalar()
        .await
}

/// Sets what a client looks after itself by.
pub(in crate::oauth) async fn set_access(tx: &mut Tx, client: ClientId, hash: &[u8; 32]) -> db::Result<()> {
    tx.query("UPDATE oauth_clients SET registration_hash = $2 WHERE id = $1")
        .bind(client.to_string())
        .bind(hash.to_vec())
        .execute()
        .await
        .map(|_| ())
}

/// The hash of what a client looks after itself by; `None` where it was not registered so.
pub(in crate::oauth) async fn access(tx: &mut Tx, client: ClientId) -> db::Result<Option<Vec<u8>>> {
    let row: Option<(Option<Vec<u8>>,)> =
        tx.query("SELECT registration_hash FROM oauth_clients WHERE id = $1").bind(client.to_string()).optional().await?;
    Ok(row.and_then(|(hash,)| hash))
}

/// Clients that anyone could register, before a moment, and that nobody lets do anything; a hundred at most.
pub(in crate::oauth) async fn unused(tx: &mut Tx, before: i64) -> db::Result<Vec<ClientId>> {
    let ids: Vec<(String,)> = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM oauth_clients c
                     WHERE registered_by = 'anyone' AND created_at < $1
                       AND NOT EXISTS (SELECT 1 FROM oauth_grants g WHERE g.client_id = c.id)
                       AND NOT EXISTS (SELECT 1 FROM app_clients a WHERE a.client_id = c.id)
                     LIMIT 100",
            postgres: "SELECT id FROM oauth_clients c
                       WHERE registered_by = 'anyone' AND created_at < $1
                         AND NOT EXISTS (SELECT 1 FROM oauth_grants g WHERE g.client_id = c.id)
                         AND NOT EXISTS (SELECT 1 FROM app_clients a WHERE a.client_id = c.id)
                       LIMIT 100
                       FOR UPDATE SKIP LOCKED",
        })
        .bind(before)
        .all()
        .await?;
    ids.iter().map(|(id,)| db::decode("oauth_clients.id", id)).collect()
}

/// Removes tokens whose time is over; a thousand at most.
pub(in crate::oauth) async fn sweep_tokens(db: &Db, before: i64) -> db::Result<u64> {
    db.query(
        "DELETE FROM oauth_registration_tokens
         WHERE id IN (SELECT id FROM oauth_registration_tokens WHERE expires_at < $1 LIMIT 1000)",
    )
    .bind(before)
    .execute()
    .await
}

impl TryFrom<Row> for Token {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("oauth_registration_tokens.id", &row.id)?,
            account_id: db::decode("oauth_registration_tokens.account_id", &row.account_id)?,
            name: row.name,
            scopes: row.scopes.0,
            grant_types: row.grant_types.0,
            uses_max: row.uses_max,
            uses: row.uses,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
