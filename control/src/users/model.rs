//! A person as the acts see them.

use clearway_config::{AccountId, UserId};

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// The account that was made with the person.
    pub account_id: AccountId,
    /// In lower case; proved to be theirs.
    pub email: String,
    /// What they want to be called; may be empty.
    pub name: String,
    /// A PHC string; empty where the person signs in by other means.
    pub password_hash: String,
    pub created_at: i64,
    pub password_changed_at: Option<i64>,
    pub suspended_at: Option<i64>,
    /// From then on nothing here says who it was.
    pub erased_at: Option<i64>,
    /// Counted up by every change of name or address.
    pub version: i64,
}

/// A person of a proved address.
#[derive(Clone)]
pub struct NewUser<'a> {
    pub id: UserId,
    pub account: AccountId,
    pub email: &'a str,
    pub name: &'a str,
    pub password_hash: String,
    pub now_ms: i64,
}

/// Neither address nor hash belongs in a log.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("id", &self.id).finish_non_exhaustive()
    }
}
