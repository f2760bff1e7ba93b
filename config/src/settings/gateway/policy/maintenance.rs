//! Answering with 503 for a while.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::addresses::networks;
use crate::settings::fault::{Fault, Within as _};

const MESSAGE_CHARS_MAX: usize = 512;
const RETRY_AFTER: Duration = Duration::from_secs(60);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A maintenance as it is written; `{}` will do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MaintenanceSpec {
    /// What the answer says; a sentence of the gateway's own unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When a client may come back; `1m` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "10m"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// Networks from which requests get through all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// A maintenance, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    pub message: Option<String>,
    pub retry_after_s: u64,
    /// Empty is nobody.
    pub allow: Vec<IpNet>,
}

impl MaintenanceSpec {
    pub(super) fn resolve(&self) -> Result<Maintenance, Fault> {
        if let Some(message) = &self.message
            && (message.is_empty() || message.chars().count() > MESSAGE_CHARS_MAX || message.contains(char::is_control))
        {
            return Err(Fault::at("message", format!("must be one line of 1 to {MESSAGE_CHARS_MAX} characters")));
        }
        let retry_after = self.retry_after.unwrap_or(RETRY_AFTER);
        if retry_after > RETRY_AFTER_MAX || retry_after < Duration::from_secs(1) {
            return Err(Fault::at("retry_after", "must be from 1s to 30days"));
        }
        Ok(Maintenance {
            message: self.message.clone(),
            retry_after_s: retry_after.as_secs(),
            allow: networks(&self.allow).within("allow")?,
        })
    }
}
