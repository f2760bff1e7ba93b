//! Goes round: read, hand over, settle, write. Reading and writing go on beside each other and beside what is handed over,
//! so that nothing waits for a commit but what must.

mod steps;
mod stop;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use clearway_config::WebhookId;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    batch::Batch,
    board::{Act, Board},
    outlet::{Answers, Outlet},
    reader::{Found, Reader},
    store,
    writer::Written,
};
use crate::{
    db::{self, Db},
    http::{chain, hex},
    mail::Outbox,
    metrics::Metrics,
    webhooks::Filters,
    world::World,
};

/// A holder that was not seen for this long is taken to be gone.
const HOLD_MS: i64 = 10_000;
/// Between two reads at least, and at most.
const READ_EVERY: Duration = Duration::from_millis(10);
const POLL_EVERY: Duration = Duration::from_millis(200);
/// Between two writes at least, where nothing waits for one, and where something does.
const WRITE_EVERY: Duration = Duration::from_millis(50);
const URGENT_EVERY: Duration = Duration::from_millis(10);
/// While anything is in memory, it is looked at so often.
const TICK: Duration = Duration::from_millis(10);
/// After an error of the database.
const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// Without a proxy for this long, another process may dispatch.
const ALONE_MS: i64 = 5_000;

/// What wakes the dispatcher; whoever it does not hear of it finds by looking.
#[derive(Debug)]
pub struct Wakes {
    /// Events were committed.
    pub events: watch::Receiver<u64>,
    /// Deliveries have become due.
    pub due: watch::Receiver<u64>,
}

/// Has deliveries made and attempted, as long as this process is the one that does.
#[derive(Debug)]
pub struct Dispatcher {
    db: Db,
    world: World,
    outlet: Arc<dyn Outlet>,
    filters: Arc<Filters>,
    outbox: Outbox,
    /// Names this process among those on the database.
    me: String,
    pub(super) board: Board,
    /// `None` while it is reading.
    reader: Option<Reader>,
    /// What could not be written, in this order: a batch, or the parts of one that was refused. It comes before any other.
    unwritten: VecDeque<Batch>,
    /// When this process was last known to hold dispatch.
    renewed_at: i64,
    /// When to look for what is due.
    look_at: i64,
}

pub(super) type Reading = (Reader, db::Result<Found>);
/// Whether each was done.
pub(super) type Acted = Vec<(WebhookId, Act, bool)>;
pub(super) type Writing = (Batch, db::Result<Written>);

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    Kept,
    /// The database does not take something of it: what is left is to be tried at once.
    Refused,
    Failed,
    HoldLost,
}

impl Dispatcher {
    pub fn new(db: Db, world: World, metrics: Metrics, outlet: Arc<dyn Outlet>, filters: Arc<Filters>) -> Self {
        let me = hex(&world.random()[..16]);
        let board = Board::new(world.clone(), metrics);
        Self {
            db,
            world,
            outlet,
            filters,
            outbox: Outbox::default(),
            me,
            board,
            reader: None,
            unwritten: VecDeque::new(),
            renewed_at: i64::MIN,
            look_at: 0,
        }
    }

    /// Where mails about webhooks are put; they are not sent otherwise.
    pub fn mailing(self, outbox: Outbox) -> Self {
        Self { outbox, ..self }
    }

