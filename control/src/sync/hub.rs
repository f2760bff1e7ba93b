//! The sessions, their queues, and the waiting for a revision.

mod history;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clearway_config::{
    ProxyId,
    settings::Mode,
    sync::{NONCE_BYTES, v1},
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Clock, Feed, Objects, Propagation, Refused, Revision, UsageSink, Wait,
    changes::{self, Feeds, ReadError},
    clock::wall_ms,
    keeper,
    membership::{Membership, Remembered, Standing, Terms, Watch},
    store,
};
use crate::db::{self, Db};

pub use status::{ProxyStatus, Status};

/// Messages waiting for one proxy at most; a slower one is dropped and starts over.
pub(super) const QUEUE_MAX: usize = 10_000;
/// How often `changes` is read without being asked, for what other control processes commit.
const POLL: Duration = Duration::from_millis(500);
/// Leases are granted only while `changes` was read so lately; others rely on it.
const STALE_MS: u64 = 3_000;
/// A proxy not seen for so long no longer counts, unless its lease could be longer.
const FORGET_MS: u64 = 15 * 60_000;
const BRIEFLY_MS: u64 = 1_000;
/// How long to wait for proxies that nothing fences.
const PATIENCE_MS: u64 = 10_000;
/// For clocks that do not run equally fast.
const MARGIN_MS: u64 = 500;

/// What a hub is started with.
#[derive(Clone)]
pub struct Options {
    pub mode: Mode,
    pub auth_lease: Duration,
    /// What proxies must know too.
    pub token: [u8; NONCE_BYTES],
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("mode", &self.mode).field("auth_lease", &self.auth_lease).finish_non_exhaustive()
    }
}

/// Who hears of changes, and how far each has come. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("status", &self.status()).finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) feeds: Feeds,
    pub(super) usage: Arc<dyn UsageSink>,
    pub(super) terms: Terms,
    pub(super) token: [u8; NONCE_BYTES],
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Asks for changes to be read now.
    wanted: Notify,
    /// The last revision that is in every queue.
    published: watch::Sender<i64>,
    /// Something changed that a waiting call may have waited for.
    moved: Notify,
    pub(super) stopping: watch::Sender<bool>,
}

struct State {
    /// [`store::history`].
    history: String,
    published: i64,
    /// When the last reading of `changes` that found its end began.
    read_ms: u64,
    sessions: HashMap<u64, Session>,
    sessions_made: u64,
    membership: Membership,
}

struct Session {
    proxy: ProxyId,
    name: String,
    queue: mpsc::Sender<Item>,
}

/// What waits for one proxy, in the one order in which it must arrive.
#[derive(Debug)]
pub(super) enum Item {
    Delta(Arc<v1::Delta>),
    Reply(v1::HeartbeatReply),
    UsageAck(v1::UsageAck),
}

impl Hub {
    /// Reads who is out there and starts publishing. Proxies attach once [`Hub::serve`] runs.
    pub async fn start(
        db: Db,
        feeds: Vec<Arc<dyn Feed>>,
        usage: Arc<dyn UsageSink>,
        Options { mode, auth_lease, token, clock }: Options,
    ) -> db::Result<Self> {
        let lease_ms = u64::try_from(auth_lease.as_millis()).unwrap_or(u64::MAX / 4);
        let terms = Terms {
            strict: mode == Mode::Strict,
            lease_ms,
            margin_ms: MARGIN_MS,
            forget_ms: FORGET_MS.max(lease_ms.saturating_mul(2)),
            patience_ms: PATIENCE_MS,
            others_lag_ms: match &db {
                Db::Sqlite { .. } => None,
                Db::Postgres { .. } => Some(STALE_MS),
            },
        };
        store::number_revisions(&db, &history::fresh_id(), wall_ms()).await?;
        let history = store::history(&db).await?;
        let published = store::last_revision(&db).await?;
        let state = State {
            history,
            published,
            read_ms: clock.now_ms(),
            sessions: HashMap::new(),
            sessions_made: 0,
            membership: Membership::new(terms),
        };
        let inner = Arc::new(Inner {
            db,
            feeds: feeds.into(),
            usage,
            terms,
            token,
            clock,
            state: Mutex::new(state),
            wanted: Notify::new(),
            published: watch::Sender::new(published),
            moved: Notify::new(),
            stopping: watch::Sender::new(false),
        });
        inner.recall().await?;
        tokio::spawn(publish(inner.clone()));
        tokio::spawn(keeper::keep(inner.clone()));
        Ok(Self { inner })
    }

