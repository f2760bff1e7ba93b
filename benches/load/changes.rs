//! What requests notice of a thousand changes a second: latency at a steady rate, without and with them, in turns.

use std::time::Duration;

use crate::{
    control::{Change, Control},
    fixture::Keys,
    systems::System,
    traffic::{Run, Upstream},
};

/// Changes a second.
const CHANGES: u32 = 1_000;
/// Requests a second: about a third of what one core can do, so that what is timed is no queue.
const REQUESTS: u32 = 8_000;
const KEYS: usize = 10_000;

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) async fn run(rounds: u32, slice: Duration, connections: usize) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let keys = Keys::mint(KEYS);
    let control = Control::start(CHANGES).await?;
    let mut system = System::clearway_under(&control, &upstream, &keys).await?;
    let mut runs = [Change::Nothing, Change::Keys, Change::Routes].map(|change| Runs { change, ..Runs::default() });
    system.paced(connections, REQUESTS, slice).await?;
    for _ in 0..rounds {
        let mut quiet = None;
        for runs in &mut runs {
            control.set(runs.change);
            let before = control.acknowledged();
            let (mut did, spent) = system.paced(connections, REQUESTS, slice).await?;
            control.set(Change::Nothing);
            let p99 = did.percentile_us(0.99);
            runs.p99s_us.push(p99);
            runs.ratios.push(f64::from(p99) / f64::from(*quiet.get_or_insert(p99)));
            runs.run.add(did);
            runs.cpu += spent;
            runs.changed += control.acknowledged().saturating_sub(before);
        }
    }
    println!("\n{REQUESTS} requests a second over {connections} connections, {CHANGES} changes a second where there are any\n");
    println!("p99: the median slice's. Its ratio: the median of the rounds', each to its own slice without changes\n");
    println!(
        "{:<12} {:>14} {:>10} {:>8} {:>8} {:>8} {:>12}",
        "", "acknowledged/s", "req/s", "p50 us", "p99 us", "p99", "CPU us/req"
    );
    for Runs { change, run, p99s_us, ratios, cpu, changed } in &mut runs {
        println!(
            "{:<12} {:>14.0} {:>10.0} {:>8} {:>8} {:>8.3} {:>12.2}",
            format!("{change:?}").to_lowercase(),
            *changed as f64 / run.wall.as_secs_f64(),
            run.per_second(),
            run.percentile_us(0.5),
            median(p99s_us, u32::cmp),
            median(ratios, f64::total_cmp),
            cpu.as_secs_f64() * 1e6 / run.requests as f64,
        );
    }
    Ok(())
}

/// The slices of one kind.
#[derive(Default)]
struct Runs {
    change: Change,
    run: Run,
    p99s_us: Vec<u32>,
    ratios: Vec<f64>,
    cpu: Duration,
    changed: u64,
}

fn median<T: Copy>(values: &mut [T], order: impl FnMut(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_unstable_by(order);
    values[values.len() / 2]
}