    /// Dispatches whenever no other process does, until `stop` says true; then puts back what it has.
    pub async fn run(mut self, mut answers: impl Answers, mut wakes: Wakes, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            // Of an earlier hold: nobody waits for them.
            while answers.try_next().is_some() {}
            if self.outlet.attached() {
                match self.take_hold().await {
                    Ok(true) => self.lead(&mut answers, &mut wakes, &mut stop).await,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(error.cause = chain(&error), "dispatch cannot be taken"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(ERROR_PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Whether this process dispatches from now on. On SQLite there is no other: one that held it has died.
    pub(super) async fn take_hold(&mut self) -> db::Result<bool> {
        let now_ms = self.world.now_ms();
        let lost_before = if matches!(self.db, Db::Sqlite { .. }) { i64::MAX } else { now_ms - HOLD_MS };
        let mut tx = self.db.begin().await?;
        let Some(fanned_out) = store::take_hold(&mut tx, &self.me, now_ms, lost_before).await? else { return Ok(false) };
        let released = store::release_claims(&mut tx, now_ms).await?;
        let recovered = store::recovered_untold(&mut tx).await?;
        tx.commit().await?;
        tracing::info!(fanned_out, released, "this process dispatches webhooks");
        self.board.clear();
        self.board.acts.extend(recovered.into_iter().map(|webhook| (webhook, Act::Recovered)));
        self.unwritten.clear();
        self.reader = Some(Reader::starting_after(fanned_out, self.filters.clone()));
        self.renewed_at = now_ms;
        self.look_at = now_ms;
        Ok(true)
    }

    async fn lead(&mut self, answers: &mut impl Answers, wakes: &mut Wakes, stop: &mut watch::Receiver<bool>) {
        let mut reading: Option<JoinHandle<Reading>> = None;
        let mut writing: Option<JoinHandle<Writing>> = None;
        let mut acting: Option<JoinHandle<Acted>> = None;
        let (mut read_at, mut wrote_at, mut swept_at) =
            (Instant::now() - POLL_EVERY, Instant::now() - WRITE_EVERY, Instant::now());
        let mut fresh = true;
        let mut alone_since = None;
        loop {
            let attached_now = self.outlet.attached();
            alone_since = if attached_now { None } else { alone_since.or(Some(self.world.now_ms())) };
            if *stop.borrow() || alone_since.is_some_and(|since| self.world.now_ms() - since >= ALONE_MS) {
                return self.leave(answers, reading, writing).await;
            }
            while let Some(answered) = answers.try_next() {
                self.settle(answered);
            }
            self.hand_over();
            if acting.is_none() && !self.board.acts.is_empty() {
                acting = Some(tokio::spawn(self.start_acting()));
            }
            let since_read = read_at.elapsed();
            let wanted = fresh || self.look_at <= self.world.now_ms() || since_read >= POLL_EVERY;
            if reading.is_none() && wanted && since_read >= READ_EVERY && self.board.has_room() {
                read_at = Instant::now();
                fresh = false;
                reading = self.start_reading().map(tokio::spawn);
            }
            let pause = if self.board.is_urgent() { URGENT_EVERY } else { WRITE_EVERY };
            if writing.is_none() && wrote_at.elapsed() >= pause {
                wrote_at = Instant::now();
                writing = self.start_writing(false).map(tokio::spawn);
            }
            if swept_at.elapsed() >= Duration::from_secs(1) {
                swept_at = Instant::now();
                self.board.sweep();
            }
            let nap = if self.board.is_idle() && !fresh { POLL_EVERY } else { TICK };
            tokio::select! {
                answered = answers.next() => self.settle(answered),
                done = joined(&mut reading) => {
                    reading = None;
                    fresh |= done.is_some_and(|done| self.finish_reading(done));
                }
                done = joined(&mut writing) => {
                    writing = None;
                    match done.map(|done| self.finish_writing(done)) {
                        Some(Wrote::Kept) => {}
                        Some(Wrote::Refused) => wrote_at = Instant::now() - WRITE_EVERY,
                        Some(Wrote::Failed) => wrote_at = Instant::now() + ERROR_PAUSE,
                        Some(Wrote::HoldLost) | None => return self.board.clear(),
                    }
                }
                done = joined(&mut acting) => {
                    acting = None;
                    self.finish_acting(done.unwrap_or_default());
                }
                Ok(()) = wakes.events.changed() => fresh = true,
                Ok(()) = wakes.due.changed() => self.look_now(),
                () = tokio::time::sleep(nap) => {}
                Ok(()) = stop.changed() => {}
            }
        }
    }
}

/// What a task has come to; `None` where it has panicked. Waits for ever where there is none.
async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    match task {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}
