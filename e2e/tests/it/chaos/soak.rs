//! A fleet for as long as it is given (`make soak MINUTES=30`): mixed traffic, a fault now and then, a gateway that is
//! restarted. No process grows, limits hold, and in the end access logs, ledgers, Redis and the API say the same number.
//! Without `CLEARWAY_SOAK_MINUTES` this ends at once.

use std::{
    fs,
    time::{Duration, Instant},
};

use clearway_testkit::redis::Redis;

use super::{
    conserved,
    faults::{Trouble, seed},
    judged,
    load::Load,
    only_known, report,
    stand::{ALL, Stand, Use},
};

const MINUTES: &str = "CLEARWAY_SOAK_MINUTES";
/// How often processes are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What a process may have grown by from one part of the run to a later one: this, or a tenth.
const GROWTH_KIB: u64 = 4 * 1_024;
const DESCRIPTORS: u64 = 24;

/// One look at a process.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    resident_kib: u64,
    descriptors: u64,
}

/// A process that lives through the run.
#[derive(Debug)]
struct Watched {
    name: String,
    pid: u32,
    looks: Vec<Look>,
}

impl Watched {
    fn look(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let resident_kib = resident.and_then(|kib| kib.parse().ok()).unwrap_or_else(|| panic!("{} has ended", self.name));
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, |fds| fds.count() as u64);
        self.looks.push(Look { at: Instant::now(), resident_kib, descriptors });
    }

    /// What is wrong with how it has grown, if anything. A third of the run is for warming up; of the rest the first third
    /// is compared with the last.
    fn grown(&self) -> Option<String> {
        let rest = &self.looks[self.looks.len() / 3..];
        let (early, late) = (&rest[..rest.len() / 3], &rest[rest.len() - rest.len() / 3..]);
        let median = |looks: &[Look], of: fn(&Look) -> u64| {
            let mut values: Vec<u64> = looks.iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let resident = [early, late].map(|looks| median(looks, |look| look.resident_kib));
        let descriptors = [early, late].map(|looks| median(looks, |look| look.descriptors));
        let minutes = (late[0].at - early[0].at).as_secs_f64() / 60.0;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let slope = (resident[1] as f64 - resident[0] as f64) / minutes;
        println!("{}: {resident:?} KiB ({slope:+.0} KiB a minute), {descriptors:?} descriptors", self.name);
        let may_grow = (resident[0] / 10).max(GROWTH_KIB);
        if resident[1] > resident[0] + may_grow {
            return Some(format!("{} grows: {resident:?} KiB, {slope:+.0} KiB a minute", self.name));
        }
        (descriptors[1] > descriptors[0] + DESCRIPTORS).then(|| format!("{} opens more and more: {descriptors:?}", self.name))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_fleet_stays_as_it_is() {
    let Ok(minutes) = std::env::var(MINUTES) else { return };
    let length = Duration::from_secs_f64(minutes.parse::<f64>().expect("a number of minutes") * 60.0);
    let mut redis = Redis::start();
    let mut uses = ALL.to_vec();
    uses.push(Use { plan: "enterprise", key_per_day: 0, rate: 60, held_ms: 0 });
    let mut stand = Stand::start("soak", &redis, 3, &uses).await;
    let mut watched = vec![Watched { name: "control".to_owned(), pid: stand.control.process.pid(), looks: Vec::new() }];
    for gateway in &stand.gateways[..2] {
        watched.push(Watched { name: gateway.name.clone(), pid: gateway.process.pid(), looks: Vec::new() });
    }
    let load = Load::start(&stand.streams);
    let until = Instant::now() + length;
    let watching = tokio::spawn(async move {
        while Instant::now() < until {
            watched.iter_mut().for_each(Watched::look);
            tokio::time::sleep(LOOK).await;
        }
        watched
    });
    let trouble = Trouble { seed: seed(), until, losses: true, wipes: false, seldom: 10, kills_last: true };
    trouble.make(&mut stand.gateways, &stand.links, &mut redis, &stand.database).await;
    let watched = watching.await.expect("every process lives");
    // What was asked of the store meanwhile has been answered.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (history, answers) = load.end().await;
    println!("{} requests in {length:?}", history.len());
    let verdict = judged(&stand, &history);
    report(&verdict, &answers);
    only_known(&answers, false);
    assert_eq!(verdict.over, [], "limits were exceeded");
    conserved(&mut stand, &history, false).await;
    in_redis_as_shown(&stand, &redis).await;
    let grown: Vec<String> = watched.iter().filter_map(Watched::grown).collect();
    assert_eq!(grown, Vec::<String>::new(), "a process does not stay as it is");
}

/// What all gateways have left behind in Redis is what was counted: everything else they have returned.
async fn in_redis_as_shown(stand: &Stand, redis: &Redis) {
    for ((name, limits), account) in stand.subjects.iter().filter(|(name, _)| !name.ends_with("key")).zip(&stand.accounts) {
        if limits.per_day.is_none() {
            continue;
        }
        let shown = crate::quotas::counted(&stand.control, account).await;
        let script = "local sum = 0
            for _, key in ipairs(redis.call('KEYS', '*' .. ARGV[1] .. ':day:*')) do sum = sum + redis.call('HGET', key, 'out') end
            return sum";
        let out = redis.command(&["EVAL", script, "0", account]);
        println!("{name}: {shown} shown, {} out in Redis", out.trim());
        assert_eq!(out.trim(), format!(":{shown}"), "what is out of {name}'s days in Redis is what was counted");
    }
}
