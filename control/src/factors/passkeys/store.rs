//! Every statement on `passkeys` and `passkey_challenges`.

use clearway_config::{PasskeyId, UserId};
use sqlx::FromRow;

use super::ceremony::Made;
use crate::db::{self, Db, On, Tx};

/// Rows that one sweep removes at most.
const SWEEP_MAX: i64 = 1_000;

/// A passkey of a person.
#[derive(Debug, Clone)]
pub(crate) struct Passkey {
    pub(crate) id: PasskeyId,
    pub(super) user_id: UserId,
    pub(crate) name: String,
    pub(super) credential_id: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) counter: i64,
    pub(crate) synced: bool,
    /// JSON, as the browser has said them.
    pub(super) transports: String,
    pub(crate) created_at: i64,
    pub(crate) last_used_at: Option<i64>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    user_id: String,
    name: String,
    credential_id: Vec<u8>,
    public_key: Vec<u8>,
    counter: i64,
    synced: bool,
    transports: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

/// A conflict (`passkeys_credential_id_key`) where somebody has it.
pub(super) async fn insert(
    tx: &mut Tx,
    id: PasskeyId,
    user: UserId,
    name: &str,
    made: &Made,
    transports: String,
    now_ms: i64,
) -> db::Result<()> {
    tx.query(
        "INSERT INTO passkeys
             (id, user_id, name, credential_id, public_key, counter, synced, authenticator, transports, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id.to_string())
    .bind(user.to_string())
    .bind(name.to_owned())
    .bind(made.credential_id.clone())
    .bind(made.public_key.clone())
    .bind(i64::from(made.counter))
    .bind(made.flags.synced)
    .bind(made.authenticator.to_vec())
    .bind(transports)
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// A person's passkeys, oldest first.
pub(crate) async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Passkey>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT id, user_id, name, credential_id, public_key, counter, synced, transports, created_at, last_used_at
             FROM passkeys
             WHERE user_id = $1
             ORDER BY id
             LIMIT $2",
        )
        .bind(user.to_string())
        .bind(max)
        .all()
        .await?;
    rows.into_iter().map(Passkey::try_from).collect()
}

pub(super) async fn find<'c>(on: impl On<'c>, credential_id: &[u8]) -> db::Result<Option<Passkey>> {
    let row = on
        .query(
            "SELECT id, user_id, name, credential_id, public_key, counter, synced, transports, created_at, last_used_at
             FROM passkeys
             WHERE credential_id = $1",
        )
        .bind(credential_id.to_vec())
        .optional::<Row>()
        .await?;
    row.map(Passkey::try_from).transpose()
}

/// Takes a use of it; false where the counter has not gone up since the last one, of an authenticator that counts.
pub(super) async fn take_use(tx: &mut Tx, id: PasskeyId, counter: u32, now_ms: i64) -> db::Result<bool> {
    let taken = tx
        .query("UPDATE passkeys SET counter = $2, last_used_at = $3 WHERE id = $1 AND (counter < $2 OR (counter = 0 AND $2 = 0))")
        .bind(id.to_string())
        .bind(i64::from(counter))
        .bind(now_ms)
        .execute()
        .await?;
    Ok(taken == 1)
}

/// Whether it was one of the person's; it has another name now.
pub(super) async fn rename(tx: &mut Tx, user: UserId, id: PasskeyId, name: &str) -> db::Result<bool> {
    let renamed = tx
        .query("UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2")
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(name.to_owned())
        .execute()
        .await?;
    Ok(renamed == 1)
}

/// Whether it was one of the person's; it is none any more.
pub(super) async fn remove(tx: &mut Tx, user: UserId, id: PasskeyId) -> db::Result<bool> {
    let removed = tx
        .query("DELETE FROM passkeys WHERE id = $1 AND user_id = $2")
        .bind(id.to_string())
        .bind(user.to_string())
        .execute()
        .await?;
    Ok(removed == 1)
}

/// None of a person's passkeys is left, and nothing that waits for one.
pub(in crate::factors) async fn forget(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM passkey_challenges WHERE user_id = $1").bind(user.to_string()).execute().await?;
    tx.query("DELETE FROM passkeys WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

/// What a challenge was given out for, or a proof. Both are known by their hashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) hash: [u8; 32],
    pub(super) purpose: &'static str,
    /// What it is good together with: a session, or a ticket's hash. Empty is nothing.
    pub(super) beside: &'a str,
    /// Whose it is; `None` where that is to be seen.
    pub(super) user: Option<UserId>,
}

/// One for each of what it is good together with: an older one is none any more.
pub(super) async fn insert_challenge(tx: &mut Tx, waiting: Waiting<'_>, now_ms: i64, expires_at: i64) -> db::Result<()> {
    tx.query("DELETE FROM passkey_challenges WHERE beside = $1 AND beside <> '' AND purpose = $2")
        .bind(waiting.beside.to_owned())
        .bind(waiting.purpose)
        .execute()
        .await?;
    tx.query(
        "INSERT INTO passkey_challenges (hash, purpose, beside, user_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(waiting.hash.to_vec())
    .bind(waiting.purpose)
    .bind(waiting.beside.to_owned())
    .bind(waiting.user.map(|user| user.to_string()))
    .bind(now_ms)
    .bind(expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Whether it was waited for; it is not any more.
pub(super) async fn take_challenge(tx: &mut Tx, waiting: Waiting<'_>, now_ms: i64) -> db::Result<bool> {
    let taken = tx
        .query(
            "DELETE FROM passkey_challenges
             WHERE hash = $1 AND purpose = $2 AND beside = $3 AND COALESCE(user_id, '') = $4 AND expires_at > $5",
        )
        .bind(waiting.hash.to_vec())
        .bind(waiting.purpose)
        .bind(waiting.beside.to_owned())
        .bind(waiting.user.map(|user| user.to_string()).unwrap_or_default())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(taken == 1)
}

/// Removes what nobody has answered in time; a thousand at most.
pub(crate) async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM passkey_challenges WHERE hash IN (SELECT hash FROM passkey_challenges WHERE expires_at <= $1 LIMIT $2)")
        .bind(now_ms)
        .bind(SWEEP_MAX)
        .execute()
        .await
}

impl TryFrom<Row> for Passkey {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("passkeys.id", &row.id)?,
            user_id: db::decode("passkeys.user_id", &row.user_id)?,
            name: row.name,
            credential_id: row.credential_id,
            public_key: row.public_key,
            counter: row.counter,
            synced: row.synced,
            transports: row.transports,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        })
    }
}
