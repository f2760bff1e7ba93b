//! The gate: how many clients are connected, in all and from each address, and who is turned away.
//!
//! Turning away is as cheap as it can be, for whoever is turned away decides how often: no worker hears of
//! it, a few bytes are written if the socket takes them at once, and the log has a line a second. What is
//! counted by address is bounded by the connections there are: a count that falls to nothing is forgotten.

use std::{
    hash::BuildHasher as _,
    io::Write as _,
    net::{IpAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use clearway_config::{ErrorCode, settings::process::LimitSettings};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::{answer, now_s};
use crate::{
    descriptors::{self, Shares},
    memory,
    metrics::{Metrics, Refused},
};

/// What a request may hold that Pingora serves, while its client does not take its answer: six pieces of 64 KiB, and
/// what is around them.
const REQUEST_BYTES_MAX: u64 = 512 * 1024;
const REQUESTS_MIN: u64 = 256;

/// Counts by address are kept in so many parts, each with a lock of its own.
const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Gate {
    connections_max: usize,
    per_address_max: usize,
    /// Not counted by address.
    trusted: Vec<IpNet>,
    pub(crate) shares: Shares,
    open: AtomicUsize,
    hasher: RandomState,
    by_address: [Mutex<HashMap<u128, usize, RandomState>>; SHARDS],
    /// The process has as much memory as it may have.
    crowded: AtomicBool,
    long_heads: Semaphore,
    /// Requests that may be served by Pingora at the same time.
    requests: Arc<Semaphore>,
    /// Under way at the same time: each may hold a client's certificates and a signature's worth of work.
    pub(super) handshakes: Semaphore,
    logged_s: AtomicU64,
    metrics: Arc<Metrics>,
}

/// One connection's place; given back by being dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    network: Option<u128>,
}

impl Gate {
    pub(crate) fn new(limits: &LimitSettings, trusted: &[IpNet], metrics: Arc<Metrics>) -> Self {
        let shares = Shares::of(descriptors::allowed());
        Self {
            connections_max: if limits.connections == 0 { shares.connections } else { limits.connections },
            per_address_max: limits.connections_per_address,
            trusted: trusted.to_vec(),
            shares,
            open: AtomicUsize::new(0),
            hasher: RandomState::default(),
            by_address: std::array::from_fn(|_| Mutex::default()),
            crowded: AtomicBool::new(false),
            long_heads: Semaphore::new(limits.pending_heads()),
            requests: Arc::new(Semaphore::new(requests_max(limits))),
            handshakes: Semaphore::new(limits.handshakes),
            logged_s: AtomicU64::new(0),
            metrics,
        }
    }

    /// A place for a connection from `peer`, whose descriptor has this number.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, descriptor: i64) -> Result<Place, Refused> {
        if self.is_crowded() {
            return Err(Refused::Memory);
        }
        if descriptor >= self.shares.clients {
            return Err(Refused::Descriptors);
        }
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Connections);
        }
        // From here on it is given back.
        let mut place = Place { gate: self.clone(), network: None };
        let is_counted = self.per_address_max > 0 && !self.trusted.iter().any(|net| net.contains(&peer.to_canonical()));
        if is_counted {
            let network = network(peer);
            let mut counts = self.shard(network).lock();
            let count = counts.entry(network).or_insert(0);
            if *count >= self.per_address_max {
                return Err(Refused::Address);
            }
            *count += 1;
            place.network = Some(network);
        }
        Ok(place)
    }

    /// Tells the client why, if that costs nothing, and whoever watches. The connection is to be dropped.
    pub(crate) fn turn_away(&self, mut plain: Option<&TcpStream>, why: Refused) {
        self.metrics.connections_refused.inc(why);
        if let Some(stream) = &mut plain {
            let code = match why {
                Refused::Address => ErrorCode::ConnectionsExceeded,
                Refused::Connections | Refused::Descriptors | Refused::Memory | Refused::Flood => ErrorCode::GatewayOverloaded,
            };
            // It does not block; what the socket does not take is not worth a wait.
            let _ = stream.write(&answer::unreadable(code));
        }
        let now_s = now_s().cast_unsigned();
        if self.logged_s.swap(now_s, Ordering::Relaxed) != now_s {
            tracing::warn!(reason = why.as_str(), "connections are turned away");
        }
    }

    /// Whether there is memory for nothing more.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Says so where it is news.
    pub(crate) fn set_crowded(&self, crowded: bool) {
        if self.crowded.swap(crowded, Ordering::Relaxed) == crowded {
            return;
        }
        if crowded {
            tracing::error!("the process has as much memory as it may have: nothing new is taken");
        } else {
            tracing::info!("the process has memory again");
        }
    }

    /// Room for a request that is not forwarded as bytes. `None`: there is none.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.clone().try_acquire_owned().ok()
    }

    /// Room for a head that is longer than most, while it is read. `None`: there is none.
    pub(crate) fn long_head(&self) -> Option<SemaphorePermit<'_>> {
        self.long_heads.try_acquire().ok()
    }

    fn shard(&self, network: u128) -> &Mutex<HashMap<u128, usize, RandomState>> {
        let hash = usize::try_from(self.hasher.hash_one(network) % SHARDS as u64).unwrap_or_default();
        &self.by_address[hash]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut counts = self.gate.shard(network).lock();
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

/// As many as were set, or as fill half of the memory.
fn requests_max(limits: &LimitSettings) -> usize {
    let derived = (memory::max(limits.memory) / 2 / REQUEST_BYTES_MAX).max(REQUESTS_MIN);
    let max = if limits.requests == 0 { usize::try_from(derived).unwrap_or(usize::MAX) } else { limits.requests };
    max.min(Semaphore::MAX_PERMITS)
}

/// An IPv4 address, or the /64 of an IPv6 address: what one household or one machine is given.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize, per_address: usize, trusted: &[&str]) -> Arc<Gate> {
        let limits = LimitSettings { connections, connections_per_address: per_address, ..LimitSettings::default() };
        let trusted: Vec<_> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        Arc::new(Gate::new(&limits, &trusted, Arc::new(Metrics::new())))
    }

    fn from(gate: &Arc<Gate>, address: &str) -> Result<Place, Refused> {
        gate.enter(address.parse().unwrap(), 5)
    }

    #[test]
    fn an_address_has_so_many_and_gets_them_back() {
        let gate = gate(100, 2, &[]);
        let held = [from(&gate, "192.0.2.1").unwrap(), from(&gate, "::ffff:192.0.2.1").unwrap()];
        assert_eq!(from(&gate, "192.0.2.1").unwrap_err(), Refused::Address);
        let _other = from(&gate, "192.0.2.2").unwrap();
        drop(held);
        assert!(from(&gate, "192.0.2.1").is_ok());
        assert_eq!(gate.open.load(Ordering::Relaxed), 1, "nobody who was turned away is counted");
        assert_eq!(gate.by_address.iter().map(|shard| shard.lock().len()).sum::<usize>(), 1, "a count of nothing is forgotten");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_its_neighbour_as_another() {
        let gate = gate(100, 1, &[]);
        let _held = from(&gate, "2001:db8:0:1::1").unwrap();
        assert_eq!(from(&gate, "2001:db8:0:1:ffff::2").unwrap_err(), Refused::Address);
        assert!(from(&gate, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn a_trusted_proxy_brings_as_many_as_all_may_have() {
        let gate = gate(3, 1, &["10.0.0.0/8"]);
        let _held: Vec<_> = (0..3).map(|_| from(&gate, "10.1.2.3").unwrap()).collect();
        assert_eq!(from(&gate, "10.1.2.3").unwrap_err(), Refused::Connections);
    }

    #[test]
    fn the_last_descriptors_are_not_for_clients() {
        let gate = gate(100, 0, &[]);
        let address = [192, 0, 2, 1].into();
        assert_eq!(gate.enter(address, gate.shares.clients).unwrap_err(), Refused::Descriptors);
        assert!(gate.enter(address, gate.shares.clients - 1).is_ok());
    }
}
