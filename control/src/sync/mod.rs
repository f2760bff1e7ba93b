//! How a change takes effect on every proxy, and how a caller learns that it has.
//!
//! A feature writes its rows and calls [`record`] last in the same transaction; the commit gives the
//! change its [`Revision`]. A publisher reads `changes` in that order, loads the rows through each
//! feature's [`Feed`] and puts one delta into the queue of every attached proxy. [`Hub::propagated`]
//! answers once every proxy that counts has acknowledged the revision or can no longer act without it
//! (`docs/decisions/revoke-and-lease.md`).
//!
//! This is plumbing: it knows no feature, and nothing of what a row means.
//!
//! Tables, the same on both engines (texts are ids in their text form, times are milliseconds):
//!
//! ```sql
//! CREATE TABLE changes (revision BIGINT PRIMARY KEY, kind TEXT NOT NULL, subject_id TEXT NOT NULL, created_at BIGINT NOT NULL);
//! CREATE TABLE proxies (id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, revision BIGINT NOT NULL,
//!     lease_ms BIGINT, created_at BIGINT NOT NULL, last_seen_at BIGINT NOT NULL,  -- lease_ms NULL: told to serve without one
//!     refused TEXT NOT NULL, report TEXT NOT NULL,                                -- JSON; empty: nothing
//!     epoch BIGINT NOT NULL, beats BIGINT NOT NULL, control TEXT NOT NULL);       -- who holds it, and how often it was noted
//! CREATE TABLE databases (id TEXT PRIMARY KEY, created_at BIGINT NOT NULL);        -- one row: what numbers these revisions
//! ```

mod changes;
mod clock;
pub(crate) mod handshake;
mod hub;
mod keeper;
mod membership;
mod refused;
mod report;
mod service;
mod session;
mod store;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use clearway_config::{KeyHash, ProxyId, sync::v1};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{self, Db};

pub use clock::Clock;
pub use hub::{Hub, Options, ProxyStatus, Status};
pub use refused::{Objects, Refused, RefusedObject};
pub use report::{QuotaStore, Report};
pub use service::{ServeError, Tls};
pub use store::record;

/// A point in the order in which changes were committed; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// What a row of `changes` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Its id is the plan's name.
    Plan,
    Account,
    /// A key with all its secrets.
    Key,
    /// A secret that no longer exists; its id is [`removed_secret_id`]. Sync needs no feed for it.
    SecretRemoved,
    /// Its id is the object's kind and name, as `route/orders`.
    GatewayObject,
    /// Its id is the certificate's name.
    Certificate,
    /// A webhook with all its secrets.
    Webhook,
    /// The keys that access tokens are signed by, all together.
    OauthKeys,
    /// What makes access tokens void before their time; its id is that of a grant, an application or a token.
    OauthRevocation,
}

impl ChangeKind {
    pub const ALL: [ChangeKind; 9] = [
        Self::Plan,
        Self::Account,
        Self::Key,
        Self::SecretRemoved,
        Self::GatewayObject,
        Self::Certificate,
        Self::Webhook,
        Self::OauthKeys,
        Self::OauthRevocation,
    ];

    /// As in `changes.kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Account => "account",
            Self::Key => "key",
            Self::SecretRemoved => "secret_removed",
            Self::GatewayObject => "gateway_object",
            Self::Certificate => "certificate",
            Self::Webhook => "webhook",
            Self::OauthKeys => "oauth_keys",
            Self::OauthRevocation => "oauth_revocation",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How [`ChangeKind::SecretRemoved`] names a secret: its hash in hexadecimal.
pub fn removed_secret_id(hash: &KeyHash) -> String {
    hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a feature shows of its rows to the proxies.
#[async_trait]
pub trait Feed: Send + Sync {
    fn kind(&self) -> ChangeKind;

    /// The rows behind `ids` (at most [`BATCH_CHANGES_MAX`], none twice) as they are now. One that is gone is left out, or
    /// named as removed where the proxies would not learn it otherwise.
    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes>;

    /// The next rows in the feed's own order after `after`, about `limit` of them, and where to go on; `None` ends it.
    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)>;

    /// About how many credentials all pages hold: 0 for a feed of anything else.
    async fn count(&self, db: &Db) -> db::Result<u64>;
}

/// Where the totals that proxies report go.
#[async_trait]
pub trait UsageSink: Send + Sync {
    /// Commits the batch before it returns. Totals only grow, so that a batch may come twice.
    async fn ingest(&self, db: &Db, proxy: &ProxyId, batch: v1::UsageBatch) -> db::Result<()>;
}

/// How long a caller is ready to wait for the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For what must not be served any longer: until every proxy has acknowledged or is fenced.
    Enforced,
    /// For what may take effect a moment later: at most a second.
    Briefly,
}

/// How far a change had come when its call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Propagation {
    /// Proxies that were heard of lately.
    pub proxies: u32,
    /// Those that hold the change, on disk too, and act by it.
    pub acknowledged: u32,
    /// Those that hold it and do not act by it, because of their own files or because they do not understand it:
    /// `/admin/proxies` says why. Only changes of the gateway's objects can be refused.
    pub refused: u32,
    /// Those that refuse every request until they hold it, because their lease has run out.
    pub fenced: u32,
    /// How long it took.
    pub ms: u64,
}

/// Changes in one delta at most.
pub const BATCH_CHANGES_MAX: usize = 500;
