//! The sessions, their queues, and the waiting for a revision.

mod history;
mod notes;
mod others;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use clearway_config::{
    ProxyId,
    settings::Mode,
    sync::{NONCE_BYTES, v1},
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Clock, Feed, Objects, Propagation, Revision, UsageSink, Wait,
    changes::{self, Feeds, ReadError},
    clock::wall_ms,
    keeper,
    membership::{Membership, Others, Registered, Standing, Terms, Watch},
    store,
};
use crate::db::{self, Db};
use others::Waiting;

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
    /// What this control process is called, among others over one database.
    pub name: String,
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
    /// What this process is called.
    pub(super) name: String,
    state: Mutex<State>,
    /// Asks for changes to be read now.
    wanted: Notify,
    /// The last revision that is in every queue.
    published: watch::Sender<i64>,
    /// Something changed that a waiting call may have waited for.
    moved: Notify,
    /// A proxy has acknowledged something, which other processes may wait for.
    news: Notify,
    /// Another process has noted something, which a call here may wait for.
    look: Notify,
    /// Calls that wait.
    waiting: AtomicUsize,
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
    /// What the proxy last said of itself.
    report: Option<v1::Report>,
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
        Options { mode, auth_lease, token, clock, name }: Options,
    ) -> db::Result<Self> {
        let lease_ms = u64::try_from(auth_lease.as_millis()).unwrap_or(u64::MAX / 4);
        let terms = Terms {
            strict: mode == Mode::Strict,
            lease_ms,
            margin_ms: MARGIN_MS,
            forget_ms: FORGET_MS.max(lease_ms.saturating_mul(2)),
            patience_ms: PATIENCE_MS,
            others: match &db {
                Db::Sqlite { .. } => None,
                Db::Postgres { .. } => Some(Others { lag_ms: STALE_MS, noted_ms: keeper::NOTED_MS }),
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
            name,
            state: Mutex::new(state),
            wanted: Notify::new(),
            published: watch::Sender::new(published),
            moved: Notify::new(),
            news: Notify::new(),
            look: Notify::new(),
            waiting: AtomicUsize::new(0),
            stopping: watch::Sender::new(false),
        });
        inner.recall().await?;
        tokio::spawn(publish(inner.clone()));
        tokio::spawn(keeper::keep(inner.clone()));
        if inner.terms.others.is_some() {
            tokio::spawn(others::hear(inner.clone()));
            tokio::spawn(others::look(inner.clone()));
        }
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
                let standing = inner.standing(&inner.watch(revision, objects, false));
                return inner.answer(standing, since);
            }
            // The sender lives in `inner`.
            tokio::select! {
                _ = published.changed() => {}
                () = inner.clock.until(give_up) => {}
            }
        }
        let _waiting = Waiting::new(&inner.waiting);
        let looked = inner.look_now(give_up).await;
        let watch = inner.watch(revision, objects, looked);
        loop {
            let moved = inner.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let standing = inner.standing(&watch);
            let now = inner.clock.now_ms();
            if standing.waiting == 0 || now >= give_up {
                return inner.answer(standing, since);
            }
            let look_again = standing.look_again.unwrap_or(give_up).min(give_up);
            tokio::select! {
                () = moved => {}
                () = inner.clock.until(look_again) => {}
            }
        }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `changes` read now.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    fn watch(&self, revision: Revision, objects: Objects, looked: bool) -> Watch {
        let now = self.clock.now_ms();
        self.state().membership.watch(revision.0, objects, looked, now)
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

    /// Puts a session in place of the proxy's last one: from here on its queue holds every delta. `None`: another process
    /// has registered the proxy since.
    pub(super) fn attach(
        &self,
        proxy: ProxyId,
        name: &str,
        registered: Registered,
        refused: v1::Refused,
    ) -> Option<(u64, mpsc::Receiver<Item>)> {
        let now = self.clock.now_ms();
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let mut state = self.state();
        let last = state.membership.session(&proxy);
        state.sessions_made += 1;
        let number = state.sessions_made;
        if !state.membership.attach(proxy, number, registered, now) {
            return None;
        }
        if let Some(last) = last {
            state.sessions.remove(&last);
        }
        state.sessions.insert(number, Session { proxy, name: name.to_owned(), queue, report: None });
        state.membership.refuses(&proxy, Some(number), |before| before.followed_by(refused, registered.resumed_at));
        drop(state);
        self.moved.notify_waiters();
        self.news.notify_one();
        Some((number, waiting))
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
        self.news.notify_one();
    }

    /// Grants the lease and puts its reply into the queue in one step: whatever is published later is behind it.
    pub(super) fn heartbeat(&self, proxy: &ProxyId, session: u64, heartbeat: v1::Heartbeat) {
        let now = self.clock.now_ms();
        let mut state = self.state();
        let read_ms = state.read_ms;
        if let Some(report) = heartbeat.report
            && let Some(found) = state.sessions.get_mut(&session)
        {
            found.report = Some(report);
        }
        if state.membership.heartbeat(proxy, session, heartbeat.strict, read_ms, now) {
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
