//! What a request's decision adds to its latency, at the same steady rate for all: leases beside counting in process, and
//! asking Redis each time beside not counting.

use std::time::Duration;

use super::{
    WARM,
    clients::{Offer, evenly, offer},
    median,
    stand::{Counting, Fleet},
};
use crate::{
    fixture::{Keys, roomy},
    traffic::Upstream,
};

const KEYS: usize = 8;
const GATEWAYS: usize = 2;
/// Requests a second: far from what a core can do, so that what is timed is no queue.
const PER_SECOND: f64 = 2_000.0;
/// Connections to each gateway.
const CONNECTIONS: u64 = 16;

/// Percentiles of each slice.
struct Slices {
    fleet: Fleet,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) async fn run(upstream: &Upstream, (rounds, slice): (u32, Duration)) -> Result<(), String> {
    let keys = Keys::limited(roomy(), vec![roomy(); KEYS]);
    let mut all = Vec::new();
    for counting in [Counting::InProcess, Counting::Leases, Counting::Nothing, Counting::EachRequest] {
        let fleet = Fleet::start(counting, GATEWAYS, upstream, &keys).await?;
        all.push(Slices { fleet, p50_us: Vec::new(), p99_us: Vec::new() });
    }
    for _ in 0..rounds {
        for Slices { fleet, p50_us, p99_us } in &mut all {
            let for_ = |time: Duration| Offer {
                targets: evenly(&fleet.addresses()),
                keys: keys.secrets.clone(),
                per_second: PER_SECOND,
                requests: (PER_SECOND * time.as_secs_f64()) as u64,
                connections: CONNECTIONS,
            };
            offer(&for_(WARM)).await?;
            let mut answers = offer(&for_(slice)).await?;
            if answers.refused > 0 {
                return Err(format!("{}: {} requests were refused", fleet.counting.name(), answers.refused));
            }
            p50_us.push(answers.percentile_us(0.5));
            p99_us.push(answers.percentile_us(0.99));
        }
    }
    println!(
        "\n{PER_SECOND} requests a second over {GATEWAYS} gateways and {KEYS} keys, {rounds} slices of {} ms each in turn; latency in us,\n\
         the median slice's. More: the median of the rounds' differences, to the row above\n",
        slice.as_millis()
    );
    println!("{:<28} {:>8} {:>8} {:>10} {:>10}", "", "p50", "p99", "p50 more", "p99 more");
    for pair in all.chunks(2) {
        row(&pair[0], None);
        row(&pair[1], Some(&pair[0]));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn row(of: &Slices, base: Option<&Slices>) {
    let more =
        |own: &[f64], base: &[f64]| format!("{:+.0}", median(own.iter().zip(base).map(|(own, base)| own - base).collect()));
    println!(
        "{:<28} {:>8.0} {:>8.0} {:>10} {:>10}",
        of.fleet.counting.name(),
        median(of.p50_us.clone()),
        median(of.p99_us.clone()),
        base.map(|base| more(&of.p50_us, &base.p50_us)).unwrap_or_default(),
        base.map(|base| more(&of.p99_us, &base.p99_us)).unwrap_or_default(),
    );
}
