//! What the checker is for: a Redis in which somebody takes back what was noted as granted, so that it is granted twice.
//! Every kind of limit is exceeded then, and the same run without him passes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clearway_testkit::redis::Redis;

use super::{
    judged,
    load::Load,
    only_known, report,
    stand::{Stand, Use},
};
use crate::eventually;

const USES: [Use; 4] = [
    Use { plan: "tight", key_per_day: 0, rate: 120, held_ms: 0 },
    Use { plan: "chaos-both", key_per_day: 8, rate: 30, held_ms: 0 },
    Use { plan: "brisk", key_per_day: 0, rate: 160, held_ms: 0 },
    Use { plan: "chaos-slots", key_per_day: 0, rate: 50, held_ms: 100 },
];

/// Forgets, over and over, what is out of every day, and who has which part of a second and of a concurrency.
const DOCTOR: &str = r"
for _, key in ipairs(redis.call('KEYS', '*:day:*')) do redis.call('HSET', key, 'out', '0') end
for _, key in ipairs(redis.call('KEYS', '*:second')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', '*:concurrent')) do redis.call('DEL', key) end
return 'done'
";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_lease_that_is_granted_twice_is_found() {
    for doctored in [false, true] {
        let redis = Arc::new(Redis::start());
        let stand = Stand::start(if doctored { "doctored" } else { "healthy" }, &redis, 2, &USES).await;
        let stop = Arc::new(AtomicBool::new(false));
        let doctor = {
            let (redis, stop) = (redis.clone(), stop.clone());
            tokio::task::spawn_blocking(move || {
                while doctored && !stop.load(Ordering::SeqCst) {
                    redis.command(&["EVAL", DOCTOR, "0"]);
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let load = Load::start(&stand.streams);
        // More was asked for of each than there is.
        eventually("the day to be used up", async || (load.of(0).0 + load.of(0).1 > 400).then_some(())).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (history, answers) = load.end().await;
        stop.store(true, Ordering::SeqCst);
        doctor.await.expect("the doctor does not panic");
        let verdict = judged(&stand, &history);
        report(&verdict, &answers);
        only_known(&answers, false);
        let over: Vec<&str> = verdict.over.iter().map(|over| over.subject.as_str()).collect();
        println!("{} windows exceeded: {:?}", verdict.over.len(), verdict.over.first());
        for subject in ["tight", "chaos-both's key", "brisk", "chaos-slots"] {
            assert_eq!(over.contains(&subject), doctored, "{subject} was exceeded: {:?}", verdict.over);
        }
    }
}
