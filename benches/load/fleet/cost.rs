//! Processor time a request of one, two and four gateways: counting in process, by leases, and by asking Redis each time.

use std::time::Duration;

use super::{
    Aims, WARM, fleet_of, median,
    stand::{Counting, Fleet, Spent},
};
use crate::{
    fixture::{Keys, roomy},
    traffic::{Run, Upstream},
};

/// So few that each is asked for a thousand times a second and more.
const KEYS: usize = 2;
const GATEWAYS: [usize; 3] = [1, 2, 4];
/// What leases may cost of what counting in process does.
const RATIO_MAX: f64 = 1.05;

/// What a fleet's slices came to.
struct Slices {
    fleet: Fleet,
    run: Run,
    spent: Spent,
    /// Processor microseconds a request of the gateways, by slice.
    cpu_us: Vec<f64>,
}

impl Slices {
    async fn one(&mut self, keys: &Keys, connections: usize, slice: Duration) -> Result<(), String> {
        // What was leased before the others' turns has ended.
        self.fleet.drive(keys, connections, WARM).await?;
        let before = self.fleet.spent();
        let run = self.fleet.drive(keys, connections, slice).await?;
        let spent = self.fleet.spent().since(before);
        self.cpu_us.push(spent.gateways.as_secs_f64() * 1e6 / run.requests as f64);
        self.spent.redis += spent.redis;
        self.spent.calls += spent.calls;
        self.run.add(run);
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) async fn run(
    upstream: &Upstream,
    (rounds, slice): (u32, Duration),
    connections: usize,
    aims: &mut Aims,
) -> Result<(), String> {
    println!(
        "\n{KEYS} keys, each with an account of its own, all windows limited; {connections} connections, {rounds} slices of {} ms\n\
         each in turn, all gateways on one core. CPU: the median slice's, of all gateways; ratio: the median round's\n",
        slice.as_millis()
    );
    println!(
        "{:<12} {:<28} {:>10} {:>8} {:>9} {:>9} {:>10} {:>8} {:>8} {:>10}",
        "", "", "CPU us/req", "ratio", "Redis us", "req/s", "req/s/key", "p50 us", "p99 us", "calls/req"
    );
    let keys = Keys::limited(roomy(), vec![roomy(); KEYS]);
    for gateways in GATEWAYS {
        let mut all = Vec::new();
        for counting in [Counting::InProcess, Counting::Leases, Counting::EachRequest, Counting::Nothing] {
            let fleet = Fleet::start(counting, gateways, upstream, &keys).await?;
            fleet.prove(upstream, &keys).await?;
            fleet.drive(&keys, connections, slice).await?;
            all.push(Slices { fleet, run: Run::default(), spent: Spent::default(), cpu_us: Vec::new() });
        }
        for _ in 0..rounds {
            for slices in &mut all {
                slices.one(&keys, connections, slice).await?;
            }
        }
        report(gateways, &mut all, aims);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(gateways: usize, all: &mut [Slices], aims: &mut Aims) {
    let in_process = all[0].cpu_us.clone();
    for Slices { fleet, run, spent, cpu_us } in all {
        let ratio = median(cpu_us.iter().zip(&in_process).map(|(own, base)| own / base).collect());
        let (per_second, each) = (run.per_second(), run.requests as f64);
        println!(
            "{:<12} {:<28} {:>10.2} {:>8.3} {:>9.2} {:>9.0} {:>10.0} {:>8} {:>8} {:>10.5}",
            fleet_of(gateways),
            fleet.counting.name(),
            median(cpu_us.clone()),
            ratio,
            spent.redis.as_secs_f64() * 1e6 / each,
            per_second,
            per_second / KEYS as f64,
            run.percentile_us(0.5),
            run.percentile_us(0.99),
            spent.calls as f64 / each,
        );
        if fleet.counting == Counting::Leases {
            aims.at_most(&format!("CPU of leases against in process, {}", fleet_of(gateways)), ratio, RATIO_MAX);
        }
    }
    println!();
}
