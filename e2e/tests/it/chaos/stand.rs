//! What the runs are made on: a control plane over PostgreSQL, gateways with a wire of their own to one Redis, accounts of
//! every kind of limit, and who asks for how much of each where.

use std::{path::Path, time::Duration};

use clearway_config::{Limits, settings::Plans};
use clearway_testkit::{Cluster, redis::Redis};
use serde_json::json;

use super::load::Stream;
use crate::{
    fleet::{Control, Environment, Fleet, Proxy},
    link::Link,
    upstream::Upstream,
};

pub(crate) struct Stand {
    _fleet: Fleet,
    pub(crate) control: Control,
    pub(crate) database: String,
    pub(crate) gateways: Vec<Proxy>,
    /// To Redis, of each gateway.
    pub(crate) links: Vec<Link>,
    pub(crate) upstream: Upstream,
    pub(crate) subjects: Vec<(String, Limits)>,
    /// Ids, of those subjects that are accounts.
    pub(crate) accounts: Vec<String>,
    pub(crate) streams: Vec<Stream>,
}

/// An account, what it has a key for, and how it is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) plan: &'static str,
    /// Of the key alone; 0 is none.
    pub(crate) key_per_day: u64,
    /// Requests a second, at all gateways together.
    pub(crate) rate: u32,
    pub(crate) held_ms: u64,
}

/// Of everything, about 250 requests a second.
pub(crate) const ALL: [Use; 6] = [
    Use { plan: "chaos-day", key_per_day: 0, rate: 90, held_ms: 0 },
    Use { plan: "chaos-few", key_per_day: 0, rate: 4, held_ms: 0 },
    Use { plan: "chaos-both", key_per_day: 150, rate: 40, held_ms: 0 },
    Use { plan: "brisk", key_per_day: 0, rate: 64, held_ms: 0 },
    Use { plan: "chaos-trickle", key_per_day: 0, rate: 8, held_ms: 0 },
    Use { plan: "chaos-slots", key_per_day: 0, rate: 50, held_ms: 100 },
];

impl Stand {
    /// `name` is unique among tests: that of the database.
    pub(crate) async fn start(name: &str, redis: &Redis, gateways: usize, uses: &[Use]) -> Self {
        Self::start_in(name, redis, gateways, uses, Vec::new()).await
    }

    /// [`Stand::start`], with variables of the gateways' processes.
    pub(crate) async fn start_in(name: &str, redis: &Redis, gateways: usize, uses: &[Use], env: Environment) -> Self {
        let database = format!("chaos_{name}_{gateways}");
        let url = Cluster::shared().create(&database);
        let settings = format!("[control]\ndatabase_url = \"{url}\"\ndatabase_connections = 8\n[sync]\nmode = \"available\"\n");
        let (fleet, upstream) = (Fleet::new(&settings).with(env), Upstream::start().await);
        let control = fleet.control();
        let (mut links, mut proxies) = (Vec::new(), Vec::new());
        for n in 0..gateways {
            let (link, name) = (Link::to(&redis.url()).await, format!("gateway-{n}"));
            fleet.set_for(&name, &format!("[redis]\nurl = \"{}\"\nforget_after = \"15s\"\n", link.url));
            proxies.push(fleet.proxy(&name, &upstream.routes(), &control, &control.sync));
            links.push(link);
        }
        control.attached(gateways).await;
        let (subjects, accounts, streams) = (Vec::new(), Vec::new(), Vec::new());
        let mut stand =
            Self { _fleet: fleet, control, database, gateways: proxies, links, upstream, subjects, accounts, streams };
        for of in uses {
            stand.account(*of).await;
        }
        stand
    }

    async fn account(&mut self, of: Use) {
        let plans = Plans::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans.toml")).expect("plans");
        let plan = plans.plans.iter().find(|plan| plan.name == of.plan).expect("a plan of the tests");
        let id = self.control.account(of.plan, of.plan).await;
        self.accounts.push(id.clone());
        self.subjects.push((of.plan.to_owned(), plan.limits));
        let account = self.subjects.len() - 1;
        let free = self.control.key(&id, json!({})).await.1;
        if of.key_per_day == 0 {
            return self.spread([Some(account), None], &free, of.rate, of.held_ms);
        }
        let (_, limited) = self.control.key(&id, json!({"limits": {"per_day": of.key_per_day}})).await;
        self.subjects.push((format!("{}'s key", of.plan), Limits { per_day: Some(of.key_per_day), ..Limits::UNLIMITED }));
        self.spread([Some(account), Some(account + 1)], &limited, of.rate / 2, of.held_ms);
        self.spread([Some(account), None], &free, of.rate / 2, of.held_ms);
    }

    /// Four fifths at the first gateway; of more than two the last has nothing to do.
    fn spread(&mut self, subjects: [Option<usize>; 2], secret: &str, rate: u32, held_ms: u64) {
        let busy = if self.gateways.len() > 2 { self.gateways.len() - 1 } else { self.gateways.len() };
        for gateway in 0..busy {
            let part = match (gateway, busy) {
                (_, 1) => 1.0,
                (0, _) => 0.8,
                (_, busy) => 0.2 / f64::from(u32::try_from(busy - 1).expect("few gateways")),
            };
            let rate = f64::from(rate) * part;
            // A client that is held for so long asks no oftener.
            let clients = if held_ms > 0 { (rate / 6.0).ceil() } else { (rate / 25.0).ceil() };
            let address = self.gateways[gateway].url.trim_start_matches("http://").to_owned();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few, and above nothing")]
            let (clients, every) = (clients as usize, Duration::from_secs_f64(clients / rate));
            self.streams.push(Stream { gateway, address, subjects, secret: secret.to_owned(), clients, every, held_ms });
        }
    }
}
