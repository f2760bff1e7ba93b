//! The store that all nodes of a fleet share: one call each for parts of limits, for restoring what was lost, and for
//! saying that a node is there.
//!
//! What a call means is in [`clearway_filters::lease`]. [`RedisStore`] carries calls out in Redis, [`BookStore`] in memory.
//! Neither retries a call, and neither keeps one waiting for a server that is away: what follows from a failure is the
//! caller's to decide. Calls that are awaited together travel together.

mod in_memory;
mod redis;

use std::fmt;

use async_trait::async_trait;
use clearway_filters::lease::{Answer, Beat, Beaten, Restore, Restored, Take};

pub use self::{
    in_memory::BookStore,
    redis::{OpenError, RedisStore},
};

#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync {
    async fn take(&self, take: &Take) -> Result<Answer, StoreError>;
    async fn restore(&self, restore: &Restore) -> Result<Restored, StoreError>;
    async fn beat(&self, beat: &Beat) -> Result<Beaten, StoreError>;
}

/// A call that was not answered. Whether it was carried out is not known, unless it is said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no connection, and it was not sent.
    #[error("the lease store cannot be reached: {0}")]
    Unreachable(String),
    #[error("the lease store did not answer in time")]
    TimedOut,
    /// The connection broke meanwhile.
    #[error("the connection to the lease store was lost: {0}")]
    Broken(String),
    /// The server said an error.
    #[error("the lease store refused the call: {0}")]
    Refused(String),
    #[error("the lease store's answer is not one: {0}")]
    Malformed(&'static str),
}

impl StoreError {
    /// For metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            StoreError::Unreachable(_) => "unreachable",
            StoreError::TimedOut => "timed_out",
            StoreError::Broken(_) => "broken",
            StoreError::Refused(_) => "refused",
            StoreError::Malformed(_) => "malformed",
        }
    }
}
