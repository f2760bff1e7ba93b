//! Opening a ticket, writing to it and closing it.

use clearway_config::{AccountId, ErrorCode, TicketId};

use super::{
    model::{MESSAGES_MAX, Message, OPEN_MAX, State, Ticket},
    store,
};
use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::{ApiError, Caller, Principal},
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    #[error("no such ticket")]
    NotFound,
    #[error("the account has {OPEN_MAX} tickets that are not closed")]
    Full,
    #[error("the ticket has {MESSAGES_MAX} messages")]
    TooManyMessages,
    #[error("the ticket could not be stored")]
    Store(#[from] db::Error),
}

/// Opens a ticket of the caller's account with its first message.
pub async fn open(tx: &mut Tx, world: &World, caller: &Caller, subject: String, body: String) -> Result<Ticket, TicketError> {
    // Locks the account, so that two callers cannot both take the last place.
    accounts::lock(tx, caller.account_id).await?.ok_or(TicketError::NotFound)?;
    if store::count_open(tx, caller.account_id).await? >= OPEN_MAX {
        return Err(TicketError::Full);
    }
    let now_ms = world.now_ms();
    let ticket = Ticket {
        id: world.id(TicketId::new),
        account_id: caller.account_id,
        subject,
        state: State::Open,
        messages: 1,
        created_at: now_ms,
        updated_at: now_ms,
    };
    store::insert(tx, &ticket).await?;
    let first = Message { number: 1, author: author(caller), staff: false, body, created_at: now_ms };
    store::insert_message(tx, ticket.id, &first).await?;
    note(tx, world, caller, "ticket.opened", &ticket, Changes::default().field("subject", (), &ticket.subject)).await?;
    Ok(ticket)
}

/// Adds a message. An admin's to another account's ticket is the operator's answer.
pub async fn write(tx: &mut Tx, world: &World, caller: &Caller, id: TicketId, body: String) -> Result<Ticket, TicketError> {
    let old = store::lock(tx, caller.bounds(), id).await?.ok_or(TicketError::NotFound)?;
    if old.messages >= MESSAGES_MAX {
        return Err(TicketError::TooManyMessages);
    }
    let (now_ms, staff) = (world.now_ms(), is_staff(caller, old.account_id));
    let new = Ticket { state: State::after(staff), messages: old.messages + 1, updated_at: now_ms, ..old.clone() };
    store::save(tx, &new).await?;
    let message = Message { number: new.messages, author: author(caller), staff, body, created_at: now_ms };
    store::insert_message(tx, id, &message).await?;
    let changes = Changes::default().field("state", old.state, new.state).field("messages", old.messages, new.messages);
    note(tx, world, caller, "ticket.written", &new, changes).await?;
    Ok(new)
}

/// Closes it; again changes nothing.
pub async fn close(tx: &mut Tx, world: &World, caller: &Caller, id: TicketId) -> Result<Ticket, TicketError> {
    let old = store::lock(tx, caller.bounds(), id).await?.ok_or(TicketError::NotFound)?;
    if old.state == State::Closed {
        return Ok(old);
    }
    let new = Ticket { state: State::Closed, updated_at: world.now_ms(), ..old.clone() };
    store::save(tx, &new).await?;
    note(tx, world, caller, "ticket.closed", &new, Changes::default().field("state", old.state, new.state)).await?;
    Ok(new)
}

fn is_staff(caller: &Caller, of: AccountId) -> bool {
    caller.is_admin() && caller.account_id != of
}

fn author(caller: &Caller) -> String {
    match caller.principal {
        Principal::Key(id) => id.to_string(),
        Principal::User { id, .. } => id.to_string(),
        Principal::App { client_id, .. } => client_id.to_string(),
    }
}

/// What was written is not in the log: that is between those two.
async fn note(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    action: &'static str,
    of: &Ticket,
    changes: Changes,
) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "ticket", object_id: &object_id, changes };
    audit::record(tx, world, &Actor::from(caller), event).await
}

impl From<TicketError> for ApiError {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::NotFound => ApiError::not_found(),
            TicketError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {OPEN_MAX} tickets that are not closed, which is the most."),
            ),
            TicketError::TooManyMessages => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The ticket has {MESSAGES_MAX} messages, which is the most; open another."),
            ),
            TicketError::Store(error) => error.into(),
        }
    }
}
