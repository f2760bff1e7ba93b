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
    let mut runs = [Change::Nothing, Change::Keys, Change::Routes].map(|change| (change, Run::default(), Duration::ZERO, 0));
    system.paced(connections, REQUESTS, slice).await?;
    for _ in 0..rounds {
        for (change, run, cpu, changed) in &mut runs {
            control.set(*change);
            let before = control.acknowledged();
            let (did, spent) = system.paced(connections, REQUESTS, slice).await?;
            control.set(Change::Nothing);
            run.add(did);
            *cpu += spent;
            *changed += control.acknowledged().saturating_sub(before);
        }
    }
    println!("\n{REQUESTS} requests a second over {connections} connections, {CHANGES} changes a second where there are any\n");
    println!(
        "{:<12} {:>14} {:>10} {:>8} {:>8} {:>8} {:>12}",
        "", "acknowledged/s", "req/s", "p50 us", "p99 us", "p99", "CPU us/req"
    );
    let mut quiet = None;
    for (change, run, cpu, changed) in &mut runs {
        let (p99, requests) = (run.percentile_us(0.99), run.requests);
        let quiet = *quiet.get_or_insert(p99);
        println!(
            "{:<12} {:>14.0} {:>10.0} {:>8} {:>8} {:>8.3} {:>12.2}",
            format!("{change:?}").to_lowercase(),
            *changed as f64 / run.wall.as_secs_f64(),
            run.per_second(),
            run.percentile_us(0.5),
            p99,
            f64::from(p99) / f64::from(quiet),
            cpu.as_secs_f64() * 1e6 / requests as f64,
        );
    }
    Ok(())
}
