//! Which target a request goes to.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::settings::fault::Fault;

/// How requests are shared out, as it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BalanceSpec {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// To the target that has the fewest requests in flight for its weight.
    LeastConnections,
    /// To the same target for the same `hash_by`.
    Hash,
}

/// What a request's target is derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HashBy {
    Key,
    Account,
    /// The client's.
    Address,
    Header(HeaderName),
}

/// How requests are shared out, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastConnections,
    Hash(HashBy),
}

pub(super) fn resolve(balance: BalanceSpec, hash_by: Option<&HashBy>) -> Result<Balance, Fault> {
    match (balance, hash_by) {
        (BalanceSpec::RoundRobin, None) => Ok(Balance::RoundRobin),
        (BalanceSpec::LeastConnections, None) => Ok(Balance::LeastConnections),
        (BalanceSpec::Hash, Some(by)) => Ok(Balance::Hash(by.clone())),
        (BalanceSpec::Hash, None) => Err(Fault::at("hash_by", "balance = \"hash\" needs it")),
        (_, Some(_)) => Err(Fault::at("hash_by", "is for balance = \"hash\"")),
    }
}

impl TryFrom<String> for HashBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("header:").map(|name| HeaderName::from_bytes(name.as_bytes()))) {
            ("key", _) => Ok(Self::Key),
            ("account", _) => Ok(Self::Account),
            ("address", _) => Ok(Self::Address),
            (_, Some(Ok(name))) => Ok(Self::Header(name)),
            (_, Some(Err(_))) => Err(format!("`{text}` does not name a header")),
            (_, None) => Err(format!("`{text}` is none of `key`, `account`, `address` and `header:NAME`")),
        }
    }
}

impl From<HashBy> for String {
    fn from(by: HashBy) -> Self {
        match by {
            HashBy::Key => "key".to_owned(),
            HashBy::Account => "account".to_owned(),
            HashBy::Address => "address".to_owned(),
            HashBy::Header(name) => format!("header:{name}"),
        }
    }
}
