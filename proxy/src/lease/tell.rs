//! Telling the store once what a ledger has counted, where its proxy is not to be part of the fleet: a machine has moved
//! up, and its accounts go on from where they were.
//!
//! It is the call by which a node restores ([`super::restore`]), for all buckets and without being there afterwards:
//! nobody waits for this node. What it counted stands in the store until the windows end, and nowhere else but in its
//! files; to tell it again changes nothing. Every count is read back.

use std::{sync::Arc, time::Duration};

use clearway_filters::lease::{BUCKETS, Beat, Beaten, Held, HeldLong, NodeId, Restore, Restored, SubjectId, call::Long};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use super::{
    Leases,
    store::{RedisStore, StoreError},
};

/// After it every proxy of a fleet that runs has beaten: they beat once a second.
const LISTENS_FOR: Duration = Duration::from_secs(2);
/// Calls at the same time.
const AT_ONCE: usize = 32;

/// What was told, and found in the store afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub accounts: u64,
    pub keys: u64,
    /// Requests of the running day, over all accounts that have a limit of one.
    pub day: u64,
    /// The same of the month.
    pub month: u64,
    /// Proxies that are there already.
    pub members: usize,
}

/// Why not all of it is in the store. To be tried again.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store is being told by another process in the name of the same ledger")]
    Stale,
    #[error("the store has lost its data meanwhile")]
    Lost,
    #[error("of {subject} the store has {found} where {told} were told")]
    Differs { subject: SubjectId, told: u64, found: u64 },
}

impl Leases {
    /// Tells all that is counted here. `store` is the one that these leases are of. Before or instead of
    /// [`Leases::run`]; only when the snapshot is ready, which says what is limited.
    pub(crate) async fn tell_once(self: &Arc<Self>, store: &RedisStore) -> Result<Told, TellError> {
        self.look_around().await?;
        sleep(LISTENS_FOR).await;
        let around = self.look_around().await?;
        // Each of them may just have beaten.
        let members: Vec<_> = around.roster.unwrap_or_default().members.into_iter().map(|node| (node, around.now_ms)).collect();
        let leases = self.clone();
        let all: Vec<u16> = (0..BUCKETS).collect();
        let held = self.runtime.spawn_blocking(move || leases.held(&all)).await.map_err(|_| TellError::Lost)?;
        let told = stream::iter(&held).map(|(bucket, held)| self.tell_bucket(store, *bucket, held, &members));
        let told: Vec<Told> = told.buffer_unordered(AT_ONCE).try_collect().await?;
        let sum = told.into_iter().fold(Told::default(), |sum, told| Told {
            accounts: sum.accounts + told.accounts,
            keys: sum.keys + told.keys,
            day: sum.day + told.day,
            month: sum.month + told.month,
            ..sum
        });
        Ok(Told { members: members.len(), ..sum })
    }

    /// Who is there, and what time it is, without joining them.
    async fn look_around(&self) -> Result<Beaten, StoreError> {
        let beat =
            Beat { caller: self.caller(), name: self.options.name.as_str().into(), leaving: true, knows: None, lost: Vec::new() };
        let sent_ms = self.clock.uptime_ms();
        let beaten = self.store.beat(&beat).await?;
        self.hear_time(sent_ms, beaten.now_ms);
        Ok(beaten)
    }

    async fn tell_bucket(
        &self,
        store: &RedisStore,
        bucket: u16,
        held: &[Held],
        members: &[(NodeId, u64)],
    ) -> Result<Told, TellError> {
        if held.is_empty() {
            return Ok(Told::default());
        }
        let call = |incarnation, held, done| Restore {
            caller: self.caller(),
            bucket,
            incarnation,
            held,
            done,
            members: members.to_vec(),
            departed: false,
        };
        let is_at = |answer| match answer {
            Restored::Ready(now) | Restored::Restoring(now, _) => Ok(now),
            Restored::Stale => Err(TellError::Stale),
        };
        let to = is_at(self.store.restore(&call(None, Vec::new(), false)).await?)?;
        let mut chunks = held.chunks(Restore::HELD_MAX).peekable();
        while let Some(chunk) = chunks.next() {
            let call = call(Some(to.clone()), chunk.to_vec(), chunks.peek().is_none());
            if is_at(self.store.restore(&call).await?)? != to {
                return Err(TellError::Lost);
            }
        }
        let mut told = Told::default();
        for held in held {
            let of_account = matches!(held.subject, SubjectId::Account(_));
            let [day, month] = [
                self.read_back(store, bucket, held.subject, Long::Day, held.day).await?,
                self.read_back(store, bucket, held.subject, Long::Month, held.month).await?,
            ];
            told.accounts += u64::from(of_account);
            told.keys += u64::from(!of_account);
            told.day += if of_account { day } else { 0 };
            told.month += if of_account { month } else { 0 };
        }
        Ok(told)
    }

    /// What the store has of this node for a window, which must be what it was told.
    async fn read_back(
        &self,
        store: &RedisStore,
        bucket: u16,
        subject: SubjectId,
        long: Long,
        held: Option<HeldLong>,
    ) -> Result<u64, TellError> {
        let Some(HeldLong { window, holds: told, .. }) = held else { return Ok(0) };
        let found = store.noted(self.node, bucket, subject, long, window).await?;
        if found == told { Ok(found) } else { Err(TellError::Differs { subject, told, found }) }
    }
}
