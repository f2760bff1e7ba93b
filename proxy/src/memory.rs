//! How much memory the process has, and how much it may have.
//!
//! What one client can take is bounded one by one; this is the bound for all of it together, whatever it is. It goes
//! by the process' resident set, so what the allocator gives back late counts a little longer.

use std::{fs, sync::Arc, time::Duration};

use bytesize::ByteSize;

use crate::gateway::gate::Gate;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Has the gate shut while the process has more than `max`; where that is 0, than nine tenths of what there is.
pub(crate) async fn watch(gate: Arc<Gate>, max: ByteSize) {
    let max = self::max(max);
    let page = rustix::param::page_size() as u64;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // Without a descriptor to look with nothing is known, and nothing changes.
        if let Some(pages) = resident_pages() {
            gate.set_crowded(pages * page > max);
        }
    }
}

/// What was set, or nine tenths of what there is. In bytes.
pub(crate) fn max(set: ByteSize) -> u64 {
    if set.as_u64() == 0 { there_is() / 10 * 9 } else { set.as_u64() }
}

fn resident_pages() -> Option<u64> {
    // It is in memory: reading it waits for nothing.
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

/// What the machine has, or the process' control group may have, if that is less.
fn there_is() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min();
    group.map_or(machine, |group: u64| group.min(machine))
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::process::LimitSettings;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn there_is_more_memory_than_the_process_has() {
        let has = resident_pages().unwrap() * rustix::param::page_size() as u64;
        assert!(0 < has && has < there_is());
    }

    #[tokio::test]
    async fn the_gate_is_shut_while_there_is_too_much() {
        let gate = || Arc::new(Gate::new(&LimitSettings::default(), &[], Arc::new(Metrics::new())));
        for (max, crowded) in [(ByteSize::b(1), true), (ByteSize::b(0), false)] {
            let gate = gate();
            gate.set_crowded(!crowded);
            tokio::select! {
                () = watch(gate.clone(), max) => unreachable!("it goes on for ever"),
                () = async { while gate.is_crowded() != crowded { tokio::task::yield_now().await } } => {}
            }
        }
    }
}
