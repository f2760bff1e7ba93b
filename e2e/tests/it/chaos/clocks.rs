//! Clocks that are wrong, and that somebody sets: Redis's own, which is the fleet's, and those of gateways, which decide
//! nothing.

use std::time::Duration;

use clearway_testkit::{clock::Clock, redis::Redis};

use super::{
    judged,
    load::Load,
    only_known, report,
    stand::{Stand, Use},
};
use crate::eventually;

const DAY: i64 = 86_400;

const USES: [Use; 3] = [
    Use { plan: "chaos-few", key_per_day: 0, rate: 20, held_ms: 0 },
    Use { plan: "brisk", key_per_day: 0, rate: 90, held_ms: 0 },
    Use { plan: "chaos-slots", key_per_day: 0, rate: 40, held_ms: 100 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_budget_opens_again_when_the_clock_of_redis_is_set() {
    let [dir, another] = [0, 1].map(|_| tempfile::tempdir().expect("a temporary directory"));
    let (clock, of_gateways) = (Clock::in_dir(dir.path()), Clock::in_dir(another.path()));
    of_gateways.set(-2 * DAY);
    let redis = Redis::start_by_clock(&clock);
    let stand = Stand::start_in("clocks", &redis, 2, &USES, of_gateways.env()).await;
    let limit = stand.subjects[0].1.per_day.expect("a day's limit");
    let load = Load::start(&stand.streams);
    let used_up = async |days: u64| {
        // No gateway dies here: what clients were answered is what was counted.
        eventually("the day to be used up", async || {
            let admitted = load.of(0).0;
            assert!(admitted <= limit * days, "{admitted} of {days} days with {limit} each");
            (admitted == limit * days).then_some(())
        })
        .await;
        let refused = load.of(0).1;
        eventually("more to be asked for", async || (load.of(0).1 > refused + 15).then_some(())).await;
        assert_eq!(load.of(0).0, limit * days, "of {days} days");
    };
    used_up(1).await;
    // By whole seconds, so that windows go on where they would have been.
    for (ahead_seconds, days) in [(-DAY, 1), (5, 1), (DAY, 2), (-3, 2), (DAY, 2)] {
        println!("the clock of Redis is {ahead_seconds} seconds ahead");
        clock.set(ahead_seconds);
        used_up(days).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let accepted = load.of(1).0;
    eventually("seconds to be shared out again", async || (load.of(1).0 > accepted + 20).then_some(())).await;
    let (mut history, answers) = load.end().await;
    // Days are judged above; whose clock these requests' days went by, their clients do not know.
    history.retain(|seen| seen.subjects[0] != Some(0));
    let verdict = judged(&stand, &history);
    report(&verdict, &answers);
    only_known(&answers, false);
    assert_eq!(verdict.over, [], "limits were exceeded");
}
