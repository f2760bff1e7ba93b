//! A fleet that shares quotas by Redis: what leases cost beside counting in process and beside asking Redis about each
//! request, how often Redis is asked, what it adds to latency, and whether limits are met exactly.
//!
//! Each fleet has a Redis of its own, on the clients' core; all gateways are on the other one. Quotas are proven before they
//! are timed, and more admitted than a limit is an error; an aim that is missed is only said.

mod calls;
mod clients;
mod cost;
mod days;
mod latency;
mod stand;

use std::time::Duration;

use clap::ValueEnum;

use crate::traffic::Upstream;

/// Uncounted, at the start of a slice: fleets wait for their turns longer than what they lease lasts.
const WARM: Duration = Duration::from_millis(200);

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Processor time a request.
    Cost,
    /// Latency at a steady rate.
    Latency,
    /// Redis calls of keys that are used in several ways.
    Calls,
    /// Days that are offered more than their limit.
    Days,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) slice: Duration,
    pub(crate) connections: usize,
    /// All without it.
    pub(crate) part: Option<Part>,
    /// The largest day's limit that is tried.
    pub(crate) limit_max: u64,
}

/// What is to be reached, and what was.
#[derive(Debug, Default)]
struct Aims(Vec<(String, f64, f64)>);

impl Aims {
    fn at_most(&mut self, what: &str, is: f64, max: f64) {
        self.0.push((what.to_owned(), is, max));
    }
}

pub(crate) async fn run(plan: &Plan) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let mut aims = Aims::default();
    let is_asked = |part: Part| plan.part.is_none_or(|only| only == part);
    if is_asked(Part::Cost) {
        cost::run(&upstream, (plan.rounds, plan.slice), plan.connections, &mut aims).await?;
    }
    if is_asked(Part::Latency) {
        latency::run(&upstream, (plan.rounds, plan.slice)).await?;
    }
    if is_asked(Part::Calls) {
        calls::run(&upstream).await?;
    }
    if is_asked(Part::Days) {
        days::run(&upstream, plan.limit_max, &mut aims).await?;
    }
    report(&aims);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(aims: &Aims) {
    println!("\n{:<56} {:>9} {:>9}", "aim", "at most", "is");
    for (what, is, max) in &aims.0 {
        let said = if is <= max { "reached" } else { "MISSED" };
        println!("{what:<56} {max:>9} {:>9} {said}", format!("{is:.4}").trim_end_matches('0').trim_end_matches('.'));
    }
}

fn fleet_of(gateways: usize) -> String {
    if gateways == 1 { "1 gateway".to_owned() } else { format!("{gateways} gateways") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
