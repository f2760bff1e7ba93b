//! Emitting: an event's row, in the transaction of what it speaks of.

use clearway_config::{AccountId, EventId};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{body, catalogue::EventData, store};
use crate::{
    db::{self, Db, Signal, Tx},
    world::World,
};

/// Raised by every commit that holds an event.
const COMMITTED: Signal = Signal("events");

/// An event that is about to happen.
#[derive(Debug)]
pub struct NewEvent {
    pub account_id: AccountId,
    /// Its type, as in the catalogue.
    pub kind: &'static str,
    pub version: u32,
    /// What it is about: events of one object can be delivered in order.
    pub object_id: Option<String>,
    pub data: Box<RawValue>,
}

impl NewEvent {
    pub fn of<E: EventData>(account_id: AccountId, data: &E) -> Self {
        let raw = serde_json::value::to_raw_value(data).expect("an event's data has text keys and no failing parts");
        Self { account_id, kind: E::TYPE, version: E::VERSION, object_id: Some(data.object_id()), data: raw }
    }
}

/// Writes an event. It happens with the commit of `tx`, or not at all.
///
/// Call it when everything but [`crate::sync::record`] has been written: from here to the commit nobody else can emit,
/// so that sequences are in commit order; and whoever locked a row after this could wait for one who waits for it.
pub async fn emit(tx: &mut Tx, world: &World, event: NewEvent) -> db::Result<EventId> {
    let ids = emit_all(tx, world, &[event]).await?;
    Ok(ids[0])
}

/// [`emit`] for several at once, in their order.
pub async fn emit_all(tx: &mut Tx, world: &World, events: &[NewEvent]) -> db::Result<Vec<EventId>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let now_ms = world.now_ms();
    let bodies: Vec<(EventId, String)> = events
        .iter()
        .map(|event| {
            let id = world.id(EventId::new);
            (id, body::written(id, event.kind, now_ms, &event.data))
        })
        .collect();
    let before = store::take(tx, events.len()).await?;
    let rows: Vec<_> = (before + 1..)
        .zip(events.iter().zip(&bodies))
        .map(|(sequence, (event, (id, body)))| store::NewRow {
            sequence,
            id: *id,
            account_id: event.account_id,
            kind: event.kind,
            version: event.version.into(),
            object_id: event.object_id.as_deref(),
            body,
            idempotency_key: None,
            fingerprint: None,
            created_at: now_ms,
        })
        .collect();
    store::insert(tx, &rows).await?;
    announce(tx);
    Ok(bodies.into_iter().map(|(id, _)| id).collect())
}

/// Tells the fan-out and the feed's readers, once `tx` has been committed.
pub(super) fn announce(tx: &mut Tx) {
    tx.announce(COMMITTED);
}

/// Changes with every commit of this process that holds events. Other processes' commits are not heard of here.
pub fn committed(db: &Db) -> watch::Receiver<u64> {
    db.listen(COMMITTED)
}
