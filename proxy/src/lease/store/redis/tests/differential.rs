//! The scripts against the pure rules: the same calls at the same times, in a real Redis whose clock and run the test sets.

use clearway_config::KeyId;
use clearway_filters::lease::{
    Book, BucketLost, Held, HeldLong, HeldSecond, HeldSlots, RosterVersion, SecondAsk, SlotsAsk, SubjectId,
};
use clearway_testkit::redis::Redis;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const STEPS: usize = 2_500;
const SEEDS: u64 = 4;

/// Reads the clock and the run from a hash instead.
fn governed(script: &Script) -> Script {
    let text = script.text();
    let clock = "({ redis.call('HGET', 'test', 'second'), redis.call('HGET', 'test', 'micro') })";
    let run = "('run_id:' .. redis.call('HGET', 'test', 'run'))";
    assert!(text.contains("redis.call('TIME')"));
    Script::new(&text.replace("redis.call('TIME')", clock).replace("redis.call('INFO', 'server')", run))
}

struct Pair {
    rng: StdRng,
    store: RedisStore,
    book: Book,
    now_ms: u64,
    run: u32,
    seqs: [u64; 3],
    incarnation: [Option<Incarnation>; 3],
    roster: Option<RosterVersion>,
    /// Beats that were answered that nothing is another.
    told_again: usize,
    /// Takes that came to something.
    given: usize,
}

impl Pair {
    fn new(redis: &Redis, seed: u64) -> Self {
        let policy = Policy { share_lease_ms: 1_500, slots_lease_ms: 4_000, forget_after_ms: 6_000, ..Policy::default() };
        let mut store = RedisStore::open(&settings(&redis.url()), policy).unwrap();
        store.take = governed(&store.take);
        store.restore = governed(&store.restore);
        store.beat = governed(&store.beat);
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
        let rng = StdRng::seed_from_u64(seed);
        Self {
            rng,
            store,
            book: Book::new(policy, &run_id(0)),
            now_ms,
            run: 0,
            seqs: [1; 3],
            incarnation: [const { None }; 3],
            roster: None,
            told_again: 0,
            given: 0,
        }
    }

    async fn server(&self, words: &[&str]) {
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        self.store.line.call(&command, Duration::from_secs(10)).await.unwrap().unwrap();
    }

    async fn set_time_and_run(&self) {
        let (second, micro) = (self.now_ms / 1_000, self.now_ms % 1_000 * 1_000 + 7);
        let values = [second.to_string(), micro.to_string(), run_id(self.run)];
        self.server(&["HSET", "test", "second", &values[0], "micro", &values[1], "run", &values[2]]).await;
    }

    async fn step(&mut self, number: usize) {
        let steps_ms = [0, 1, 3, 40, 170, 500, 999, 1_000, 1_001, 2_400];
        self.now_ms += match self.rng.random_range(0..100) {
            0 => 11_000,
            1 => 3_700_000,
            _ => steps_ms[self.rng.random_range(0..steps_ms.len())],
        };
        match self.rng.random_range(0..60) {
            0 => self.now_ms -= 900,
            1 => self.now_ms -= 5_000,
            _ => {}
        }
        match self.rng.random_range(0..200) {
            0 => {
                self.run += 1;
                self.book.restart(&run_id(self.run));
            }
            1 => {
                self.server(&["FLUSHALL"]).await;
                self.run += u32::from(self.rng.random_bool(0.5));
                self.book.lose(&run_id(self.run));
            }
            _ => {}
        }
        self.set_time_and_run().await;
        match self.rng.random_range(0..20) {
            0..4 => self.restore(number).await,
            4 => self.beat(number).await,
            _ => self.take(number).await,
        }
    }

    /// The node's next call; sometimes one from before.
    fn caller(&mut self, n: usize) -> Caller {
        self.seqs[n] += 1;
        let back = if self.rng.random_range(0..12) == 0 { self.rng.random_range(1..3) } else { 0 };
        Caller { node: node(n as u8), epoch: 1 + self.seqs[n] / 100, seq: self.seqs[n] - back }
    }

    fn few(&mut self) -> u64 {
        let few = [0, 1, 1, 2, 3, 5, 8, 20];
        few[self.rng.random_range(0..few.len())]
    }

    fn limit(&mut self) -> u64 {
        let limits = [1, 2, 5, 10, 25, 1_000];
        limits[self.rng.random_range(0..limits.len())]
    }

