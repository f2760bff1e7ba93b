//! Connections to upstreams that wait for their next request; one pool a worker.
//!
//! The one that rested last is taken first, so that those that are not needed grow old and are closed.
//! A connection on which anything has arrived meanwhile, its end included, is not used again.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::upstreams::IDLE;

/// How often the old ones are looked for.
pub(in super::super) const SWEEP_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(in super::super) struct Pool {
    resting: Mutex<Resting>,
    max: usize,
}

#[derive(Debug, Default)]
struct Resting {
    by_address: HashMap<SocketAddr, Vec<(TcpStream, Instant)>, FixedState>,
    count: usize,
}

impl Pool {
    /// Of at most `max` connections.
    pub(in super::super) fn new(max: usize) -> Self {
        Self { resting: Mutex::default(), max }
    }

    /// A connection that was alive a moment ago; `now` may be a little old.
    pub(super) fn take(&self, address: &SocketAddr, now: Instant) -> Option<TcpStream> {
        let mut resting = self.resting.lock();
        let Resting { by_address, count } = &mut *resting;
        let of_address = by_address.get_mut(address)?;
        while let Some((stream, since)) = of_address.pop() {
            *count -= 1;
            if now.saturating_duration_since(since) < IDLE && is_quiet(&stream) {
                return Some(stream);
            }
        }
        None
    }

    pub(super) fn give_back(&self, address: SocketAddr, stream: TcpStream, now: Instant) {
        let mut resting = self.resting.lock();
        if resting.count < self.max {
            resting.count += 1;
            resting.by_address.entry(address).or_default().push((stream, now));
        }
    }

    /// Closes those that have rested for too long, or have been closed by their upstream.
    pub(in super::super) fn sweep(&self, now: Instant) {
        let mut resting = self.resting.lock();
        resting.by_address.retain(|_, streams| {
            streams.retain(|(stream, since)| now.saturating_duration_since(*since) < IDLE && is_quiet(stream));
            !streams.is_empty()
        });
        resting.count = resting.by_address.values().map(Vec::len).sum();
    }
}

/// Costs no system call while nothing has arrived.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (SocketAddr, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = TcpStream::connect(address).await.unwrap();
        (address, ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_quiet_connection_is_used_again_and_one_with_bytes_or_an_end_is_not() {
        let (pool, now) = (Pool::new(8), Instant::now());
        let (address, ours, _theirs) = pair().await;
        pool.give_back(address, ours, now);
        assert!(pool.take(&address, now).is_some() && pool.take(&address, now).is_none());

        let (address, ours, mut theirs) = pair().await;
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        ours.readable().await.unwrap();
        pool.give_back(address, ours, now);
        assert!(pool.take(&address, now).is_none());

        let (address, ours, theirs) = pair().await;
        drop(theirs);
        ours.readable().await.unwrap();
        pool.give_back(address, ours, now);
        assert!(pool.take(&address, now).is_none());
    }

    #[tokio::test]
    async fn old_connections_go_and_there_are_never_more_than_the_pool_may_hold() {
        let (pool, now) = (Pool::new(1), Instant::now());
        let (one, ours, _theirs) = pair().await;
        let (other, others, _keep) = pair().await;
        pool.give_back(one, ours, now);
        pool.give_back(other, others, now);
        assert!(pool.take(&other, now).is_none());
        assert!(pool.take(&one, now + IDLE).is_none());
        let (address, ours, _theirs) = pair().await;
        pool.give_back(address, ours, now);
        pool.sweep(now + IDLE);
        assert_eq!(pool.resting.lock().count, 0);
    }
}
