//! How long requests take: a histogram in atomics, with a trace for an example in each bucket.
//!
//! The `prometheus` crate's histogram has no exemplars. This one costs an observation two additions, and
//! a traced one five stores more, at most once a second a bucket; nobody waits for anybody.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::Duration,
};

/// Seconds; from what a loopback upstream takes to what clients give up at.
pub(crate) const BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The last bucket has no bound.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// The same in nanoseconds.
const BOUNDS_NS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// A bucket's example is exchanged no more often.
const EXEMPLAR_EVERY_MS: u64 = 1_000;

/// A request whose trace is being recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) trace_id: u128,
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    /// Made when the first traced request is observed.
    exemplars: OnceLock<Box<[Cell; BUCKETS]>>,
}

/// What a histogram held at one moment, near enough: each number is exact, all of them are not of one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Not cumulative.
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_ns: u64,
}

/// One observation that stands for its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) traced: Traced,
    pub(crate) took_ns: u64,
}

impl Latency {
    #[inline]
    pub(crate) fn observe(&self, took: Duration, traced: Option<Traced>) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < took_ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
        if let Some(traced) = traced {
            let cells = self.exemplars.get_or_init(Box::default);
            cells[bucket].offer(Exemplar { traced, took_ns });
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            buckets: std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed)),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn exemplar(&self, bucket: usize) -> Option<Exemplar> {
        self.exemplars.get()?.get(bucket)?.read()
    }
}

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What was observed since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|n| self.buckets[n].saturating_sub(earlier.buckets[n])),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum_ns += other.sum_ns;
    }

    /// Milliseconds that the `part` of requests, 0 to 1, did not exceed; read off a straight line within
    /// the bucket, and its lower bound in the last. `None` without requests.
    pub(crate) fn quantile_ms(&self, part: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = part * total as f64;
        let mut below = 0;
        for (n, &count) in self.buckets.iter().enumerate() {
            if count > 0 && (below + count) as f64 >= rank {
                let lower = if n == 0 { 0.0 } else { BOUNDS[n - 1] };
                let upper = BOUNDS.get(n).copied().unwrap_or(lower);
                let within = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
                return Some((lower + (upper - lower) * within) * 1_000.0);
            }
            below += count;
        }
        None
    }
}

/// One exemplar that is read and written whole without a lock: a writer that meets another leaves, a
/// reader that meets a writer sees none.
#[derive(Debug, Default)]
struct Cell {
    /// Odd while it is being written; 0 while it never was.
    version: AtomicU64,
    trace_id: [AtomicU64; 2],
    at_ms: AtomicU64,
    took_ns: AtomicU64,
}

impl Cell {
    fn offer(&self, exemplar: Exemplar) {
        let version = self.version.load(Ordering::Relaxed);
        // Either way: a clock that was set back must not keep an old one for good.
        let recent = version != 0 && exemplar.traced.at_ms.abs_diff(self.at_ms.load(Ordering::Relaxed)) < EXEMPLAR_EVERY_MS;
        if recent || !version.is_multiple_of(2) {
            return;
        }
        if self.version.compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // What follows is not seen before the odd version is.
        fence(Ordering::Release);
        self.trace_id[0].store((exemplar.traced.trace_id >> 64) as u64, Ordering::Relaxed);
        self.trace_id[1].store(exemplar.traced.trace_id as u64, Ordering::Relaxed);
        self.at_ms.store(exemplar.traced.at_ms, Ordering::Relaxed);
        self.took_ns.store(exemplar.took_ns, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    fn read(&self) -> Option<Exemplar> {
        let version = self.version.load(Ordering::Acquire);
        let [high, low] = [&self.trace_id[0], &self.trace_id[1]].map(|half| u128::from(half.load(Ordering::Relaxed)));
        let (at_ms, took_ns) = (self.at_ms.load(Ordering::Relaxed), self.took_ns.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = version != 0 && version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        whole.then_some(Exemplar { traced: Traced { trace_id: high << 64 | low, at_ms }, took_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(trace_id: u128, at_ms: u64) -> Option<Traced> {
        Some(Traced { trace_id, at_ms })
    }

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        assert!(BOUNDS.iter().zip(BOUNDS_NS).all(|(s, ns)| (s * 1e9).round() as u64 == ns), "both tables say the same");
        let latency = Latency::default();
        for (took_us, bucket) in [(0, 0), (500, 0), (501, 1), (60_000_000, 15), (60_000_001, 16)] {
            let before = latency.counts().buckets[bucket];
            latency.observe(Duration::from_micros(took_us), None);
            assert_eq!(latency.counts().buckets[bucket], before + 1, "{took_us} µs");
        }
        assert_eq!((latency.counts().total(), latency.counts().sum_ns), (5, 120_001_002_000));
        assert!((0..BUCKETS).all(|n| latency.exemplar(n).is_none()), "none was traced");
    }

    #[test]
    fn a_bucket_keeps_one_traced_request_for_a_second() {
        let latency = Latency::default();
        let observe = |trace| latency.observe(Duration::from_millis(7), trace);
        observe(None);
        observe(traced(1 << 70 | 5, 10_000));
        observe(traced(6, 10_999));
        let kept = latency.exemplar(4).unwrap();
        assert_eq!((kept.traced.trace_id, kept.took_ns), (1 << 70 | 5, 7_000_000));
        observe(traced(7, 11_000));
        assert_eq!(latency.exemplar(4).unwrap().traced, Traced { trace_id: 7, at_ms: 11_000 });
        assert!(latency.exemplar(3).is_none());
        observe(traced(8, 5_000));
        assert_eq!(latency.exemplar(4).unwrap().traced.trace_id, 8, "the clock was set back");
    }

    #[test]
    fn an_exemplar_is_never_half_of_one_and_half_of_another() {
        let latency = Latency::default();
        std::thread::scope(|threads| {
            for writer in 1..=2 {
                let latency = &latency;
                threads.spawn(move || {
                    for n in 0..20_000 {
                        // All its numbers tell which one it is.
                        let id = n * 2 + writer;
                        let took = Duration::from_nanos(id);
                        latency.observe(took, traced(u128::from(id) << 64 | u128::from(id), id * 1_000));
                    }
                });
            }
            for _ in 0..20_000 {
                if let Some(Exemplar { traced, took_ns }) = latency.exemplar(0) {
                    assert_eq!(traced.trace_id, u128::from(took_ns) << 64 | u128::from(took_ns));
                    assert_eq!(traced.at_ms, took_ns * 1_000);
                }
            }
        });
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let latency = Latency::default();
        assert_eq!(latency.counts().quantile_ms(0.5), None);
        for _ in 0..99 {
            latency.observe(Duration::from_millis(2), None);
        }
        latency.observe(Duration::from_millis(400), None);
        let counts = latency.counts();
        let p50 = counts.quantile_ms(0.5).unwrap();
        assert!((1.0..2.5).contains(&p50), "{p50}");
        let p999 = counts.quantile_ms(0.999).unwrap();
        assert!((250.0..500.0).contains(&p999), "{p999}");
        assert_eq!(counts.since(&counts).total(), 0);
    }
}