    fn asks(&mut self) -> Asks {
        let small = |n: u64| u32::try_from(n).unwrap();
        let mut asks = Asks::default();
        let day = u32::try_from(self.now_ms / 86_400_000).unwrap();
        if self.rng.random_bool(0.6) {
            asks.second = Some(SecondAsk {
                limit: small(self.limit()),
                share: small(self.few()),
                want_share: small(self.few()),
                want_tokens: small(self.few()),
                bare: self.rng.random_bool(0.3),
            });
        }
        if self.rng.random_bool(0.6) {
            let window = day + u32::from(self.rng.random_range(0..20) == 0);
            let limit = if self.rng.random_bool(0.1) { 1_000_000_000_000_000 } else { self.limit() };
            let holds = if limit > 1_000 { 999_999_999_999_000 + self.few() } else { self.few() };
            asks.day = Some(LongAsk { window, limit, holds, want: self.few(), bare: self.rng.random_bool(0.3) });
        }
        if self.rng.random_bool(0.4) {
            let window = clearway_filters::quota::Now::at(self.now_ms).month;
            let (limit, holds, want) = (self.limit(), self.few(), self.few());
            asks.month = Some(LongAsk { window, limit, holds, want, bare: self.rng.random_bool(0.3) });
        }
        if self.rng.random_bool(0.5) {
            let (limit, holds, want) = (small(self.limit()), small(self.few()), small(self.few()));
            asks.slots = Some(SlotsAsk { limit, holds, want, bare: self.rng.random_bool(0.3) });
        }
        asks
    }

    async fn take(&mut self, number: usize) {
        let n = self.rng.random_range(0..3);
        let account_asks = self.asks();
        let key = if self.rng.random_bool(0.5) { Some((KeyId::from_bytes([9; 16]), self.asks())) } else { None };
        let incarnation = self.incarnation[n].clone();
        let take = Take { caller: self.caller(n), incarnation, account: account(1), account_asks, key };
        let there = self.store.take(&take).await.unwrap();
        let here = self.book.take(self.now_ms, &take);
        assert_eq!(there, here, "step {number}: {take:?} at {}: {:?}", self.now_ms, self.book);
        match here {
            Answer::Given(_) => self.given += 1,
            Answer::Lost(incarnation) => self.incarnation[n] = Some(incarnation),
            Answer::Stale | Answer::Restoring => {}
        }
    }

    async fn restore(&mut self, number: usize) {
        let n = self.rng.random_range(0..3);
        let (asks, mut held) = (self.asks(), vec![]);
        if self.rng.random_bool(0.7) {
            let this = u32::try_from(self.now_ms / 1_000).unwrap();
            let second = HeldSecond {
                share: self.few() as u32,
                lasts_ms: self.few() * 300,
                second: this + 1 - self.rng.random_range(0..4),
                count: self.few() as u32,
                before: self.few() as u32,
            };
            let long = |ask: LongAsk| HeldLong { window: ask.window, holds: ask.holds, out: ask.want * 2 };
            held.push(Held {
                subject: SubjectId::Account(account(1)),
                second: asks.second.map(|_| second),
                day: asks.day.map(long),
                month: asks.month.map(long),
                slots: asks.slots.map(|ask| HeldSlots { slots: ask.holds, lasts_ms: 3_000 }),
            });
        }
        let members = (0..3).filter(|_| self.rng.random_bool(0.5)).collect::<Vec<u8>>();
        let restore = Restore {
            caller: self.caller(n),
            bucket: bucket_of(&account(1)),
            incarnation: self.incarnation[n].clone(),
            held,
            done: self.rng.random_bool(0.8),
            members: members.into_iter().map(|n| (node(n), self.now_ms - self.rng.random_range(0..8_000))).collect(),
            departed: self.rng.random_bool(0.2),
        };
        let there = self.store.restore(&restore).await.unwrap();
        let here = self.book.restore(self.now_ms, &restore);
        assert_eq!(there, here, "step {number}: {restore:?} at {}: {:?}", self.now_ms, self.book);
        if let Restored::Ready(incarnation) | Restored::Restoring(incarnation, _) = here {
            self.incarnation[n] = Some(incarnation);
        }
    }

    async fn beat(&mut self, number: usize) {
        let n = self.rng.random_range(0..3);
        let lost = if self.rng.random_bool(0.3) {
            vec![BucketLost { bucket: self.rng.random_range(0..256), incarnation: Incarnation::new("run-1") }]
        } else {
            vec![]
        };
        let knows = self.roster.clone().filter(|_| self.rng.random_bool(0.8));
        let beat = Beat { caller: self.caller(n), name: "a name".into(), leaving: self.rng.random_bool(0.2), knows, lost };
        let there = self.store.beat(&beat).await.unwrap();
        assert_eq!(there, self.book.beat(self.now_ms, &beat), "step {number}: {beat:?}");
        self.told_again += usize::from(there.roster.is_none());
        self.roster = Some(there.version);
    }
}

fn run_id(run: u32) -> String {
    format!("{run:040x}").chars().rev().collect()
}

#[tokio::test]
async fn the_script_decides_as_the_book_does() {
    let redis = Redis::start();
    for seed in 0..SEEDS {
        let mut pair = Pair::new(&redis, seed);
        pair.server(&["FLUSHALL"]).await;
        for number in 0..STEPS {
            pair.step(number).await;
        }
        assert!(pair.told_again > 0, "every beat was answered with all nodes");
        assert!(pair.given > STEPS / 4, "only {} of {STEPS} steps came to anything", pair.given);
    }
}
