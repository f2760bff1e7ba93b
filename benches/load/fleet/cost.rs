//! Processor time a request of one, two and four gateways: counting in process, by leases, and by asking Redis each time.

use std::time::Duration;

use super::{
    Aims, fleet_of, median,
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
/// Two processes of the same program differ by some per cent for as long as they run, by where their memory lies: each
/// fleet is started so often, and the rounds are shared among the starts.
const STARTS: u32 = 6;
/// Before a slice, uncounted: fleets wait for their turns longer than what they lease lasts, and this is about keys that are
/// in use all the time.
const WARM: Duration = Duration::from_secs(1);
/// A slice takes so many times as long as others of this program: shares are renewed once a second.
const SLICE_PARTS: u32 = 4;
/// What is timed in turn. Counting in process twice: by how much the second differs from the first is the noise of a ratio.
/// What comes after the first [`COMPARED`] costs several times as much, and is started once.
const COUNTINGS: [Counting; 5] =
    [Counting::InProcess, Counting::Leases, Counting::InProcess, Counting::EachRequest, Counting::Nothing];
const COMPARED: usize = 3;

/// What a way of counting came to, in all slices of all starts.
struct Slices {
    counting: Counting,
    run: Run,
    spent: Spent,
    /// Processor microseconds a request of the gateways, by slice.
    cpu_us: Vec<f64>,
}

impl Slices {
    async fn one(&mut self, fleet: &Fleet, keys: &Keys, connections: usize, slice: Duration) -> Result<(), String> {
        fleet.drive(keys, connections, WARM).await?;
        let before = fleet.spent();
        let run = fleet.drive(keys, connections, slice).await?;
        let spent = fleet.spent().since(before);
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
    let (rounds, slice) = (rounds.div_ceil(STARTS), slice * SLICE_PARTS);
    println!(
        "\n{KEYS} keys, each with an account of its own, all windows limited; {connections} connections, {STARTS} starts of each\n\
         fleet, {rounds} slices of {} ms a start, in turn, all gateways on one core. CPU: the median slice's, of all gateways;\n\
         ratio: the median round's. By how much the second in process differs from the first is noise\n",
        slice.as_millis()
    );
    println!(
        "{:<12} {:<28} {:>10} {:>8} {:>9} {:>9} {:>10} {:>8} {:>8} {:>10}",
        "", "", "CPU us/req", "ratio", "Redis us", "req/s", "req/s/key", "p50 us", "p99 us", "calls/req"
    );
    let keys = Keys::limited(roomy(), vec![roomy(); KEYS]);
    for gateways in GATEWAYS {
        let of = |counting| Slices { counting, run: Run::default(), spent: Spent::default(), cpu_us: Vec::new() };
        let mut all = COUNTINGS.map(of);
        for start in 0..STARTS {
            let mut fleets = Vec::new();
            for counting in COUNTINGS.into_iter().take(if start == 0 { COUNTINGS.len() } else { COMPARED }) {
                let fleet = Fleet::start(counting, gateways, upstream, &keys).await?;
                fleet.prove(upstream, &keys).await?;
                fleet.drive(&keys, connections, slice).await?;
                fleets.push(fleet);
            }
            for round in 0..rounds as usize {
                // None is always timed after the same other; five and three are prime, so each is timed once.
                for turn in 0..fleets.len() {
                    let n = (turn * (1 + round % (fleets.len() - 1)) + round) % fleets.len();
                    all[n].one(&fleets[n], &keys, connections, slice).await?;
                }
            }
        }
        report(gateways, &mut all, aims);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(gateways: usize, all: &mut [Slices], aims: &mut Aims) {
    // The mean of both: half of the noise is not the ratio's.
    let in_process: Vec<f64> = all[0].cpu_us.iter().zip(&all[2].cpu_us).map(|(first, second)| (first + second) / 2.0).collect();
    let first = all[0].cpu_us.clone();
    for (n, Slices { counting, run, spent, cpu_us }) in all.iter_mut().enumerate() {
        let base = if n == 2 { &first } else { &in_process };
        let ratio = median(cpu_us.iter().zip(base).map(|(own, base)| own / base).collect());
        let (per_second, each) = (run.per_second(), run.requests as f64);
        let again = if n == 2 { " again" } else { "" };
        println!(
            "{:<12} {:<28} {:>10.2} {:>8.3} {:>9.2} {:>9.0} {:>10.0} {:>8} {:>8} {:>10.5}",
            fleet_of(gateways),
            format!("{}{again}", counting.name()),
            median(cpu_us.clone()),
            ratio,
            spent.redis.as_secs_f64() * 1e6 / each,
            per_second,
            per_second / KEYS as f64,
            run.percentile_us(0.5),
            run.percentile_us(0.99),
            spent.calls as f64 / each,
        );
        if *counting == Counting::Leases {
            aims.at_most(&format!("CPU of leases against in process, {}", fleet_of(gateways)), ratio, RATIO_MAX);
        }
    }
    println!();
}
