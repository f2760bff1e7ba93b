//! The feed: an account's events in commit order, from any place on. A receiver that was down reads it to learn what it
//! missed, and whoever cannot be posted to reads nothing else.

use std::{collections::HashSet, time::Duration};

use clearway_config::AccountId;
use tokio::time::Instant;

use super::{emit, pattern::Pattern, store};
use crate::{
    db::{self, Db},
    http::ApiError,
};

/// Events that are looked through for those of a type before a reader is told to ask again.
const SCAN_MAX: u32 = 1_000;
/// Between two looks of a reader who waits: other accounts' events wake it too.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// What other processes have committed is looked for after this.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);
/// Between two looks whether a reader who waits still may read.
const ASK_EVERY: Duration = Duration::from_millis(500);

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

/// [`page`], or as soon as there is something; empty after `wait`, or when `stop` is ready. `may` says whether the reader still
/// may read: a key that is revoked while somebody waits by it ends the waiting.
pub(super) async fn wait<F: Future<Output = Result<(), ApiError>>>(
    db: &Db,
    mut wanted: Wanted,
    wait: Duration,
    stop: impl Future<Output = ()>,
    may: impl Fn() -> F,
) -> Result<Page, ApiError> {
    let mut woken = emit::committed(db);
    let over = async {
        tokio::select! {
            () = stop => {}
            () = tokio::time::sleep(wait) => {}
        }
    };
    tokio::pin!(over);
    let first = page(db, &wanted).await?;
    if !first.rows.is_empty() {
        return Ok(first);
    }
    wanted.after = first.next;
    let (mut more, mut asked) = (first.more, Instant::now());
    loop {
        let pause = async {
            if !more {
                // A revoke is an event too, and wakes those of this process.
                let _ = tokio::time::timeout(LOOK_AT_LEAST, woken.changed()).await;
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        let is_over = tokio::select! {
            () = &mut over => true,
            () = pause => false,
        };
        woken.mark_unchanged();
        let page = page(db, &wanted).await?;
        let answers = is_over || !page.rows.is_empty();
        if answers || asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            may().await?;
        }
        if answers {
            return Ok(page);
        }
        (wanted.after, more) = (page.next, page.more);
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
