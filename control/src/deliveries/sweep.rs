//! Forgets events, deliveries and attempts that are older than their account's plan keeps them: some at a time, and never
//! what is still under way.
//!
//! It goes through both tables from the oldest on, once for each length of time that any plan has, and remembers how far it
//! has come; so that what is kept for longer is not looked at again and again. Once a day it begins anew, for what was under
//! way when it came by.

use std::{collections::BTreeMap, time::Duration};

use clearway_config::DeliveryId;
use tokio::sync::watch;

use crate::{
    db::{self, Db},
    http::{Api, chain},
    world::World,
};

use super::{log, store};

/// Between two sweeps.
const PAUSE: Duration = Duration::from_secs(15);
/// Between two steps of one, so that it is in nobody's way.
const BREATH: Duration = Duration::from_millis(20);
/// Rows that one step looks at.
const PAGE: u32 = 500;
/// Of [`Db::alone`].
const SWEEPING: i64 = 4_991_386_027_318_862_451;
const DAY_MS: i64 = 86_400_000;
/// Unfinished deliveries are counted up to this.
const COUNTED_MAX: i64 = 100_000;

/// How far a sweep has come, for each number of days that something is kept.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    places: BTreeMap<i64, Place>,
    begun_at: i64,
}

#[derive(Debug, Clone, Default)]
struct Place {
    delivery: String,
    sequence: i64,
}

/// Sweeps until `stop` says true, and looks at what is under way for the metrics.
pub async fn sweep_until(api: Api, mut stop: watch::Receiver<bool>) {
    let mut sweeper = Sweeper::default();
    loop {
        match log::backlog(&api.db, COUNTED_MAX).await {
            Ok((pending, oldest)) => api.metrics.deliveries(pending, oldest.map_or(0, |at| api.world.now_ms() - at)),
            Err(error) => tracing::warn!(error.cause = chain(&error), "deliveries could not be counted"),
        }
        let swept = tokio::select! {
            swept = sweeper.sweep(&api) => swept,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = swept {
            tracing::warn!(error.cause = chain(&error), "deliveries could not be swept");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Sweeper {
    async fn sweep(&mut self, api: &Api) -> db::Result<()> {
        let Some(_alone) = api.db.alone(SWEEPING).await? else { return Ok(()) };
        store::tidy_health(&api.db, api.world.now_ms()).await?;
        loop {
            let (deliveries, events, more) = self.step(&api.db, &api.world).await?;
            for (kind, rows) in [("delivery", deliveries), ("event", events)] {
                if rows > 0 {
                    api.metrics.swept(kind, rows);
                    tracing::info!(kind, rows, "swept");
                }
            }
            if !more {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// How many deliveries and events were removed, and whether there may be more.
    pub(super) async fn step(&mut self, db: &Db, world: &World) -> db::Result<(u64, u64, bool)> {
        let now_ms = world.now_ms();
        if now_ms - self.begun_at >= DAY_MS {
            *self = Self { begun_at: now_ms, ..Self::default() };
        }
        let (mut deliveries, mut events, mut more) = (0, 0, false);
        for days in store::retentions(db).await? {
            let before = now_ms.saturating_sub(days.saturating_mul(DAY_MS));
            let place = self.places.entry(days).or_default();
            let end = DeliveryId::new(u64::try_from(before).unwrap_or(0), 0).to_string();
            let page = store::deliveries_over(db, &place.delivery, end, days, PAGE).await?;
            more |= page.len() == PAGE as usize;
            if let Some((last, _)) = page.last() {
                place.delivery.clone_from(last);
            }
            let over: Vec<String> = page.into_iter().filter(|(_, over)| *over).map(|(id, _)| id).collect();
            deliveries += store::remove_deliveries(db, over).await?;
            let page = store::events_over(db, place.sequence, before, days, PAGE).await?;
            more |= page.len() == PAGE as usize;
            if let Some((last, _)) = page.last() {
                place.sequence = *last;
            }
            let over: Vec<i64> = page.into_iter().filter(|(_, over)| *over).map(|(sequence, _)| sequence).collect();
            events += store::remove_events(db, over).await?;
        }
        Ok((deliveries, events, more))
    }
}
