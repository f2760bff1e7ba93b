//! What a plan says is to happen while the store that a fleet's proxies share their quotas by cannot be reached.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Every one of them begins with what a proxy was granted before: that is spent first, and costs nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnQuotaStoreLoss {
    /// Then requests are refused with 503: no limit is ever exceeded.
    #[default]
    LeaseThenDeny,
    /// Then each proxy takes, once a window, its part of what was left when the store was last heard.
    LeaseThenLocalShare,
    /// Then each proxy goes on by its own counts, up to the plan's limits.
    LeaseThenAllow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be lease_then_deny, lease_then_local_share or lease_then_allow")]
pub struct UnknownPolicy;

impl OnQuotaStoreLoss {
    pub const ALL: [Self; 3] = [Self::LeaseThenDeny, Self::LeaseThenLocalShare, Self::LeaseThenAllow];

    /// The word in files, in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseThenDeny => "lease_then_deny",
            Self::LeaseThenLocalShare => "lease_then_local_share",
            Self::LeaseThenAllow => "lease_then_allow",
        }
    }
}

impl fmt::Display for OnQuotaStoreLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OnQuotaStoreLoss {
    type Err = UnknownPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word).ok_or(UnknownPolicy)
    }
}
