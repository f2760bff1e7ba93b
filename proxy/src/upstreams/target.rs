//! One address of an upstream and how it is: shared by all workers, changed in atomics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
};

use super::{health::Checks, pool::Pool};

/// Failed its active checks.
pub(super) const UNHEALTHY: u8 = 1;
/// Left out for a while because of failed requests.
pub(super) const EJECTED: u8 = 2;
/// Has come back and does not get its whole share yet.
pub(super) const WARMING: u8 = 4;
/// No longer one of the upstream's targets; requests in flight may hold on to it.
pub(super) const GONE: u8 = 8;

/// What keeps a target from being picked.
pub(super) const UNAVAILABLE: u8 = UNHEALTHY | EJECTED;

/// Aligned to two cache lines: what one worker counts here is not in the way of another's target.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The server name to ask for and verify; `None` is plain HTTP.
    pub(crate) tls: Option<Arc<str>>,
    /// Host and port as the settings name it.
    pub(super) authority: Arc<str>,
    pub(super) weight: u16,
    /// Unlike any other target's in this process.
    pub(super) id: u32,
    pub(super) pool: Arc<Pool>,
    pub(super) flags: AtomicU8,
    pub(super) in_flight: AtomicU32,
    /// Failed requests in a row.
    pub(super) failures: AtomicU32,
    pub(super) ejected_until_ms: AtomicU64,
    pub(super) warm_from_ms: AtomicU64,
    pub(super) checks: Checks,
}

/// Which address, asked for how: what stays the same when a name is resolved again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Arc<str>>,
    pub(super) authority: Arc<str>,
    pub(super) weight: u16,
}

impl Target {
    pub(super) fn new(place: Place, pool: Arc<Pool>) -> Arc<Self> {
        static IDS: AtomicU32 = AtomicU32::new(1);
        let Place { address, tls, authority, weight } = place;
        Arc::new(Self {
            address,
            tls,
            authority,
            weight,
            id: IDS.fetch_add(1, Relaxed),
            pool,
            flags: AtomicU8::new(0),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
            warm_from_ms: AtomicU64::new(0),
            checks: Checks::default(),
        })
    }

    pub(super) fn is_at(&self, place: &Place) -> bool {
        self.address == place.address && self.weight == place.weight && self.tls == place.tls && self.authority == place.authority
    }

    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags.load(Acquire) & flag != 0
    }

    /// Takes a place for a request in flight, if there is one; 0 is no limit.
    pub(super) fn take(&self, max: u32) -> bool {
        if max == 0 {
            self.in_flight.fetch_add(1, Relaxed);
            return true;
        }
        self.in_flight.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1)).is_ok()
    }
}
