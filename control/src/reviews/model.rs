//! Reviews as values. No IO.

use clearway_config::{AccountId, AppId, ReviewId};

pub(super) const COMMENT_CHARS_MAX: usize = 5_000;
pub(super) const REPLY_CHARS_MAX: usize = 2_000;
pub(super) const REASON_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    pub id: ReviewId,
    pub app_id: AppId,
    pub account_id: AccountId,
    /// What the account is called.
    pub account_name: String,
    /// `user_…` or `key_…`; `erased` where that person was.
    pub author: String,
    /// 1 to 5.
    pub rating: i64,
    pub comment: String,
    /// The developer's.
    pub reply: Option<String>,
    pub replied_at: Option<i64>,
    /// Accounts that have reported it.
    pub reports: i64,
    pub hidden_at: Option<i64>,
    /// Counts its changes, from 1.
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl Review {
    /// How many ratings it counts as, and their sum.
    pub(super) fn weight(&self) -> (i64, i64) {
        if self.hidden_at.is_some() { (0, 0) } else { (1, self.rating) }
    }
}
