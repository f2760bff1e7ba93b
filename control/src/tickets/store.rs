//! Every statement on `tickets` and `ticket_messages`.

use clearway_config::{AccountId, TicketId};
use sqlx::FromRow;

use super::model::{MESSAGES_MAX, Message, State, Ticket};
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

/// Who wrote what an erased person had written.
const ERASED: &str = "erased";

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    subject: String,
    state: String,
    messages: i64,
    created_at: i64,
    updated_at: i64,
}

#[derive(Debug, FromRow)]
struct MessageRow {
    number: i64,
    author: String,
    staff: bool,
    body: String,
    created_at: i64,
}

/// What somebody has written, newest first, and to which ticket.
pub async fn by_author<'c>(on: impl On<'c>, author: &str, max: i64) -> db::Result<Vec<(String, String, i64)>> {
    on.query(
        "SELECT ticket_id, body, created_at
         FROM ticket_messages
         WHERE author = $1
         ORDER BY created_at DESC, ticket_id, number
         LIMIT $2",
    )
    .bind(author.to_owned())
    .bind(max)
    .all()
    .await
}

/// Nothing says any more that it was them who wrote it.
pub async fn forget_author(tx: &mut Tx, author: &str) -> db::Result<()> {
    tx.query("UPDATE ticket_messages SET author = $2 WHERE author = $1")
        .bind(author.to_owned())
        .bind(ERASED.to_owned())
        .execute()
        .await
        .map(|_| ())
}

/// An account's tickets are gone, with all that was written to them.
pub async fn forget(tx: &mut Tx, account: AccountId) -> db::Result<()> {
    tx.query("DELETE FROM ticket_messages WHERE ticket_id IN (SELECT id FROM tickets WHERE account_id = $1)")
        .bind(account.to_string())
        .execute()
        .await?;
    tx.query("DELETE FROM tickets WHERE account_id = $1").bind(account.to_string()).execute().await.map(|_| ())
}

pub(super) async fn insert(tx: &mut Tx, ticket: &Ticket) -> db::Result<()> {
    tx.query(
        "INSERT INTO tickets (id, account_id, subject, state, messages, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(ticket.id.to_string())
    .bind(ticket.account_id.to_string())
    .bind(ticket.subject.clone())
    .bind(ticket.state.as_str())
    .bind(ticket.messages)
    .bind(ticket.created_at)
    .bind(ticket.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, ticket: &Ticket) -> db::Result<()> {
    let changed = tx
        .query("UPDATE tickets SET state = $3, messages = $4, updated_at = $5 WHERE id = $1 AND account_id = $2")
        .bind(ticket.id.to_string())
        .bind(ticket.account_id.to_string())
        .bind(ticket.state.as_str())
        .bind(ticket.messages)
        .bind(ticket.updated_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

pub(super) async fn insert_message(tx: &mut Tx, ticket: TicketId, message: &Message) -> db::Result<()> {
    let of = message.clone();
    tx.query("INSERT INTO ticket_messages (ticket_id, number, author, staff, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(ticket.to_string())
        .bind(of.number)
        .bind(of.author)
        .bind(of.staff)
        .bind(of.body)
        .bind(of.created_at)
        .execute()
        .await
        .map(|_| ())
}

/// The ticket, if it is of `account`; NULL is every account, for admins.
pub(super) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: TicketId) -> db::Result<Option<Ticket>> {
    let row = on
        .query(
            "SELECT id, account_id, subject, state, messages, created_at, updated_at FROM tickets
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Ticket::try_from).transpose()
}

/// [`find`], and nobody else writes to the ticket until this transaction ends. SQLite has one writer anyway.
pub(super) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: TicketId) -> db::Result<Option<Ticket>> {
    tx.query(PerEngine {
        sqlite: "SELECT id FROM tickets WHERE id = $1",
        postgres: "SELECT id FROM tickets WHERE id = $1 FOR UPDATE",
    })
    .bind(id.to_string())
    .optional::<(String,)>()
    .await?;
    find(tx, account, id).await
}

/// In their order.
pub(super) async fn messages<'c>(on: impl On<'c>, id: TicketId) -> db::Result<Vec<Message>> {
    let rows = on
        .query(
            "SELECT number, author, staff, body, created_at FROM ticket_messages WHERE ticket_id = $1 ORDER BY number LIMIT $2",
        )
        .bind(id.to_string())
        .bind(MESSAGES_MAX)
        .all::<MessageRow>()
        .await?;
    let message = |MessageRow { number, author, staff, body, created_at }| Message { number, author, staff, body, created_at };
    Ok(rows.into_iter().map(message).collect())
}

/// Newest first; of one account or, for admins, of all.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    account: Option<AccountId>,
    state: Option<State>,
    paging: Paging<TicketId>,
) -> db::Result<Page<Ticket, TicketId>> {
    let rows = on
        .query(
            "SELECT id, account_id, subject, state, messages, created_at, updated_at FROM tickets
             WHERE (CAST($1 AS TEXT) IS NULL OR account_id = $1)
               AND (CAST($2 AS TEXT) IS NULL OR state = $2)
               AND (CAST($3 AS TEXT) IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(account.map(|id| id.to_string()))
        .bind(state.map(State::as_str))
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let tickets = rows.into_iter().map(Ticket::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(tickets, paging.limit, |ticket| ticket.id))
}

/// Those of an account that are not closed.
pub(super) async fn count_open(tx: &mut Tx, account: AccountId) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM tickets WHERE account_id = $1 AND state <> 'closed'").bind(account.to_string()).scalar().await
}

impl TryFrom<Row> for Ticket {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("tickets.id", &row.id)?,
            account_id: db::decode("tickets.account_id", &row.account_id)?,
            subject: row.subject,
            state: db::decode("tickets.state", &row.state)?,
            messages: row.messages,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
