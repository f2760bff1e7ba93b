//! Fleets of gateways on the gateways' core, and what they and their Redis have spent.

use std::{net::SocketAddr, time::Duration};

use clearway_testkit::redis::Redis;
use tokio::task::JoinSet;

use crate::{
    cpu,
    fixture::Keys,
    systems::{Setup, System},
    traffic::{self, Run, Upstream},
};

/// How quotas are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// Each gateway for itself, in its ledger.
    InProcess,
    /// By leases of one Redis.
    Leases,
    /// One call to Redis for each request, by a bare proxy.
    EachRequest,
    /// Not at all, by the same bare proxy.
    Nothing,
}

impl Counting {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InProcess => "clearway, in process",
            Self::Leases => "clearway, leases",
            Self::EachRequest => "bare, asks Redis each time",
            Self::Nothing => "bare pass-through",
        }
    }
}

/// Gateways that count together, as far as they do.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) counting: Counting,
    pub(super) gateways: Vec<System>,
    redis: Option<Redis>,
}

/// Since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Processor time of all gateways.
    pub(super) gateways: Duration,
    pub(super) redis: Duration,
    /// Scripts that Redis was asked to carry out.
    pub(super) calls: u64,
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            gateways: self.gateways.saturating_sub(before.gateways),
            redis: self.redis.saturating_sub(before.redis),
            calls: self.calls - before.calls,
        }
    }
}

impl Fleet {
    /// So many gateways, each proven by its first answer, with a Redis of their own where they need one.
    pub(super) async fn start(counting: Counting, gateways: usize, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let redis = matches!(counting, Counting::Leases | Counting::EachRequest).then(Redis::start);
        let url = redis.as_ref().map(Redis::url).unwrap_or_default();
        // A machine that others use holds a call up for longer than the default lets it, and this is no test of that.
        let patient = format!("[redis]\nurl = \"{url}\"\ncall_timeout = \"2s\"\nwait_timeout = \"2s\"\n");
        let settings = if counting == Counting::Leases { patient } else { String::new() };
        let mut fleet = Self { counting, gateways: Vec::new(), redis };
        for n in 0..gateways {
            let name = format!("{} {n}", counting.name());
            fleet.gateways.push(match counting {
                Counting::InProcess | Counting::Leases => {
                    let setup = Setup { settings: &settings, ..Setup::default() };
                    System::clearway_as(&name, &setup, upstream, keys).await?
                }
                Counting::EachRequest => System::asking_redis(&url, upstream, keys).await?,
                Counting::Nothing => System::pass_through(upstream, keys, crate::systems::Protocol::Http1).await?,
            });
        }
        Ok(fleet)
    }

    /// Each gateway is timed only after it has shown what it does.
    pub(super) async fn prove(&self, upstream: &Upstream, keys: &Keys) -> Result<(), String> {
        // They share the key that a gateway is proven by, and it is soon exhausted.
        match (self.counting, &self.gateways[0]) {
            (Counting::InProcess | Counting::Leases, first) => first.prove_gateway(upstream, keys).await?,
            (Counting::EachRequest, _) if self.spent().calls == 0 => return Err("Redis was not asked".to_owned()),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(|gateway| gateway.addr).collect()
    }

    pub(super) fn spent(&self) -> Spent {
        Spent {
            gateways: self.gateways.iter().map(|gateway| cpu::time_of(gateway.pid())).sum(),
            redis: self.redis.as_ref().map(|redis| cpu::time_of(redis.pid())).unwrap_or_default(),
            calls: self.redis.as_ref().map(calls).unwrap_or_default(),
        }
    }

    /// Keeps `connections` busy, as many of each gateway.
    pub(super) async fn drive(&self, keys: &Keys, connections: usize, slice: Duration) -> Result<Run, String> {
        let each = connections.div_ceil(self.gateways.len());
        let mut drives = JoinSet::new();
        for addr in self.addresses() {
            let secrets = keys.secrets.clone();
            drives.spawn(async move { traffic::drive(addr, &secrets, each, slice).await });
        }
        let mut all = Run::default();
        while let Some(run) = drives.join_next().await {
            let run = run.map_err(|e| e.to_string())?;
            all.beside(run.map_err(|why| format!("{}: {why}", self.counting.name()))?);
        }
        Ok(all)
    }

    /// Calls to the store by the gateways' own metrics.
    pub(super) async fn calls_counted(&self) -> Result<u64, String> {
        let mut calls = 0;
        for addr in self.gateways.iter().filter_map(|gateway| gateway.metrics) {
            let page = reqwest::get(format!("http://{addr}/metrics")).await.map_err(|e| e.to_string())?;
            let page = page.text().await.map_err(|e| e.to_string())?;
            let counts = page.lines().filter(|line| line.starts_with("clearway_quota_calls_total{"));
            calls += counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(calls)
    }
}

/// What Redis itself has counted; it resets nothing.
fn calls(redis: &Redis) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let of = |name: &str| {
        stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":calls=")?.split(',').next()?.parse().ok())
    };
    ["cmdstat_evalsha", "cmdstat_eval"].into_iter().map(|name| of(name).unwrap_or(0)).sum()
}
