//! Linking entries: each link is a hash over an entry and the link before it, so that whoever has kept one can tell
//! whether anything up to it was changed ([`clearway_config::audit`]).
//!
//! Links are made a moment after the entries were committed, by one process at a time: an act never waits for another's.
//! What is changed before it has been linked is not noticed.

mod http;
mod store;

use std::time::Duration;

use clearway_config::audit::{ChainedEntry, Link};
use tokio::sync::watch;

pub(super) use self::http::routes;
use crate::{
    db::{self, Db, Signal, Tx},
    http::chain,
};

/// Raised by every commit that holds an entry.
const RECORDED: Signal = Signal("audit");
/// Entries that are linked in one transaction at most.
const BATCH_MAX: i64 = 200;
/// Between two looks where nothing was recorded here: another process may have stopped before it made its links.
const PAUSE: Duration = Duration::from_secs(10);

/// Has what is being written linked as soon as it has been committed. The database itself keeps in mind that it has to be.
pub(super) fn soon(tx: &mut Tx) {
    tx.announce(RECORDED);
}

/// Links until `stop` says true.
pub async fn link_until(db: Db, mut stop: watch::Receiver<bool>) {
    let mut recorded = db.listen(RECORDED);
    loop {
        recorded.mark_unchanged();
        match link_once(&db).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::warn!(error.cause = chain(&error), "audit entries cannot be linked"),
        }
        tokio::select! {
            _ = recorded.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Links what is in no link yet, oldest first and two hundred at most; how many.
pub async fn link_once(db: &Db) -> db::Result<u64> {
    let mut tx = db.begin().await?;
    store::lock_chain(&mut tx).await?;
    let entries: Vec<ChainedEntry> = store::unchained(&mut tx, BATCH_MAX).await?;
    if entries.is_empty() {
        return Ok(0);
    }
    let (mut number, mut link) = store::last_link(&mut tx).await?.unwrap_or((0, Link::first()));
    for entry in &entries {
        number += 1;
        link = link.next(number, entry);
        store::insert_link(&mut tx, number, &entry.id, &link).await?;
    }
    tx.commit().await?;
    Ok(entries.len() as u64)
}

#[cfg(test)]
pub(super) async fn links(db: &Db) -> Vec<(u64, Link, Option<ChainedEntry>)> {
    store::links_after(db, 0, 1_000).await.expect("the chain can be read")
}

#[cfg(test)]
pub(super) async fn unlinked(db: &Db) -> (i64, i64, i64) {
    let store::Unlinked { waiting, lost, strange } = store::unlinked(db).await.expect("the chain can be read");
    (waiting, lost, strange)
}
