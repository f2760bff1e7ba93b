//! Writing what services emit: requests that arrive while a transaction commits share the next one, so that they share
//! its flush to disk too. One transaction at a time; queue and batch are bounded.
//!
//! A request is taken whole or refused whole. What only the database knows is judged within the transaction: whether a
//! type is still what the data was checked against, whether an account is there, whether an idempotency key is new.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clearway_config::{AccountId, ErrorCode, EventId};
use tokio::{sync::oneshot, time::Instant};

use super::{draft::Key, emit, store, type_store, types::Stamp};
use crate::{
    db::{self, Db},
    http::{ApiError, chain},
};

/// Events and bytes of one transaction, unless a single request has more.
const BATCH_EVENTS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events and bytes that wait.
const QUEUE_EVENTS_MAX: usize = 20_000;
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a transaction that others were in the way of is run again.
const TRIES: u32 = 3;
/// Between the beginnings of two transactions, where requests come faster than one at a time: a commit costs the same
/// for one event and for many. A caller that waits for each answer before it sends the next never waits for this.
const GATHER: Duration = Duration::from_millis(8);

/// An event that was checked, and waits to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) id: EventId,
    pub(super) account_id: AccountId,
    /// The account is not the caller's: it must be one that is there.
    pub(super) foreign: bool,
    pub(super) kind: String,
    /// What the data was checked by.
    pub(super) stamp: Stamp,
    /// The type is an operator's: it must still be as it was then.
    pub(super) registered: bool,
    pub(super) object_id: Option<String>,
    pub(super) body: String,
    pub(super) key: Option<Key>,
    pub(super) created_at: i64,
}

/// An event that has been written, now or when its idempotency key was first used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) id: EventId,
    pub(super) replayed: bool,
}

/// Why a request was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// As much is waiting as may.
    Full,
    /// A type has been changed or taken away since the data was checked.
    Stale(String),
    /// There is no such account.
    AccountUnknown(usize),
    /// The key came with another event before.
    KeyReused(usize),
    Unavailable,
    Failed,
}

/// Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    db: Db,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    events: usize,
    bytes: usize,
    writing: bool,
}

#[derive(Debug)]
struct Waiting {
    events: Vec<Ready>,
    bytes: usize,
    answer: oneshot::Sender<Outcome>,
}

type Outcome = Result<Vec<Accepted>, Refused>;

impl Intake {
    pub(super) fn new(db: Db) -> Self {
        Self { db, queue: Arc::default() }
    }

    /// Answers once the events have been committed. They may be, too, where the caller stopped waiting.
    pub(super) async fn submit(&self, events: Vec<Ready>) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let bytes = events.iter().map(|event| event.body.len()).sum();
        {
            let mut queue = self.locked();
            if queue.events + events.len() > QUEUE_EVENTS_MAX || queue.bytes + bytes > QUEUE_BYTES_MAX {
                return Err(Refused::Full);
            }
            queue.events += events.len();
            queue.bytes += bytes;
            queue.waiting.push(Waiting { events, bytes, answer });
            if !std::mem::replace(&mut queue.writing, true) {
                tokio::spawn(self.clone().write_all());
            }
        }
        answered.await.unwrap_or(Err(Refused::Failed))
    }

    /// Until nothing waits. A task of its own: whoever's request began it may go away.
    async fn write_all(self) {
        let _writing = Writing(&self.queue);
        while let Some(batch) = self.next() {
            let (began, requests) = (Instant::now(), batch.len());
            let (units, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|unit| (unit.events, unit.answer)).unzip();
            for (answer, outcome) in answers.into_iter().zip(self.write_or_split(&units).await) {
                let _ = answer.send(outcome);
            }
            if requests > 1 {
                tokio::time::sleep_until(began + GATHER).await;
            }
        }
    }

    /// What the next transaction writes; without any, this ends the writing.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.locked();
        let (mut events, mut bytes) = (0, 0);
        let fits = queue.waiting.iter().position(|unit| {
            events += unit.events.len();
            bytes += unit.bytes;
            events > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX
        });
        let count = fits.unwrap_or(queue.waiting.len()).max(1).min(queue.waiting.len());
        let batch: Vec<_> = queue.waiting.drain(..count).collect();
        queue.events -= batch.iter().map(|unit| unit.events.len()).sum::<usize>();
        queue.bytes -= batch.iter().map(|unit| unit.bytes).sum::<usize>();
        queue.writing = !batch.is_empty();
        queue.writing.then_some(batch)
    }

    /// What the database refuses for a reason of its own must not take others' events with it: each unit is tried alone then.
    async fn write_or_split(&self, units: &[Vec<Ready>]) -> Vec<Outcome> {
        match self.write(units).await {
            Ok(outcomes) => outcomes,
            Err(db::Error::Unavailable(_) | db::Error::Retry) => vec![Err(Refused::Unavailable); units.len()],
            Err(_) if units.len() == 1 => vec![Err(Refused::Failed)],
            Err(_) => {
                let mut outcomes = Vec::with_capacity(units.len());
                for unit in units {
                    let alone = self.write(std::slice::from_ref(unit)).await;
                    outcomes.push(alone.map_or(Err(Refused::Failed), |mut outcomes| outcomes.swap_remove(0)));
                }
                outcomes
            }
        }
    }

    async fn write(&self, units: &[Vec<Ready>]) -> db::Result<Vec<Outcome>> {
        let mut tried = 0;
        loop {
            let outcome = write(&self.db, units).await;
            tried += 1;
            match outcome {
                Err(db::Error::Retry) if tried < TRIES => {}
                Err(error) => {
                    tracing::error!(units = units.len(), error.cause = chain(&error), "events could not be written");
                    return Err(error);
                }
                Ok(outcomes) => return Ok(outcomes),
            }
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next request begin writing again, should this one have panicked.
struct Writing<'a>(&'a Mutex<Queue>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).writing = false;
        }
    }
}

