//! Mirrors: a route's requests copied to another upstream, whose answers nobody sees.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::settings::fault::Fault;

/// A route's mirror as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MirrorSpec {
    /// The name of the upstream that gets the copies.
    pub upstream: String,
    /// Of the requests, so many are copied; all of them unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// Index into [`super::Gateway::upstreams`].
    pub upstream: usize,
    /// 1 to 100.
    pub percent: u8,
}

impl MirrorSpec {
    /// Checks the mirror; `upstreams` are the indices of the upstreams there are, by name.
    pub fn resolve(&self, upstreams: &HashMap<String, usize>) -> Result<Mirror, Fault> {
        let upstream = *upstreams
            .get(&self.upstream)
            .ok_or_else(|| Fault::at("upstream", format!("there is no upstream `{}`", self.upstream)))?;
        let percent = self.percent.unwrap_or(100);
        if !(1..=100).contains(&percent) {
            return Err(Fault::at("percent", "must be from 1 to 100"));
        }
        Ok(Mirror { upstream, percent })
    }
}
