//! A listing as a value. No IO.

use std::{fmt, str::FromStr};

use clearway_config::{AccountId, AppId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::apps::{Category, Content, Number, Permission, PriceModel, Pricing};

/// What the mean of the ratings of an app begins from: this many ratings of 3.5.
const PRIOR_COUNT: i64 = 10;
const PRIOR_THOUSANDTHS: i64 = 3_500;

/// A published app, as everybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    pub app_id: AppId,
    pub account_id: AccountId,
    /// What the developer's account is called.
    pub developer: String,
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub category: Category,
    pub price_model: PriceModel,
    pub details: Details,
    pub listed: bool,
    pub featured_at: Option<i64>,
    pub installs: i64,
    pub rating_count: i64,
    pub rating_sum: i64,
    pub published_at: i64,
    pub updated_at: i64,
}

/// What is shown and neither sorted nor filtered by. Stored as it serializes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    pub number: String,
    pub description: String,
    pub icon_url: Option<String>,
    pub documentation_url: Option<String>,
    pub support_url: Option<String>,
    pub privacy_url: Option<String>,
    pub features: Vec<String>,
    pub permissions: Vec<Permission>,
    pub pricing: Pricing,
}

/// What is published.
#[derive(Debug)]
pub struct Entry<'a> {
    pub app_id: AppId,
    pub account_id: AccountId,
    pub slug: &'a str,
    pub number: Number,
    pub content: &'a Content,
    pub now_ms: i64,
}

impl Entry<'_> {
    pub(super) fn details(&self) -> Details {
        let content = self.content.clone();
        Details {
            number: self.number.to_string(),
            description: content.description,
            icon_url: content.icon_url,
            documentation_url: content.documentation_url,
            support_url: content.support_url,
            privacy_url: content.privacy_url,
            features: content.features,
            permissions: content.permissions,
            pricing: content.pricing,
        }
    }
}

/// The row of an app's listing: what of its id is random, as a positive number.
pub(super) fn number_of(id: AppId) -> i64 {
    let (_, last) = id.as_bytes().split_at(8);
    let bytes: [u8; 8] = last.try_into().expect("8 of 16 bytes");
    i64::from_be_bytes(bytes) & i64::MAX
}

/// The Bayesian mean of ratings in thousandths: few ratings move it little from 3.5.
pub fn rank(count: i64, sum: i64) -> i64 {
    (PRIOR_COUNT * PRIOR_THOUSANDTHS + sum.saturating_mul(1_000)) / (PRIOR_COUNT + count.max(0))
}

/// In which order apps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By installs.
    #[default]
    Popular,
    Newest,
    /// By installs of the last 14 days.
    Trending,
    /// By the Bayesian mean of the ratings.
    Rating,
    /// How well the words match; of searches only, and theirs unless another is asked for.
    Relevance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be popular, newest, trending, rating or relevance")]
pub struct UnknownSort;

impl FromStr for Sort {
    type Err = UnknownSort;

    fn from_str(text: &str) -> Result<Self, UnknownSort> {
        Ok(match text {
            "popular" => Self::Popular,
            "newest" => Self::Newest,
            "trending" => Self::Trending,
            "rating" => Self::Rating,
            "relevance" => Self::Relevance,
            _ => return Err(UnknownSort),
        })
    }
}

/// A place in a sorted list: what it is sorted by, then the row. Its text is a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub key: i64,
    pub number: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a list of apps")]
pub struct MalformedPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.number)
    }
}

impl FromStr for Place {
    type Err = MalformedPlace;

    fn from_str(text: &str) -> Result<Self, MalformedPlace> {
        let (key, number) = text.split_once('.').ok_or(MalformedPlace)?;
        let parsed = |part: &str| part.parse().map_err(|_| MalformedPlace);
        Ok(Self { key: parsed(key)?, number: parsed(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rating_of_five_does_not_beat_many_good_ones() {
        assert_eq!(rank(0, 0), 3_500);
        assert!(rank(1, 5) < rank(200, 930), "{} {}", rank(1, 5), rank(200, 930));
        assert!(rank(1, 1) > rank(100, 150));
        assert!(rank(1_000_000, 5_000_000) <= 5_000);
    }

    #[test]
    fn a_listings_row_is_made_from_the_random_part_of_its_apps_id() {
        let (a, b) = (AppId::new(1, u128::MAX), AppId::new(2, u128::MAX));
        assert!(number_of(a) > 0 && number_of(a) == number_of(b));
        assert_ne!(number_of(AppId::new(1, 1 << 60)), number_of(AppId::new(1, 1 << 61)));
    }
}
