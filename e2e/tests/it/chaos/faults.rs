//! Everything that can go wrong around gateways, by chance from a seed.

use std::time::{Duration, Instant};

use clearway_testkit::{Cluster, redis::Redis};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    fleet::Proxy,
    link::{Link, State},
};

const SEED: &str = "CLEARWAY_CHAOS_SEED";

/// What is to go wrong, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) seed: u64,
    pub(crate) until: Instant,
    /// Redis comes back without its data. Not together with [`Trouble::wipes`]: what was granted to a gateway that has
    /// lost its files is known to nobody then.
    pub(crate) losses: bool,
    /// A gateway comes back without its files.
    pub(crate) wipes: bool,
    /// Of this many there is one where there is one of one otherwise: the time between faults is so much longer.
    pub(crate) seldom: u32,
    /// Only the last gateway is killed, so that the others can be looked at over a long time.
    pub(crate) kills_last: bool,
}

/// The seed that is asked for, or another one each time.
pub(crate) fn seed() -> u64 {
    std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed is a number"))
}

fn say(since: Instant, what: &str) {
    println!("{:>6} ms: {what}", since.elapsed().as_millis());
}

impl Trouble {
    pub(crate) async fn make(self, gateways: &mut [Proxy], links: &[Link], redis: &mut Redis, database: &str) {
        println!("{SEED}={}", self.seed);
        tokio::join!(self.of_gateways(gateways), self.of_links(links), self.of_stores(redis, database));
    }

    /// Until the next fault. False: there is to be none any more.
    async fn rests(self, ms: u64) -> bool {
        let next = Instant::now() + Duration::from_millis(ms) * self.seldom;
        tokio::time::sleep_until(next.min(self.until).into()).await;
        next < self.until
    }

    async fn of_gateways(self, gateways: &mut [Proxy]) {
        let (mut rng, since) = (StdRng::seed_from_u64(self.seed), Instant::now());
        loop {
            if !self.rests(rng.random_range(200..1_500)).await {
                return;
            }
            // The busiest as often as all others.
            let n = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..gateways.len()) };
            let what = rng.random_range(0..10);
            let n = if self.kills_last && what > 4 { gateways.len() - 1 } else { n };
            let gateway = &mut gateways[n];
            match what {
                0..=4 => {
                    let ms = rng.random_range(50..2_500);
                    say(since, &format!("gateway {n} stands still for {ms} ms"));
                    gateway.process.signal("STOP");
                    sleep(Duration::from_millis(ms)).await;
                    gateway.process.signal("CONT");
                }
                5..=6 if self.wipes => {
                    say(since, &format!("gateway {n} is killed and comes back without its files"));
                    block_in_place(|| gateway.restart_as_new());
                }
                _ => {
                    say(since, &format!("gateway {n} is killed and comes back"));
                    block_in_place(|| gateway.restart());
                }
            }
        }
    }

    async fn of_links(self, links: &[Link]) {
        let (mut rng, since) = (StdRng::seed_from_u64(self.seed ^ 1), Instant::now());
        loop {
            if !self.rests(rng.random_range(200..1_500)).await {
                return;
            }
            let n = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..links.len()) };
            let state = match rng.random_range(0..4) {
                0 => State::Held,
                1 => State::Refusing,
                2 => State::Deaf,
                _ => State::Slow(Duration::from_millis(rng.random_range(5..100))),
            };
            let ms = rng.random_range(50..2_000);
            say(since, &format!("the wire of gateway {n} is {state:?} for {ms} ms"));
            links[n].set(state);
            sleep(Duration::from_millis(ms)).await;
            links[n].release();
        }
    }

    async fn of_stores(self, redis: &mut Redis, database: &str) {
        let (mut rng, since) = (StdRng::seed_from_u64(self.seed ^ 2), Instant::now());
        loop {
            if !self.rests(rng.random_range(500..2_500)).await {
                return;
            }
            let ms = rng.random_range(50..1_500);
            match rng.random_range(0..5) {
                0 => {
                    say(since, &format!("Redis stands still for {ms} ms"));
                    redis.pause();
                    sleep(Duration::from_millis(ms)).await;
                    redis.resume();
                }
                1 | 2 if self.losses => {
                    say(since, &format!("Redis is killed and comes back empty after {ms} ms"));
                    block_in_place(|| redis.stop());
                    sleep(Duration::from_millis(ms)).await;
                    block_in_place(|| redis.restart_empty());
                }
                3 => {
                    say(since, &format!("PostgreSQL is away for {ms} ms"));
                    block_in_place(|| Cluster::shared().cut_off(database, true));
                    sleep(Duration::from_millis(ms)).await;
                    block_in_place(|| Cluster::shared().cut_off(database, false));
                }
                _ => {
                    say(since, &format!("Redis is killed and comes back after {ms} ms"));
                    block_in_place(|| redis.stop());
                    sleep(Duration::from_millis(ms)).await;
                    block_in_place(|| redis.restart());
                }
            }
        }
    }
}
