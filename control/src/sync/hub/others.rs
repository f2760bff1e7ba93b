//! Other control processes over the same database: what they commit, and what they note of the proxies that they hold.
//!
//! PostgreSQL's NOTIFY says at once that there is something; looking now and then is what is relied on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clearway_config::ProxyId;

use super::Inner;
use crate::{
    db,
    sync::{
        Refused,
        membership::{Noted, Remembered},
        store::{self, PROXIES_MAX},
    },
};

const CHANGES: &str = "clearway_changes";
const ACKS: &str = "clearway_acks";
/// After hearing has failed.
const HEAR_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked at what others have noted while a call waits, and otherwise.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// After looking has failed.
const LOOK_AGAIN_MS: u64 = 100;

/// One call that waits.
pub(super) struct Waiting<'i>(&'i AtomicUsize);

impl<'i> Waiting<'i> {
    pub(super) fn new(waiting: &'i AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes on what other processes say.
pub(super) async fn hear(inner: Arc<Inner>) {
    let mut stopping = inner.stopping.subscribe();
    while !*stopping.borrow() {
        let heard = tokio::select! {
            heard = hear_on(&inner) => heard,
            _ = stopping.changed() => return,
        };
        if let Err(error) = heard {
            tracing::warn!(error = &error as &dyn std::error::Error, "other control processes are not heard; they are looked at");
        }
        tokio::select! {
            () = tokio::time::sleep(HEAR_AGAIN) => {}
            _ = stopping.changed() => {}
        }
    }
}

async fn hear_on(inner: &Inner) -> db::Result<()> {
    let Some(mut hearing) = inner.db.hear(&[CHANGES, ACKS]).await? else { return Ok(()) };
    loop {
        // What was said before it listened, or while the connection was broken, is lost.
        let heard = hearing.next().await?;
        if heard.as_deref() != Some(ACKS) {
            inner.want();
        }
        if heard.as_deref() != Some(CHANGES) && inner.waiting.load(Ordering::Relaxed) > 0 {
            inner.look.notify_one();
        }
    }
}

/// Looks at what others have noted: at once when they say so and a call waits, and now and then.
pub(super) async fn look(inner: Arc<Inner>) {
    let mut stopping = inner.stopping.subscribe();
    while !*stopping.borrow() {
        let waits = inner.waiting.load(Ordering::Relaxed) > 0;
        tokio::select! {
            () = inner.look.notified() => {}
            () = tokio::time::sleep(if waits { LOOK_EVERY } else { IDLE_EVERY }) => {}
            _ = stopping.changed() => return,
        }
        if inner.recall_or_log().await {
            inner.moved.notify_waiters();
        }
    }
}

impl Inner {
    /// Learns of proxies that this process does not hold, and of those that it does no longer.
    pub(super) async fn recall(&self) -> db::Result<()> {
        self.look_at_history().await?;
        let rows = store::proxies(&self.db).await?;
        let now = self.clock.now_ms();
        let all = rows.len() < PROXIES_MAX;
        let mut known = BTreeSet::new();
        let mut state = self.state();
        for row in rows {
            let Ok(id) = row.id.parse::<ProxyId>() else { continue };
            let ago = u64::try_from(row.ago_ms).unwrap_or_default();
            known.insert(id);
            if ago >= self.terms.forget_ms && !state.membership.knows(&id) {
                continue;
            }
            let remembered = Remembered {
                id,
                acked: row.revision,
                lease_ms: row.lease_ms.map(|ms| u64::try_from(ms).unwrap_or_default()),
                seen_ms: now.saturating_sub(ago),
                noted: Noted { epoch: row.epoch, beats: row.beats, seen_at: row.last_seen_at },
            };
            if let Some(session) = state.membership.refresh(&remembered, now) {
                state.supersede(session);
            }
            state.membership.refuses(&id, None, |_| Refused::parse(&row.refused));
        }
        if all {
            state.membership.keep_only(|id| known.contains(id));
        }
        Ok(())
    }

    /// Whether that worked.
    pub(super) async fn recall_or_log(&self) -> bool {
        match self.recall().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "proxies of other control processes could not be read");
                false
            }
        }
    }

    /// Looks for a call before it begins to wait. Until that has worked there may be proxies that nobody here knows of; false:
    /// it has not, but whatever those were granted has run out by now, or the call no longer waits.
    pub(super) async fn look_now(&self, give_up: u64) -> bool {
        let Some(others) = self.terms.others else { return false };
        let until = self.clock.now_ms() + others.lag_ms + self.terms.lease_ms + self.terms.margin_ms;
        loop {
            if self.recall_or_log().await {
                return true;
            }
            let now = self.clock.now_ms();
            if now >= until.min(give_up) {
                return false;
            }
            self.clock.until(now + LOOK_AGAIN_MS).await;
        }
    }
}