/// One transaction. Its first statement takes the sequences and their lock, so that whatever is read after it is what
/// all earlier events have left.
async fn write(db: &Db, units: &[Vec<Ready>]) -> db::Result<Vec<Outcome>> {
    let mut tx = db.begin().await?;
    let all = || units.iter().flatten();
    let wanted = all().count();
    let before = store::take(&mut tx, wanted).await?;
    let types: HashSet<&str> = all().filter(|event| event.registered).map(|event| event.kind.as_str()).collect();
    let types = if types.is_empty() { HashMap::new() } else { type_store::versions(&mut tx, types).await? };
    let accounts: HashSet<AccountId> = all().filter(|event| event.foreign).map(|event| event.account_id).collect();
    let accounts = if accounts.is_empty() { HashSet::new() } else { store::known_accounts(&mut tx, accounts).await? };
    let keyed = all().filter_map(|event| Some((event.account_id, event.key.as_ref()?.text.as_str())));
    let keyed: Vec<_> = keyed.collect();
    let mut keys = if keyed.is_empty() { HashMap::new() } else { store::keyed(&mut tx, &keyed).await? };

    let mut rows: Vec<store::NewRow<'_>> = Vec::with_capacity(wanted);
    let mut outcomes = Vec::with_capacity(units.len());
    for unit in units {
        if let Err(refused) = judge(unit, &types, &accounts, &keys) {
            outcomes.push(Err(refused));
            continue;
        }
        let mut accepted = Vec::with_capacity(unit.len());
        for event in unit {
            if let Some(key) = &event.key {
                let name = (event.account_id, key.text.clone());
                if let Some(kept) = keys.get(&name) {
                    accepted.push(Accepted { id: kept.id, replayed: true });
                    continue;
                }
                keys.insert(name, store::Kept { id: event.id, fingerprint: key.fingerprint.clone() });
            }
            let sequence = before + 1 + i64::try_from(rows.len()).unwrap_or(i64::MAX);
            rows.push(row(event, sequence));
            accepted.push(Accepted { id: event.id, replayed: false });
        }
        outcomes.push(Ok(accepted));
    }
    if rows.is_empty() {
        return Ok(outcomes);
    }
    if rows.len() < wanted {
        store::give_back(&mut tx, wanted - rows.len()).await?;
    }
    store::insert(&mut tx, &rows).await?;
    emit::announce(&mut tx);
    tx.commit().await?;
    Ok(outcomes)
}

type Keys = HashMap<(AccountId, String), store::Kept>;

fn judge(unit: &[Ready], types: &HashMap<String, Stamp>, accounts: &HashSet<AccountId>, keys: &Keys) -> Result<(), Refused> {
    let mut own: HashMap<(AccountId, &str), &str> = HashMap::new();
    for (n, event) in unit.iter().enumerate() {
        if event.foreign && !accounts.contains(&event.account_id) {
            return Err(Refused::AccountUnknown(n));
        }
        if let Some(key) = &event.key {
            let kept = keys.get(&(event.account_id, key.text.clone())).map(|kept| kept.fingerprint.as_str());
            let kept = kept.or_else(|| own.insert((event.account_id, &key.text), &key.fingerprint));
            if kept.is_some_and(|fingerprint| fingerprint != key.fingerprint) {
                return Err(Refused::KeyReused(n));
            }
            // What was done stays done, whatever has become of its type.
            if kept.is_some() {
                continue;
            }
        }
        if event.registered && types.get(&event.kind) != Some(&event.stamp) {
            return Err(Refused::Stale(event.kind.clone()));
        }
    }
    Ok(())
}

fn row(event: &Ready, sequence: i64) -> store::NewRow<'_> {
    store::NewRow {
        sequence,
        id: event.id,
        account_id: event.account_id,
        kind: &event.kind,
        version: event.stamp.version,
        object_id: event.object_id.as_deref(),
        body: &event.body,
        idempotency_key: event.key.as_ref().map(|key| key.text.as_str()),
        fingerprint: event.key.as_ref().map(|key| key.fingerprint.as_str()),
        created_at: event.created_at,
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let at = |n: usize, code: ErrorCode| ApiError::new(code).with_details(serde_json::json!({ "event": n }));
        match refused {
            Refused::Full => ApiError::new(ErrorCode::EventsOverloaded),
            Refused::Stale(kind) => {
                ApiError::saying(ErrorCode::Conflict, format!("The type `{kind}` is just being changed; send it again."))
            }
            Refused::AccountUnknown(n) => at(n, ErrorCode::NotFound),
            Refused::KeyReused(n) => at(n, ErrorCode::IdempotencyKeyReused),
            Refused::Unavailable => ApiError::new(ErrorCode::StoreUnavailable),
            Refused::Failed => ApiError::internal("events could not be written; the log says why"),
        }
    }
}
