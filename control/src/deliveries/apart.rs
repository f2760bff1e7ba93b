//! What becomes of a batch that the database refuses because of what is in it: it is taken apart until the row is found that
//! it does not take. That row then goes with less, and in the end without; all others as they are. Pure.
//!
//! Parts are written one after the other, each in a transaction of its own. The order within a batch is kept, and an event
//! still counts as fanned out only once all its deliveries have been written.

use std::collections::HashSet;

use super::{
    batch::{AttemptRow, Batch, Insert, Promotion, Standing, Update},
    model::State,
};

/// The failure of a delivery that ended because the database refuses its row. As in `deliveries.last_failure`.
pub(super) const UNWRITABLE: &str = "unwritable";

#[derive(Debug)]
pub(super) enum Apart {
    /// To be written in this order.
    Halves(Box<Batch>, Box<Batch>),
    /// A single row, with less in it than before. And its name.
    Less(Box<Batch>, String),
    /// A single row that can be no less: it is not written at all.
    Without(Box<Batch>, String),
}

/// What to write in place of a batch that was refused.
pub(super) fn apart(mut batch: Batch, now_ms: i64) -> Apart {
    let first = first_kind(&mut batch);
    if rows(&batch) > 0 {
        return Apart::Halves(Box::new(first), Box::new(batch));
    }
    let fanned_out = first.fanned_out.or(batch.fanned_out);
    let mut single = Batch { fanned_out, ..first };
    if rows(&single) > 1 {
        let (first, second) = halves(single);
        return Apart::Halves(Box::new(first), Box::new(second));
    }
    let name = name(&single);
    if lessen(&mut single, now_ms) { Apart::Less(Box::new(single), name) } else { Apart::Without(Box::new(single), name) }
}

/// Attempts belong to an insert or an update.
fn rows(batch: &Batch) -> usize {
    let Batch { fanned_out: _, inserts, updates, attempts, promote, due, failing, cancel, claims } = batch;
    let lone = usize::from(inserts.is_empty() && updates.is_empty() && !attempts.is_empty());
    lone + inserts.len() + updates.len() + promote.len() + due.len() + failing.len() + cancel.len() + claims.len()
}

/// Takes what comes first out of a batch: rows of one kind, with the attempts that belong to them.
fn first_kind(batch: &mut Batch) -> Batch {
    use std::mem::take;
    if !batch.due.is_empty() {
        return Batch { due: take(&mut batch.due), ..Batch::default() };
    }
    if !batch.inserts.is_empty() {
        let inserts = take(&mut batch.inserts);
        let ids: HashSet<_> = inserts.iter().map(|insert| insert.id).collect();
        let (attempts, others) = take(&mut batch.attempts).into_iter().partition(|attempt| ids.contains(&attempt.id));
        batch.attempts = others;
        return Batch { fanned_out: batch.fanned_out.take(), inserts, attempts, ..Batch::default() };
    }
    if !batch.updates.is_empty() || !batch.attempts.is_empty() {
        return Batch { updates: take(&mut batch.updates), attempts: take(&mut batch.attempts), ..Batch::default() };
    }
    if !batch.failing.is_empty() {
        return Batch { failing: take(&mut batch.failing), ..Batch::default() };
    }
    if !batch.promote.is_empty() {
        return Batch { promote: take(&mut batch.promote), ..Batch::default() };
    }
    if !batch.cancel.is_empty() {
        return Batch { cancel: take(&mut batch.cancel), ..Batch::default() };
    }
    Batch { claims: take(&mut batch.claims), ..Batch::default() }
}

