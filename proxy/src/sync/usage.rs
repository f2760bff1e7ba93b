//! Where usage reports come from: days that are over from the ledger's spool, the rest from its slots.

use std::{net::IpAddr, sync::Arc};

use clearway_config::sync::v1;
use parking_lot::Mutex;

use crate::ledger::{Ledger, LedgerError, SpooledDay, Subject, Total};

/// What the client reports. One batch is on its way at a time.
pub trait UsageSource: Send + Sync {
    /// Names the ledger file: totals of one ledger only ever grow.
    fn ledger_id(&self) -> [u8; 16];

    /// The next totals, at most `max`; empty when there is nothing to say.
    fn take(&self, max: usize) -> Vec<v1::UsageTotal>;

    /// Control has committed what was last taken.
    fn acknowledged(&self);

    /// Control has perhaps not committed what was last taken: it must come again.
    fn failed(&self);
}

/// The ledger's totals.
#[derive(Debug)]
pub struct LedgerUsage {
    ledger: Arc<Ledger>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    live: Vec<Total>,
    /// The spooled day being read, until all of it is acknowledged.
    spooled: Option<SpooledDay>,
    day: u32,
    /// Whether the last batch was from the spool: they take turns, so that neither waits for the other.
    from_spool: bool,
    /// The batch that is on its way was the day's last.
    day_ends: bool,
}

impl LedgerUsage {
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, taken: Mutex::default() }
    }

    fn take_live(&self, taken: &mut Taken, max: usize) -> Vec<v1::UsageTotal> {
        taken.from_spool = false;
        taken.live = self.ledger.totals(max);
        taken.live.iter().map(wire).collect()
    }

    fn take_spooled(&self, taken: &mut Taken, max: usize) -> Result<Vec<v1::UsageTotal>, LedgerError> {
        taken.from_spool = true;
        taken.day_ends = false;
        if taken.spooled.is_none() {
            let Some(day) = self.ledger.spooled_days()?.into_iter().next() else { return Ok(Vec::new()) };
            taken.spooled = Some(self.ledger.open_spooled(day)?);
            taken.day = day;
        }
        let Some(spooled) = &mut taken.spooled else { return Ok(Vec::new()) };
        let totals = spooled.take(max).collect::<Result<Vec<_>, _>>()?;
        taken.day_ends = totals.len() < max;
        if totals.is_empty() {
            finish_day(&self.ledger, taken);
        }
        Ok(totals.iter().map(wire).collect())
    }
}

fn finish_day(ledger: &Ledger, taken: &mut Taken) {
    taken.spooled = None;
    if let Err(error) = ledger.remove_spooled(taken.day) {
        // It is reported once more, which changes nothing.
        tracing::warn!(error = &error as &dyn std::error::Error, day = taken.day, "reported day not removed from the spool");
    }
}

impl UsageSource for LedgerUsage {
    fn ledger_id(&self) -> [u8; 16] {
        *self.ledger.id()
    }

    fn take(&self, max: usize) -> Vec<v1::UsageTotal> {
        let taken = &mut *self.taken.lock();
        if !taken.from_spool {
            match self.take_spooled(taken, max) {
                Ok(totals) if !totals.is_empty() => return totals,
                Ok(_) => {}
                Err(error) => {
                    taken.spooled = None;
                    tracing::error!(error = &error as &dyn std::error::Error, "spooled usage cannot be reported");
                }
            }
        }
        self.take_live(taken, max)
    }

    fn acknowledged(&self) {
        let taken = &mut *self.taken.lock();
        taken.live.clear();
        if taken.from_spool && taken.day_ends && taken.spooled.is_some() {
            finish_day(&self.ledger, taken);
        }
    }

    fn failed(&self) {
        let taken = &mut *self.taken.lock();
        self.ledger.restore(&std::mem::take(&mut taken.live));
        if taken.from_spool {
            // From the day's beginning: a total reported twice changes nothing.
            taken.spooled = None;
        }
    }
}

fn wire(total: &Total) -> v1::UsageTotal {
    let (subject, id) = match &total.subject {
        Subject::Account(id) => (v1::Subject::Account, id.to_vec()),
        Subject::Key(id) => (v1::Subject::Key, id.to_vec()),
    };
    v1::UsageTotal {
        subject: subject.into(),
        subject_id: id,
        day: total.day,
        admitted: total.admitted,
        last_used_at: total.last_used_ms,
        last_used_address: match total.last_address {
            None => Vec::new(),
            Some(IpAddr::V4(v4)) => v4.octets().to_vec(),
            Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
        },
    }
}
