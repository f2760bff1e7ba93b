//! Names to addresses. Blocks; done when settings are loaded and now and then in the background.

use std::{
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

use clearway_config::settings::gateway::upstream::{Target as Settings, UpstreamAddress, UpstreamTls, address::TARGETS_MAX};

use super::target::{Place, Target};

/// The places that `targets` lead to now. A name that does not resolve leads to where it led before.
pub(super) fn places(upstream: &str, targets: &[Settings], tls: &UpstreamTls, before: &[Arc<Target>]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for Settings { address, weight } in targets {
        let authority: Arc<str> = authority(address).into();
        let name = address.tls.then(|| Arc::from(tls.server_name.as_deref().unwrap_or(&address.host)));
        match (address.host.as_str(), address.port).to_socket_addrs() {
            Ok(found) => places.extend(found.map(|address| Place {
                address,
                tls: name.clone(),
                authority: authority.clone(),
                weight: *weight,
            })),
            Err(e) => {
                tracing::warn!(upstream, host = address.host, error = %e, "upstream name does not resolve");
                let kept = before.iter().filter(|t| t.authority == authority && t.tls == name && t.weight == *weight);
                places.extend(kept.map(|t| Place {
                    address: t.address,
                    tls: name.clone(),
                    authority: authority.clone(),
                    weight: *weight,
                }));
            }
        }
    }
    // Resolvers change the order from one answer to the next, and name the same address twice.
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert((place.address, place.tls.clone(), place.authority.clone())));
    places.truncate(TARGETS_MAX);
    places
}

/// Whether it can change where `targets` lead.
pub(super) fn are_named(targets: &[Settings]) -> bool {
    targets.iter().any(|target| target.address.host.parse::<IpAddr>().is_err())
}

/// Host and port, as a Host header would say them.
fn authority(UpstreamAddress { tls, host, port }: &UpstreamAddress) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    if *port == if *tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
}
