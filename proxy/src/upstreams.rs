//! Where requests are sent: the addresses of each upstream, used in turn.
//!
//! Names are resolved when routes are loaded and again every [`RESOLVE_EVERY`], never on a request.
//! A name that stops resolving keeps its last addresses. Health checks are not done here.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use clearway_config::settings::{Upstream as Settings, UpstreamAddress};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

/// How often names are resolved again.
pub(crate) const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// Addresses of one upstream at most.
const TARGETS_MAX: usize = 1024;
/// How long an upgraded connection may be silent in either direction.
pub(crate) const UPGRADE_IDLE: Duration = Duration::from_secs(3600);
/// How long an idle connection to an upstream is kept; upstreams close theirs after about a minute.
const IDLE: Duration = Duration::from_secs(50);

/// One upstream of the current routes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    settings: Settings,
    targets: ArcSwap<Vec<Target>>,
    next: AtomicUsize,
    named: bool,
}

/// One address that can be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The server name to ask for and verify; `None` is plain HTTP.
    pub(crate) tls: Option<Arc<str>>,
}

impl Upstream {
    /// Resolves every name; blocks while it does.
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        let upstream = Self {
            name: settings.name.clone(),
            targets: ArcSwap::default(),
            next: AtomicUsize::new(0),
            named: settings.targets.iter().any(|t| t.address.host.parse::<IpAddr>().is_err()),
            settings: settings.clone(),
        };
        upstream.resolve();
        Arc::new(upstream)
    }

    /// Whether [`Upstream::resolve`] can ever find anything new.
    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn resolve(&self) {
        let mut targets = Vec::new();
        for address in self.settings.targets.iter().map(|target| &target.address) {
            match resolve(address) {
                Ok(found) => targets.extend(found),
                Err(e) => {
                    tracing::warn!(upstream = self.name, host = address.host, error = %e, "upstream name does not resolve");
                    let kept = self.targets.load();
                    targets.extend(kept.iter().filter(|t| t.is_of(address)).cloned());
                }
            }
        }
        targets.truncate(TARGETS_MAX);
        self.targets.store(Arc::new(targets));
    }

    /// The next target in turn, `attempt` further on; `None` while no name resolves.
    pub(crate) fn pick(&self, turn: usize, attempt: usize) -> Option<Target> {
        let targets = self.targets.load();
        (!targets.is_empty()).then(|| targets[turn.wrapping_add(attempt) % targets.len()].clone())
    }

    /// Takes a turn; all attempts of one request count from it.
    pub(crate) fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// As they were last resolved.
    pub(crate) fn targets(&self) -> Arc<Vec<Target>> {
        self.targets.load_full()
    }

    pub(crate) fn targets_len(&self) -> usize {
        self.targets.load().len()
    }

    pub(crate) fn peer(&self, target: &Target, upgrade: bool) -> HttpPeer {
        let sni = target.tls.as_deref().unwrap_or_default().to_owned();
        let mut peer = HttpPeer::new(target.address, target.tls.is_some(), sni);
        let options = &mut peer.options;
        options.connection_timeout = Some(self.settings.timeouts.connect);
        options.total_connection_timeout = Some(self.settings.timeouts.connect);
        options.read_timeout = Some(if upgrade { UPGRADE_IDLE } else { self.settings.timeouts.read });
        options.write_timeout = Some(self.settings.timeouts.write);
        options.idle_timeout = Some(IDLE);
        // What a client's headers may do is decided before the request is charged, and done in one place.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        peer
    }
}

impl Target {
    fn is_of(&self, address: &UpstreamAddress) -> bool {
        self.address.port() == address.port && self.tls.as_deref() == address.tls.then_some(address.host.as_str())
    }
}

fn resolve(address: &UpstreamAddress) -> std::io::Result<Vec<Target>> {
    let tls = address.tls.then(|| Arc::from(address.host.as_str()));
    let mut found: Vec<_> =
        (address.host.as_str(), address.port).to_socket_addrs()?.map(|address| Target { address, tls: tls.clone() }).collect();
    found.dedup_by_key(|t| t.address);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::UpstreamSpec;

    use super::*;

    fn upstream(addresses: &[&str]) -> Arc<Upstream> {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        let second = |n| Some(Duration::from_secs(n));
        let spec = UpstreamSpec {
            name: "orders".into(),
            addresses,
            connect_timeout: second(1),
            read_timeout: second(2),
            write_timeout: second(3),
            ..UpstreamSpec::default()
        };
        Upstream::new(&spec.resolve().unwrap())
    }

    #[test]
    fn addresses_take_turns_and_a_further_attempt_goes_to_the_next() {
        let orders = upstream(&["http://127.0.0.1:7000", "http://127.0.0.1:7001"]);
        let port = |turn, attempt| orders.pick(turn, attempt).unwrap().address.port();
        let first = orders.turn();
        assert_ne!(port(first, 0), port(orders.turn(), 0));
        assert_ne!(port(first, 0), port(first, 1));
    }

    #[test]
    fn https_asks_for_and_verifies_the_name_in_the_settings() {
        let orders = upstream(&["https://127.0.0.1"]);
        let peer = orders.peer(&orders.pick(0, 0).unwrap(), false);
        assert!(peer.is_tls() && peer.options.verify_cert && peer.options.verify_hostname);
        assert_eq!((peer.sni.as_str(), peer.options.read_timeout), ("127.0.0.1", Some(Duration::from_secs(2))));
    }

    #[test]
    fn an_upstream_without_an_address_yet_is_none_not_a_panic() {
        assert!(upstream(&["http://does-not-exist.invalid:1"]).pick(3, 0).is_none());
    }
}
