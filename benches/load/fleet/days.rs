//! Days that are offered half as much again as their limit: what is admitted of it, and how often Redis is asked.

use clearway_config::sync::v1;
use tokio::task::JoinSet;

use super::{
    Aims,
    clients::{Answers, Offer, evenly, offer, skewed},
    fleet_of,
    stand::{Counting, Fleet},
};
use crate::{fixture::Keys, proxy::grouped, traffic::Upstream};

const GATEWAYS: [usize; 3] = [1, 2, 4];
const SMALL: [u64; 3] = [100, 1_000, 10_000];
const LARGE: u64 = 100_000;
/// Requests offered of each one that is admitted.
const OFFERED: f64 = 1.5;
/// How long a day's requests are spread over, where the gateways are fast enough.
const SMALL_SECONDS: f64 = 6.0;
const LARGE_SECONDS: f64 = 12.0;
/// Redis calls a request at [`LARGE`].
const CALLS_MAX: f64 = 0.005;
/// Connections to each gateway, for each day.
const CONNECTIONS: u64 = 8;

/// A day of one key.
#[derive(Debug, Clone, Copy)]
struct Day {
    limit: u64,
    is_skewed: bool,
}

impl Day {
    fn limits(self) -> v1::Limits {
        v1::Limits { per_day: Some(self.limit), ..v1::Limits::default() }
    }

    fn offer(self, fleet: &Fleet, key: &str, seconds: f64) -> Offer {
        let requests = self.limit as f64 * OFFERED;
        let gateways = fleet.addresses();
        Offer {
            targets: if self.is_skewed { skewed(&gateways) } else { evenly(&gateways) },
            keys: [key.to_owned()].into(),
            per_second: requests / seconds,
            requests: requests as u64,
            connections: CONNECTIONS,
        }
    }

    /// How many may be missing.
    fn under_max(self) -> f64 {
        if self.limit >= 1_000 { self.limit as f64 / 1_000.0 } else { 1.0 }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) async fn run(upstream: &Upstream, limit_max: u64, aims: &mut Aims) -> Result<(), String> {
    println!(
        "\na day's limit offered {OFFERED} x, in {SMALL_SECONDS} s all but the largest together, in {LARGE_SECONDS} s that one alone; skewed: 80 % of it to one gateway\n"
    );
    println!(
        "{:<12} {:>9} {:<8} {:>9} {:>9} {:>6} {:>6} {:>10} {:>10}",
        "", "limit", "", "offered", "admitted", "over", "under", "calls/req", "by metrics"
    );
    for gateways in GATEWAYS {
        let skews: &[bool] = if gateways > 1 { &[false, true] } else { &[false] };
        let days = |limits: &[u64]| -> Vec<Day> {
            let limits = limits.iter().filter(|limit| **limit <= limit_max);
            limits.flat_map(|&limit| skews.iter().map(move |&is_skewed| Day { limit, is_skewed })).collect()
        };
        let (small, large) = (days(&SMALL), days(&[LARGE]));
        let limits = small.iter().chain(&large).map(|day| day.limits()).collect();
        let keys = Keys::limited(v1::Limits::default(), limits);
        let fleet = Fleet::start(Counting::Leases, gateways, upstream, &keys).await?;
        // The first key has been used by each gateway to see that it is there.
        let used = gateways as u64;

        let mut offers = JoinSet::new();
        for (n, day) in small.iter().copied().enumerate() {
            let of = day.offer(&fleet, &keys.secrets[n], SMALL_SECONDS);
            offers.spawn(async move { (n, offer(&of).await) });
        }
        while let Some(offered) = offers.join_next().await {
            let (n, answers) = offered.map_err(|e| e.to_string())?;
            report(gateways, small[n], &answers?, if n == 0 { used } else { 0 }, None, aims)?;
        }
        for (n, day) in large.into_iter().enumerate() {
            let (before, counted) = (fleet.spent(), fleet.calls_counted().await?);
            let answers = offer(&day.offer(&fleet, &keys.secrets[small.len() + n], LARGE_SECONDS)).await?;
            let calls = (fleet.spent().since(before).calls, fleet.calls_counted().await? - counted);
            report(gateways, day, &answers, 0, Some(calls), aims)?;
        }
    }
    Ok(())
}

/// An error where more was admitted than the limit: nothing else counts then.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(
    gateways: usize,
    day: Day,
    answers: &Answers,
    used: u64,
    calls: Option<(u64, u64)>,
    aims: &mut Aims,
) -> Result<(), String> {
    let Day { limit, is_skewed } = day;
    let (offered, admitted) = (answers.requests() + used, answers.admitted + used);
    let (over, under) = (admitted.saturating_sub(limit), limit.saturating_sub(admitted));
    let a_request = |calls: u64| format!("{:.5}", calls as f64 / offered as f64);
    let (by_redis, by_metrics) = calls.map(|(redis, metrics)| (a_request(redis), a_request(metrics))).unwrap_or_default();
    println!(
        "{:<12} {:>9} {:<8} {offered:>9} {admitted:>9} {over:>6} {under:>6} {by_redis:>10} {by_metrics:>10}",
        fleet_of(gateways),
        grouped(limit as usize),
        if is_skewed { "skewed" } else { "even" },
    );
    let skew = if is_skewed { " (skewed)" } else { "" };
    let of = format!("{}{skew} a day, {}", grouped(limit as usize), fleet_of(gateways));
    if over > 0 {
        return Err(format!("{of}: {admitted} were admitted"));
    }
    aims.at_most(&format!("missing of {of}"), under as f64, day.under_max());
    if let Some((calls, _)) = calls {
        aims.at_most(&format!("Redis calls a request, {of}"), calls as f64 / offered as f64, CALLS_MAX);
    }
    Ok(())
}
