//! A new process takes a gateway of a fleet over, under load: what the gateway held goes along, nothing is admitted
//! twice, nothing is lost, and no request fails.

use std::time::Duration;

use clearway_testkit::redis::Redis;

use super::{
    conserved, judged,
    load::Load,
    missing, report,
    stand::{Stand, Use},
};
use crate::eventually;

const USES: [Use; 3] = [
    Use { plan: "chaos-day", key_per_day: 0, rate: 120, held_ms: 0 },
    Use { plan: "brisk", key_per_day: 0, rate: 64, held_ms: 0 },
    Use { plan: "chaos-slots", key_per_day: 0, rate: 50, held_ms: 100 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_gateway_holds_goes_along_with_an_upgrade() {
    let redis = Redis::start();
    let mut stand = Stand::start("upgrades", &redis, 2, &USES).await;
    let load = Load::start(&stand.streams);
    let mut before = Vec::new();
    for round in 1..4 {
        eventually("requests to be admitted", async || (load.of(0).0 > round * 150).then_some(())).await;
        let gateway = &mut stand.gateways[0];
        before.push(tokio::task::block_in_place(|| gateway.upgrade(&[])).unwrap_or_else(|log| panic!("{log}")));
    }
    let mut left = Vec::new();
    for _ in 0..150 {
        left = missing(&stand).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (history, answers) = load.end().await;
    let verdict = judged(&stand, &history);
    report(&verdict, &answers);
    assert_eq!(verdict.over, [], "limits were exceeded");
    assert!(answers.keys().all(|(status, _)| [200, 429].contains(status)), "a request failed: {answers:?}");
    for mut process in before {
        assert_eq!(process.ended().await, Some(0));
    }
    conserved(&mut stand, &history, false).await;
    assert!(left.is_empty(), "was not admitted: {left:?}");
}
