//! From where requests may come.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::settings::fault::{Fault, Within as _};

/// Networks in one list at most.
pub const NETWORKS_MAX: usize = 1024;

/// Networks as they are written: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AddressesSpec {
    /// Only these; all unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Never these, also where `allow` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Networks, checked; sorted, and none inside another of its list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Empty allows all.
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
}

impl AddressesSpec {
    pub(super) fn resolve(&self) -> Result<Addresses, Fault> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return Err(Fault::new("needs `allow` or `deny`"));
        }
        Ok(Addresses { allow: networks(&self.allow).within("allow")?, deny: networks(&self.deny).within("deny")? })
    }
}

pub(super) fn networks(texts: &[String]) -> Result<Vec<IpNet>, Fault> {
    if texts.len() > NETWORKS_MAX {
        return Err(Fault::new(format!("more than {NETWORKS_MAX}")));
    }
    let networks = texts.iter().enumerate().map(|(n, text)| network(text).within(n)).collect::<Result<Vec<_>, _>>()?;
    let mut networks = IpNet::aggregate(&networks);
    networks.sort_unstable();
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet, Fault> {
    let network: Option<IpNet> = text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()));
    let network = network.ok_or_else(|| Fault::new(format!("`{text}` is not a network such as 10.0.0.0/8")))?;
    if network != network.trunc() {
        return Err(Fault::new(format!("`{text}` has bits set behind its length; `{}` is meant?", network.trunc())));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_merged_and_a_slip_of_the_pen_is_refused() {
        let list = |texts: &[&str]| networks(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let merged = list(&["192.0.2.7", "10.1.0.0/16", "10.0.0.0/8", "2001:db8::/32"]).unwrap();
        assert_eq!(merged.len(), 3, "{merged:?}");
        assert_eq!(
            list(&["10.0.0.1/8"]).unwrap_err().to_string(),
            "[0]: `10.0.0.1/8` has bits set behind its length; `10.0.0.0/8` is meant?"
        );
        assert!(list(&["10.0.0.0/33"]).is_err() && list(&["example.com"]).is_err());
        assert!(AddressesSpec::default().resolve().is_err());
    }
}
