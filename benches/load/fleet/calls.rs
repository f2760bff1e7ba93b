//! How often Redis is asked, and what a request costs, for keys that are used as keys are: slow ones, many of them, and
//! ones with limits of every kind. Steady, over two gateways; and the same at the same time for one gateway that counts for
//! itself, to see how many of random requests are refused where nothing is shared.

use std::sync::Arc;

use clearway_config::sync::v1;

use super::{
    clients::{Offer, evenly, offer},
    stand::{Counting, Fleet},
};
use crate::{fixture::Keys, traffic::Upstream};

const GATEWAYS: usize = 2;
const SECONDS: f64 = 12.0;
/// Uncounted, before: the first request of a key at a gateway has to ask.
const WARM_SECONDS: f64 = 8.0;
const CONNECTIONS: u64 = 16;

/// Keys that are used alike.
struct Shape {
    name: &'static str,
    keys: usize,
    limits: v1::Limits,
    /// Requests a second of all of them.
    per_second: f64,
}

fn shapes() -> Vec<Shape> {
    let none = v1::Limits::default();
    let day = v1::Limits { per_day: Some(100_000), ..none };
    let second = |per_second| v1::Limits { per_second: Some(per_second), ..day };
    let shape = |name, keys, limits, per_second| Shape { name, keys, limits, per_second };
    vec![
        shape("1 key, 500/s: 100,000 a day", 1, day, 500.0),
        shape("1,000 keys, 1/s each: 100,000 a day", 1_000, day, 1_000.0),
        shape("200 keys, 1/s each: and 10 a second", 200, second(10), 200.0),
        shape("200 keys, 1/s each: and 100 a second", 200, second(100), 200.0),
        shape("20 keys, 8/s each: and 10 a second", 20, second(10), 160.0),
        shape("20 keys, 20/s each: and 10 a second", 20, second(10), 400.0),
        shape("4 keys, 4/s each: and 5 a second", 4, second(5), 16.0),
        shape(
            "4 keys, 250/s each: and 1,000 a second, 50 at once",
            4,
            v1::Limits { concurrent: Some(50), ..second(1_000) },
            1_000.0,
        ),
        shape("200 keys, 1/s each: 100,000 a day, 5 at once", 200, v1::Limits { concurrent: Some(5), ..day }, 200.0),
    ]
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) async fn run(upstream: &Upstream) -> Result<(), String> {
    println!(
        "\nsteady use of {GATEWAYS} gateways for {SECONDS} s; calls: scripts that Redis carried out, the beats of gateways among them\n"
    );
    println!(
        "{:<52} {:>9} {:>9} {:>9} {:>10} {:>10} {:>10} {:>9} {:>8} {:>8}",
        "", "req/s", "refused", "if alone", "calls/s", "calls/req", "CPU us/req", "Redis us", "p50 us", "p99 us"
    );
    let shapes = shapes();
    let limits = shapes.iter().flat_map(|shape| vec![shape.limits; shape.keys]).collect();
    let keys = Keys::limited(v1::Limits::default(), limits);
    let fleet = Fleet::start(Counting::Leases, GATEWAYS, upstream, &keys).await?;
    let alone = Fleet::start(Counting::InProcess, 1, upstream, &keys).await?;
    let mut first = 0;
    for shape in &shapes {
        let secrets: Arc<[String]> = keys.secrets[first..first + shape.keys].into();
        first += shape.keys;
        let for_ = |fleet: &Fleet, seconds: f64| Offer {
            targets: evenly(&fleet.addresses()),
            keys: secrets.clone(),
            per_second: shape.per_second,
            requests: (shape.per_second * seconds) as u64,
            connections: CONNECTIONS * GATEWAYS as u64 / fleet.gateways.len() as u64,
        };
        offer(&for_(&fleet, WARM_SECONDS)).await?;
        let before = fleet.spent();
        let (by_fleet, by_one) = (for_(&fleet, SECONDS), for_(&alone, SECONDS));
        let (answers, if_alone) = tokio::join!(offer(&by_fleet), offer(&by_one));
        let (mut answers, if_alone) = (answers?, if_alone?);
        let spent = fleet.spent().since(before);
        let (requests, p50_us, p99_us) = (answers.requests() as f64, answers.percentile_us(0.5), answers.percentile_us(0.99));
        println!(
            "{:<52} {:>9.0} {:>9} {:>9} {:>10.1} {:>10.4} {:>10.1} {:>9.1} {:>8.0} {:>8.0}",
            shape.name,
            requests / SECONDS,
            answers.refused,
            if_alone.refused,
            spent.calls as f64 / SECONDS,
            spent.calls as f64 / requests,
            spent.gateways.as_secs_f64() * 1e6 / requests,
            spent.redis.as_secs_f64() * 1e6 / requests,
            p50_us,
            p99_us,
        );
    }
    Ok(())
}
