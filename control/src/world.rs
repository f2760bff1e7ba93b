//! Time and chance, as a value: acts are given a [`World`] and never ask the system, so that a test can
//! say exactly what they will answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

/// Cheap to clone; clones share their clock and their source of random bytes.
#[derive(Clone)]
pub struct World(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Fixed { now_ms: Arc<AtomicI64>, drawn: Arc<AtomicU64>, seed: u64 },
}

impl World {
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still at `now_ms`, and the same bytes on every run: for tests only.
    pub fn fixed(now_ms: i64, seed: u64) -> Self {
        Self(Kind::Fixed { now_ms: Arc::new(now_ms.into()), drawn: Arc::default(), seed })
    }

    /// Milliseconds since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Kind::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Kind::Fixed { now_ms, .. } => now_ms.load(Ordering::Relaxed),
        }
    }

    /// Moves a fixed clock; the system's is left alone.
    pub fn advance(&self, by_ms: i64) {
        if let Kind::Fixed { now_ms, .. } = &self.0 {
            now_ms.fetch_add(by_ms, Ordering::Relaxed);
        }
    }

    pub fn random(&self) -> [u8; 32] {
        match &self.0 {
            Kind::System => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).expect("the operating system gives random bytes or nothing here is safe");
                bytes
            }
            Kind::Fixed { drawn, seed, .. } => {
                let nth = drawn.fetch_add(1, Ordering::Relaxed);
                Sha256::digest([seed.to_be_bytes(), nth.to_be_bytes()].concat()).into()
            }
        }
    }

    /// A new id: `world.id(KeyId::new)`.
    pub fn id<I>(&self, new: impl FnOnce(u64, u128) -> I) -> I {
        let random = self.random();
        let (front, _) = random.split_at(16);
        let random = u128::from_be_bytes(front.try_into().expect("16 of 32 bytes"));
        new(u64::try_from(self.now_ms()).unwrap_or(0), random)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::System => "World(system)",
            Kind::Fixed { .. } => "World(fixed)",
        })
    }
}
