//! The feed: an account's events in commit order, from any place on. A receiver that was down reads it to learn what it
//! missed, and whoever cannot be posted to reads nothing else.

use std::{collections::HashSet, time::Duration};

use clearway_config::AccountId;

use super::{emit, pattern::Pattern, store};
use crate::db::{self, Db};

/// Events that are looked through for those of a type before a reader is told to ask again.
const SCAN_MAX: u32 = 1_000;
/// Between two looks of a reader who waits: other accounts' events wake it too.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// What other processes have committed is looked for after this.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// Some of an account's events.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<store::Row>,
    /// Where to go on.
    pub(super) next: i64,
    /// Whether there is something there already.
    pub(super) more: bool,
}

/// What is wanted of the feed. Without patterns every type is.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) account: AccountId,
    pub(super) after: i64,
    pub(super) limit: u32,
    pub(super) patterns: Vec<Pattern>,
}

pub(super) async fn page(db: &Db, wanted: &Wanted) -> db::Result<Page> {
    let Wanted { account, after, limit, patterns } = wanted;
    if patterns.is_empty() {
        let page = db::cut(store::of_account(db, *account, *after, limit + 1).await?, *limit, |row| row.sequence);
        let next = page.items.last().map_or(*after, |row| row.sequence);
        return Ok(Page { more: page.next.is_some(), rows: page.items, next });
    }
    let kinds = store::kinds_of_account(db, *account, *after, SCAN_MAX).await?;
    let mut hits = Vec::new();
    let mut next = *after;
    let mut seen = 0;
    for (sequence, kind) in &kinds {
        (next, seen) = (*sequence, seen + 1);
        if patterns.iter().any(|pattern| pattern.matches(kind)) {
            hits.push(*sequence);
            if hits.len() == *limit as usize {
                break;
            }
        }
    }
    let more = seen < kinds.len() || kinds.len() == SCAN_MAX as usize;
    let rows = if hits.is_empty() { Vec::new() } else { store::of_sequences(db, *account, &hits).await? };
    Ok(Page { rows, next, more })
}

/// [`page`], or as soon as there is something; empty after `wait`, or when `stop` is ready.
pub(super) async fn wait(db: &Db, mut wanted: Wanted, wait: Duration, stop: impl Future<Output = ()>) -> db::Result<Page> {
    let mut woken = emit::committed(db);
    let over = async {
        tokio::select! {
            () = stop => {}
            () = tokio::time::sleep(wait) => {}
        }
    };
    tokio::pin!(over);
    loop {
        woken.mark_unchanged();
        let page = page(db, &wanted).await?;
        if !page.rows.is_empty() {
            return Ok(page);
        }
        wanted.after = page.next;
        let pause = async {
            if !page.more {
                let _ = tokio::time::timeout(LOOK_AT_LEAST, woken.changed()).await;
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        tokio::select! {
            () = &mut over => return Ok(page),
            () = pause => {}
        }
    }
}

/// Types by name that a query lists, with commas between.
pub(super) fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    const PATTERNS_MAX: usize = 20;
    let distinct: HashSet<&str> = text.split(',').map(str::trim).collect();
    if distinct.len() > PATTERNS_MAX {
        return Err(format!("must be at most {PATTERNS_MAX} types"));
    }
    distinct.into_iter().map(|one| one.parse::<Pattern>().map_err(|why| why.to_string())).collect()
}
