//! Quotas that have been reached: `quota.exceeded`, once for each subject, day and month. It is found by what proxies
//! report, so it is told a moment after they have begun to refuse.

use std::collections::BTreeSet;

use super::store::{self, Day, Reached};
use crate::{
    db::{self, Db, Tx},
    events::{
        self, NewEvent, Time,
        quota::{Period, QuotaExceeded, Subject},
    },
    http::time::{DAY_MS, month_of},
    world::World,
};

/// How long it is remembered that a quota was told of: longer than a month and what may be reported late.
pub(super) const KEPT_MS: i64 = 100 * DAY_MS;
/// Rows that one sweep removes at most.
const SWEEP_MAX: i64 = 1_000;

/// The days and months that totals count towards, each once.
pub(super) fn periods(days: &[Day]) -> Vec<store::Period> {
    let mut periods = BTreeSet::new();
    for day in days {
        let at = i64::from(day.day);
        let (first, last) = month_of(at);
        periods.insert((day.kind, &day.id, "day", at, at));
        periods.insert((day.kind, &day.id, "month", first, last));
    }
    let period = |(kind, id, period, first, last): (&'static str, &String, &'static str, i64, i64)| store::Period {
        kind,
        id: id.clone(),
        period,
        first,
        last,
    };
    periods.into_iter().map(period).collect()
}

/// Emits for every quota that has been reached and was not told of yet.
pub(super) async fn tell(tx: &mut Tx, world: &World, periods: Vec<store::Period>) -> db::Result<()> {
    if periods.is_empty() {
        return Ok(());
    }
    let (accounts, keys): (Vec<_>, Vec<_>) = periods.into_iter().partition(|period| period.kind == "account");
    let mut reached = store::accounts_reached(tx, accounts).await?;
    reached.extend(store::keys_reached(tx, keys).await?);
    if reached.is_empty() {
        return Ok(());
    }
    // Two batches may have found the same: the one whose row is new tells.
    let told = store::note_reached(tx, &reached, world.now_ms()).await?;
    let told: BTreeSet<_> = told.into_iter().collect();
    let new = reached.iter().filter(|one| told.contains(&(one.kind.clone(), one.id.clone(), one.period.clone(), one.first)));
    let events = new.map(event).collect::<db::Result<Vec<_>>>()?;
    events::emit_all(tx, world, &events).await.map(|_| ())
}

fn event(reached: &Reached) -> db::Result<NewEvent> {
    let data = QuotaExceeded {
        subject: if reached.kind == "key" { Subject::Key } else { Subject::Account },
        subject_id: reached.id.clone(),
        period: if reached.period == "month" { Period::Month } else { Period::Day },
        period_start: Time(reached.first.saturating_mul(DAY_MS)),
        limit: reached.allowed,
        admitted: reached.admitted,
        overage: reached.overage,
    };
    Ok(NewEvent::of(db::decode("accounts.id", &reached.account_id)?, &data))
}

/// Forgets what was told of long ago; how many.
pub async fn sweep(db: &Db, world: &World) -> db::Result<u64> {
    store::forget_reached(db, world.now_ms() - KEPT_MS, SWEEP_MAX).await
}