    /// Waits until every proxy that counts holds `revision` or is fenced, as far as `wait` goes.
    /// Call it after the commit, holding no transaction. It may be dropped at any time.
    pub async fn propagated(&self, revision: Revision, wait: Wait) -> Propagation {
        self.objects_propagated(revision, Objects::new(), wait).await
    }

    /// The same of a change of these objects of the gateway's, which proxies may refuse.
    pub async fn objects_propagated(&self, revision: Revision, objects: Objects, wait: Wait) -> Propagation {
        let inner = &*self.inner;
        let since = inner.clock.now_ms();
        let give_up = match wait {
            Wait::Enforced => u64::MAX,
            Wait::Briefly => since + BRIEFLY_MS,
        };
        let mut published = inner.published.subscribe();
        inner.want();
        while *published.borrow_and_update() < revision.0 {
            if inner.clock.now_ms() >= give_up {
                let standing = inner.standing(&inner.watch(revision, objects));
                return inner.answer(standing, since);
            }
            // The sender lives in `inner`.
            tokio::select! {
                _ = published.changed() => {}
                () = inner.clock.until(give_up) => {}
            }
        }
        if inner.terms.others_lag_ms.is_some() {
            inner.recall_or_log().await;
        }
        let watch = inner.watch(revision, objects);
        loop {
            let moved = inner.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let standing = inner.standing(&watch);
            let now = inner.clock.now_ms();
            if standing.waiting == 0 || now >= give_up {
                return inner.answer(standing, since);
            }
            let mut look_again = standing.look_again.unwrap_or(give_up).min(give_up);
            if inner.terms.others_lag_ms.is_some() {
                look_again = look_again.min(now + OTHERS_LOOK_MS);
            }
            tokio::select! {
                () = moved => {}
                () = inner.clock.until(look_again) => {
                    if inner.terms.others_lag_ms.is_some() {
                        inner.recall_or_log().await;
                    }
                }
            }
        }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

/// How often a waiting call looks at what other control processes have noted.
const OTHERS_LOOK_MS: u64 = 200;

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `changes` read now.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    fn watch(&self, revision: Revision, objects: Objects) -> Watch {
        let now = self.clock.now_ms();
        self.state().membership.watch(revision.0, objects, now)
    }

    fn standing(&self, watch: &Watch) -> Standing {
        let now = self.clock.now_ms();
        self.state().membership.standing(watch, now)
    }

    fn answer(&self, standing: Standing, since: u64) -> Propagation {
        Propagation {
            proxies: standing.proxies,
            acknowledged: standing.acknowledged,
            refused: standing.refused,
            fenced: standing.fenced,
            ms: self.clock.now_ms().saturating_sub(since),
        }
    }

    /// Learns of proxies that this process does not hold.
    async fn recall(&self) -> db::Result<()> {
        self.look_at_history().await?;
        let forget_ms = i64::try_from(self.terms.forget_ms).unwrap_or(i64::MAX / 2);
        let wall = wall_ms();
        let rows = store::proxies_seen_since(&self.db, wall.saturating_sub(forget_ms)).await?;
        let now = self.clock.now_ms();
        let mut state = self.state();
        for row in rows {
            let Ok(id) = row.id.parse() else { continue };
            let ago = u64::try_from(wall.saturating_sub(row.last_seen_at)).unwrap_or_default();
            let lease_ms = row.lease_ms.map(|ms| u64::try_from(ms).unwrap_or_default());
            let remembered = Remembered { id, acked: row.revision, lease_ms, seen_ms: now.saturating_sub(ago) };
            state.membership.refresh(&remembered, now);
            state.membership.refuses(&id, None, |_| Refused::parse(&row.refused));
        }
        Ok(())
    }

    async fn recall_or_log(&self) {
        if let Err(error) = self.recall().await {
            // What is known stays; an unknown proxy of another process is bounded by the others' lag.
            tracing::warn!(%error, "proxies of other control processes could not be read");
        }
    }

    /// Puts a session in place of the proxy's last one: from here on its queue holds every delta.
    pub(super) fn attach(
        &self,
        proxy: ProxyId,
        name: &str,
        resumed_at: i64,
        refused: v1::Refused,
    ) -> (u64, mpsc::Receiver<Item>) {
        let now = self.clock.now_ms();
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let mut state = self.state();
        if let Some(last) = state.membership.session(&proxy) {
            state.sessions.remove(&last);
        }
        state.sessions_made += 1;
        let number = state.sessions_made;
        state.sessions.insert(number, Session { proxy, name: name.to_owned(), queue });
        state.membership.attach(proxy, number, resumed_at, now);
        state.membership.refuses(&proxy, Some(number), |before| before.followed_by(refused, resumed_at));
        drop(state);
        self.moved.notify_waiters();
        (number, waiting)
    }

    pub(super) fn detach(&self, session: u64) {
        self.state().drop_session(session);
        self.moved.notify_waiters();
    }

    pub(super) fn acknowledge(&self, proxy: &ProxyId, session: u64, ack: v1::Ack) {
        let now = self.clock.now_ms();
        let mut state = self.state();
        // What was never published cannot be held; a proxy that claims it is not believed.
        let revision = i64::try_from(ack.revision).unwrap_or(i64::MAX).min(state.published);
        if let Some(refused) = ack.refused {
            state.membership.refuses(proxy, Some(session), |before| before.followed_by(refused, revision));
        }
        state.membership.acknowledge(proxy, session, revision, now);
        drop(state);
        self.moved.notify_waiters();
    }

    /// Grants the lease and puts its reply into the queue in one step: whatever is published later is behind it.
    pub(super) fn heartbeat(&self, proxy: &ProxyId, session: u64, heartbeat: v1::Heartbeat) {
        let now = self.clock.now_ms();
        let mut state = self.state();
        if self.terms.others_lag_ms.is_some_and(|lag| now.saturating_sub(state.read_ms) > lag) {
            // Another process may have committed what this one cannot read. No lease without knowing.
            return;
        }
        if state.membership.heartbeat(proxy, session, heartbeat.strict, now) {
            let Terms { lease_ms, strict, .. } = self.terms;
            state.enqueue(session, Item::Reply(v1::HeartbeatReply { sequence: heartbeat.sequence, lease_ms, strict }));
        }
    }

    pub(super) fn enqueue(&self, session: u64, item: Item) {
        self.state().enqueue(session, item);
    }

    fn publish(&self, delta: v1::Delta) {
        let revision = i64::try_from(delta.revision).unwrap_or(i64::MAX);
        let delta = Arc::new(delta);
        let mut state = self.state();
        let sessions: Vec<u64> = state.sessions.keys().copied().collect();
        for session in sessions {
            state.enqueue(session, Item::Delta(delta.clone()));
        }
        state.published = revision;
        drop(state);
        self.published.send_replace(revision);
        self.moved.notify_waiters();
    }

    /// Reads `changes` to its end.
    async fn read_changes(&self) -> Result<(), ReadError> {
        self.look_at_history().await?;
        loop {
            let began = self.clock.now_ms();
            let after = self.state().published;
            match changes::next_delta(&self.db, &self.feeds, after).await {
                Ok(Some(delta)) => self.publish(delta),
                Ok(None) => {
                    self.state().read_ms = began;
                    return Ok(());
                }
                Err(ReadError::Trimmed(_)) => {
                    // Every proxy starts over with what the store holds now.
                    let last = store::last_revision(&self.db).await?;
                    let mut state = self.state();
                    state.sessions.clear();
                    state.published = last;
                }
                Err(error @ ReadError::Db(_)) => return Err(error),
            }
        }
    }

    /// What there is to note of every proxy, as the database keeps it.
    pub(super) fn noted(&self) -> Vec<keeper::Note> {
        let (now, wall) = (self.clock.now_ms(), wall_ms());
        let lease_ms = i64::try_from(self.terms.lease_ms).unwrap_or(i64::MAX);
        let state = self.state();
        let held = state.membership.iter().filter(|(_, member)| member.session.is_some());
        held.map(|(id, member)| keeper::Note {
            proxy: *id,
            revision: member.acked,
            lease_ms: (!member.unbounded).then_some(lease_ms),
            seen_at: wall.saturating_sub(i64::try_from(now.saturating_sub(member.seen_ms)).unwrap_or_default()),
            refused: member.refused.to_text(),
        })
        .collect()
    }
}

impl State {
    fn enqueue(&mut self, session: u64, item: Item) {
        let Some(found) = self.sessions.get(&session) else { return };
        if found.queue.try_send(item).is_err() {
            tracing::warn!(proxy.id = %found.proxy, proxy.name = found.name, "proxy dropped: it reads too slowly");
            self.drop_session(session);
        }
    }

    /// Ends the session's stream: its queue closes.
    fn drop_session(&mut self, session: u64) {
        if let Some(Session { proxy, .. }) = self.sessions.remove(&session) {
            self.membership.detach(&proxy, session);
        }
    }
}

async fn publish(inner: Arc<Inner>) {
    let mut stopping = inner.stopping.subscribe();
    while !*stopping.borrow() {
        if let Err(error) = inner.read_changes().await {
            tracing::error!(error = &error as &dyn std::error::Error, "changes not published");
        }
        tokio::select! {
            () = inner.wanted.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = stopping.changed() => {}
        }
    }
}