/// Of rows of one kind, more than one of them.
fn halves(mut first: Batch) -> (Batch, Batch) {
    let mut second = Batch { fanned_out: first.fanned_out.take(), ..Batch::default() };
    let half = |len: usize| len.div_ceil(2);
    if !first.inserts.is_empty() {
        let at = border(&first.inserts);
        second.inserts = first.inserts.split_off(at);
        let (last, next) = (first.inserts.last(), second.inserts.first());
        // Of an event whose deliveries are cut apart only the last part may say that it has been fanned out.
        first.fanned_out = last.map(|last| last.sequence).filter(|last| next.is_some_and(|next| next.sequence != *last));
    }
    second.updates = first.updates.split_off(half(first.updates.len()));
    second.promote = first.promote.split_off(half(first.promote.len()));
    second.cancel = first.cancel.split_off(half(first.cancel.len()));
    second.claims = first.claims.split_off(half(first.claims.len()));
    for _ in 0..first.due.len() / 2 {
        if let Some(webhook) = first.due.keys().next().copied() {
            second.due.extend(first.due.remove(&webhook).map(|at| (webhook, at)));
        }
    }
    for _ in 0..first.failing.len() / 2 {
        if let Some(webhook) = first.failing.keys().next().copied() {
            second.failing.extend(first.failing.remove(&webhook).map(|failing| (webhook, failing)));
        }
    }
    let behind: HashSet<_> =
        second.inserts.iter().map(|insert| insert.id).chain(second.updates.iter().map(|update| update.id)).collect();
    let (behind, before) = first.attempts.into_iter().partition(|attempt| behind.contains(&attempt.id));
    (first.attempts, second.attempts) = (before, behind);
    (first, second)
}

/// Where to cut in two: between two events, if there are two.
fn border(inserts: &[Insert]) -> usize {
    let middle = inserts.len() / 2;
    let Some(event) = inserts.get(middle).map(|insert| insert.sequence) else { return middle };
    let begins = inserts.partition_point(|insert| insert.sequence < event);
    let ends = inserts.partition_point(|insert| insert.sequence <= event);
    match (begins, ends) {
        (0, ends) if ends == inserts.len() => middle,
        (0, ends) => ends,
        (begins, _) => begins,
    }
}

/// Leaves something out of a single row: what its receiver said, then all but that it has ended. Whether there was anything.
fn lessen(batch: &mut Batch, now_ms: i64) -> bool {
    if batch.attempts.iter().any(|attempt| !attempt.is_stripped()) {
        batch.attempts.iter_mut().for_each(AttemptRow::strip);
        return true;
    }
    let (now, webhook, order_key) = match (batch.inserts.first_mut(), batch.updates.first_mut()) {
        (Some(Insert { now, webhook, order_key, object_id, .. }), _) => {
            *object_id = None;
            (now, *webhook, order_key.take())
        }
        (None, Some(Update { now, webhook, order_key, .. })) => (now, *webhook, order_key.take()),
        (None, None) => return false,
    };
    if now.last_failure == Some(UNWRITABLE) {
        return false;
    }
    let state = if now.completed_at.is_some() { now.state } else { State::Failed };
    *now = Standing { last_failure: Some(UNWRITABLE), ..Standing::ended(state, now.attempts, now_ms) };
    batch.attempts.clear();
    // Nothing of the object may wait for it any longer.
    batch.promote.extend(order_key.map(|order_key| Promotion { webhook, order_key }));
    true
}

/// For the log.
fn name(batch: &Batch) -> String {
    let delivery = batch.inserts.first().map(|insert| insert.id).or(batch.updates.first().map(|update| update.id));
    let delivery = delivery.or(batch.attempts.first().map(|attempt| attempt.id));
    let webhook = batch.due.keys().chain(batch.failing.keys()).copied().next();
    let webhook = webhook.or(batch.promote.first().map(|promotion| promotion.webhook));
    let webhook = webhook.or(batch.cancel.first().map(|cancel| cancel.webhook));
    let webhook = webhook.or(batch.claims.first().map(|(webhook, _)| *webhook));
    delivery.map(|id| id.to_string()).or(webhook.map(|id| id.to_string())).unwrap_or_default()
}
