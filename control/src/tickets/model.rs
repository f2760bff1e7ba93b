//! Tickets as values. No IO.

use std::str::FromStr;

use clearway_config::{AccountId, TicketId};
use serde::Serialize;
use utoipa::ToSchema;

/// Tickets of one account that are not closed, at most.
pub(super) const OPEN_MAX: i64 = 50;
/// Messages of one ticket at most.
pub(super) const MESSAGES_MAX: i64 = 200;
pub(super) const SUBJECT_CHARS_MAX: usize = 200;
pub(super) const BODY_CHARS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    pub account_id: AccountId,
    pub subject: String,
    pub state: State,
    /// How many there are; the last one's number.
    pub messages: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// From 1.
    pub number: i64,
    /// `user_…` or `key_…`; `erased` where that person was.
    pub author: String,
    /// Whether the operator wrote it.
    pub staff: bool,
    pub body: String,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TicketState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The operator is to answer.
    Open,
    /// The account is.
    Answered,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be open, answered or closed")]
pub struct UnknownState;

impl State {
    /// As in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Closed => "closed",
        }
    }

    /// After a message.
    pub(super) const fn after(staff: bool) -> Self {
        if staff { Self::Answered } else { Self::Open }
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Open, Self::Answered, Self::Closed].into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}
