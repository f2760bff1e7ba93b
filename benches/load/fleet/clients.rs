//! Clients that ask at a rate of their own, whatever is answered, over the gateways of a fleet.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::traffic::{BODY_BYTES, Connection, Random};

/// What is asked of a fleet.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// Gateways, and what part of the requests each gets.
    pub(super) targets: Vec<(SocketAddr, f64)>,
    /// One of them a request, at random.
    pub(super) keys: Arc<[String]>,
    pub(super) per_second: f64,
    /// In all.
    pub(super) requests: u64,
    /// Of each gateway.
    pub(super) connections: u64,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) admitted: u64,
    /// 429.
    pub(super) refused: u64,
    /// From when a request was due, in microseconds.
    latencies_us: Vec<u32>,
}

impl Answers {
    pub(super) fn requests(&self) -> u64 {
        self.admitted + self.refused
    }

    /// The latency that `part` (0 to 1) of the requests stayed under, in microseconds.
    pub(super) fn percentile_us(&mut self, part: f64) -> f64 {
        self.latencies_us.sort_unstable();
        let at = ((self.latencies_us.len() as f64 - 1.0) * part) as usize;
        self.latencies_us.get(at).copied().map_or(f64::NAN, f64::from)
    }

    fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.latencies_us.extend(other.latencies_us);
    }
}

/// As many requests for each of the gateways.
pub(super) fn evenly(gateways: &[SocketAddr]) -> Vec<(SocketAddr, f64)> {
    gateways.iter().map(|&addr| (addr, 1.0 / gateways.len() as f64)).collect()
}

/// Four fifths of the requests for the first of the gateways.
pub(super) fn skewed(gateways: &[SocketAddr]) -> Vec<(SocketAddr, f64)> {
    let others = 0.2 / (gateways.len() - 1).max(1) as f64;
    gateways.iter().enumerate().map(|(n, &addr)| (addr, if n == 0 { 0.8 } else { others })).collect()
}

/// Anything but a 200 with the whole body or a 429 ends it with an error.
pub(super) async fn offer(offer: &Offer) -> Result<Answers, String> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for &(addr, part) in &offer.targets {
        let requests = (offer.requests as f64 * part).round() as u64;
        let connections = offer.connections.min(requests).max(1);
        let every = Duration::from_secs_f64(connections as f64 / (offer.per_second * part));
        for n in 0..connections {
            let first = began + every.mul_f64(n as f64 / connections as f64);
            let share = requests / connections + u64::from(n < requests % connections);
            let seed = u64::from(addr.port()) << 16 | n;
            clients.spawn(client(addr, offer.keys.clone(), seed, first, every, share));
        }
    }
    let mut all = Answers::default();
    while let Some(answers) = clients.join_next().await {
        all.add(answers.map_err(|e| e.to_string())??);
    }
    Ok(all)
}

async fn client(
    addr: SocketAddr,
    keys: Arc<[String]>,
    seed: u64,
    first: Instant,
    every: Duration,
    requests: u64,
) -> Result<Answers, String> {
    let mut connection = Connection::open(addr).await?;
    let (mut random, mut answers, mut due) = (Random::new(seed), Answers::default(), first);
    for _ in 0..requests {
        // A timer is late by up to a millisecond, which is not the gateway's; a connection that is still busy is.
        let is_late = Instant::now() > due;
        if !is_late {
            tokio::time::sleep_until(due.into()).await;
        }
        let sent = if is_late { due } else { Instant::now() };
        match connection.get(random.pick(&keys)).await? {
            (200, BODY_BYTES) => answers.admitted += 1,
            (429, _) => answers.refused += 1,
            (status, body) => return Err(format!("a request was answered {status} with {body} bytes")),
        }
        answers.latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        due += every;
    }
    Ok(answers)
}
