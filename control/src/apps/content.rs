//! What a version of an app says of itself: what the catalogue shows, and what the app asks for. No IO.

use std::str::FromStr;

use clearway_config::{Scope, Scopes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Changes;

pub(super) const NAME_CHARS_MAX: usize = 80;
pub(super) const SUMMARY_CHARS_MAX: usize = 160;
pub(super) const DESCRIPTION_CHARS_MAX: usize = 10_000;
pub(super) const URL_CHARS_MAX: usize = 2_048;
pub(super) const FEATURES_MAX: usize = 20;
pub(super) const FEATURE_CHARS_MAX: usize = 120;
pub(super) const PERMISSIONS_MAX: usize = 32;
pub(super) const REASON_CHARS_MAX: usize = 500;
pub(super) const REDIRECT_URIS_MAX: usize = 10;
pub(super) const UNIT_CHARS_MAX: usize = 40;
/// Millionths of the currency.
pub(super) const AMOUNT_MAX: u64 = 1_000_000_000_000;

/// Stored as it serializes, beside its number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content {
    pub name: String,
    /// One line.
    pub summary: String,
    /// Plain text with lines.
    pub description: String,
    pub category: Category,
    pub icon_url: Option<String>,
    pub documentation_url: Option<String>,
    pub support_url: Option<String>,
    pub privacy_url: Option<String>,
    pub features: Vec<String>,
    /// What it asks an installer for, by scope.
    pub permissions: Vec<Permission>,
    /// Where OAuth may send people back to, compared character by character.
    pub redirect_uris: Vec<String>,
    /// Where the app hears of its installations.
    pub webhook_url: Option<String>,
    pub pricing: Pricing,
}

/// A scope that an app asks for, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Why the app needs it; who installs it reads this.
    pub reason: String,
    /// Whether the app can be installed without.
    #[schema(required = false)]
    pub optional: bool,
}

/// The categories of the catalogue (seed 003, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    #[default]
    Integrations,
    Analytics,
    Automation,
    Communication,
    Storage,
    Security,
    DeveloperTools,
    WorkflowAutomation,
}

/// What an app costs. Data for whoever bills: nothing is charged by it here. Amounts are millionths of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Pricing {
    pub model: PriceModel,
    /// ISO 4217; of everything but what is free.
    pub currency: Option<String>,
    /// A month.
    pub monthly: Option<i64>,
    /// A unit beyond the free ones.
    pub per_unit: Option<i64>,
    /// What is counted, such as `request`.
    pub unit: Option<String>,
    /// Units a month that cost nothing.
    pub free_units: Option<i64>,
}

/// How an app is paid for (seed 003, 12.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceModel {
    #[default]
    Free,
    Fixed,
    UsageBased,
    Freemium,
}

/// How the permissions of two versions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PermissionDiff {
    /// Asked for from now on.
    #[schema(value_type = Vec<String>)]
    pub added: Vec<Scope>,
    /// No longer asked for.
    #[schema(value_type = Vec<String>)]
    pub removed: Vec<Scope>,
    /// Could be left out before, and cannot any more.
    #[schema(value_type = Vec<String>)]
    pub now_required: Vec<Scope>,
}

impl Category {
    pub const ALL: [Category; 8] = [
        Self::Integrations,
        Self::Analytics,
        Self::Automation,
        Self::Communication,
        Self::Storage,
        Self::Security,
        Self::DeveloperTools,
        Self::WorkflowAutomation,
    ];

    /// As in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integrations => "integrations",
            Self::Analytics => "analytics",
            Self::Automation => "automation",
            Self::Communication => "communication",
            Self::Storage => "storage",
            Self::Security => "security",
            Self::DeveloperTools => "developer-tools",
            Self::WorkflowAutomation => "workflow-automation",
        }
    }

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Integrations => "Integrations",
            Self::Analytics => "Analytics",
            Self::Automation => "Automation",
            Self::Communication => "Communication",
            Self::Storage => "Storage",
            Self::Security => "Security",
            Self::DeveloperTools => "Developer Tools",
            Self::WorkflowAutomation => "Workflow Automation",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be integrations, analytics, automation, communication, storage, security, developer-tools or workflow-automation")]
pub struct UnknownCategory;

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(text: &str) -> Result<Self, UnknownCategory> {
        Self::ALL.into_iter().find(|category| category.as_str() == text).ok_or(UnknownCategory)
    }
}

impl PriceModel {
    pub const ALL: [PriceModel; 4] = [Self::Free, Self::Fixed, Self::UsageBased, Self::Freemium];

    /// As in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Fixed => "fixed",
            Self::UsageBased => "usage_based",
            Self::Freemium => "freemium",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be free, fixed, usage_based or freemium")]
pub struct UnknownPriceModel;

impl FromStr for PriceModel {
    type Err = UnknownPriceModel;

    fn from_str(text: &str) -> Result<Self, UnknownPriceModel> {
        let text = text.to_ascii_lowercase();
        Self::ALL.into_iter().find(|model| model.as_str() == text).ok_or(UnknownPriceModel)
    }
}

impl Pricing {
    /// What is missing or too much for its model; `None` where it is whole.
    pub fn fault(&self) -> Option<&'static str> {
        let paid = self.monthly.is_some() || self.per_unit.is_some();
        match self.model {
            PriceModel::Free if paid || self.free_units.is_some() => Some("what is free has no amounts"),
            PriceModel::Free => None,
            _ if self.currency.is_none() => Some("an amount needs its currency"),
            _ if self.per_unit.is_some() && self.unit.is_none() => Some("what is paid by unit says what the unit is"),
            PriceModel::Fixed if self.monthly.is_none() || self.per_unit.is_some() => Some("a fixed price is one amount a month"),
            PriceModel::UsageBased if self.per_unit.is_none() => Some("what is paid by use has an amount per unit"),
            PriceModel::Freemium if self.free_units.is_none() && self.monthly.is_none() => {
                Some("freemium says what is free, or what the paid tier costs a month")
            }
            PriceModel::Freemium if !paid => Some("freemium has a paid tier"),
            PriceModel::Fixed | PriceModel::UsageBased | PriceModel::Freemium => None,
        }
    }
}

impl Content {
    /// Everything that it asks for.
    pub fn asked(&self) -> Scopes {
        self.permissions.iter().map(|permission| permission.scope.clone()).collect()
    }

    /// What it cannot be installed without.
    pub fn required(&self) -> Scopes {
        self.permissions.iter().filter(|permission| !permission.optional).map(|permission| permission.scope.clone()).collect()
    }

    /// How its permissions differ from those of an earlier one, or from none.
    pub fn permission_diff(&self, earlier: Option<&Self>) -> PermissionDiff {
        let none = Scopes::default();
        let (old, old_required) = earlier.map_or((none.clone(), none), |earlier| (earlier.asked(), earlier.required()));
        let without = |of: &Scopes, others: &Scopes| of.iter().filter(|one| !others.contains(one.as_str())).cloned().collect();
        let required = self.required();
        PermissionDiff {
            added: without(&self.asked(), &old),
            removed: without(&old, &self.asked()),
            now_required: required
                .iter()
                .filter(|one| old.contains(one.as_str()) && !old_required.contains(one.as_str()))
                .cloned()
                .collect(),
        }
    }

    /// What differs, for the audit log and the event.
    pub(super) fn differences(&self, old: &Self) -> Changes {
        Changes::default()
            .field("name", &old.name, &self.name)
            .field("summary", &old.summary, &self.summary)
            .field("description", &old.description, &self.description)
            .field("category", old.category, self.category)
            .field("icon_url", &old.icon_url, &self.icon_url)
            .field("documentation_url", &old.documentation_url, &self.documentation_url)
            .field("support_url", &old.support_url, &self.support_url)
            .field("privacy_url", &old.privacy_url, &self.privacy_url)
            .field("features", &old.features, &self.features)
            .field("permissions", &old.permissions, &self.permissions)
            .field("redirect_uris", &old.redirect_uris, &self.redirect_uris)
            .field("webhook_url", &old.webhook_url, &self.webhook_url)
            .field("pricing", &old.pricing, &self.pricing)
    }
}

/// `1.4.2`: three whole numbers, compared as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number([u32; 3]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be three whole numbers such as 1.4.2")]
pub struct MalformedNumber;

impl Number {
    pub const FIRST: Self = Self([1, 0, 0]);

    /// The one after it, for who names none.
    #[must_use]
    pub fn next(self) -> Self {
        let Self([major, minor, patch]) = self;
        Self([major, minor, patch.saturating_add(1)])
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for Number {
    type Err = MalformedNumber;

    fn from_str(text: &str) -> Result<Self, MalformedNumber> {
        let mut parts = text.split('.').map(|part| {
            let digits = (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            let plain = digits && (part == "0" || !part.starts_with('0'));
            part.parse().ok().filter(|_| plain)
        });
        let mut part = || parts.next().flatten().ok_or(MalformedNumber);
        let number = Self([part()?, part()?, part()?]);
        if parts.next().is_some() { Err(MalformedNumber) } else { Ok(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(permissions: &[(&str, bool)]) -> Content {
        let permission = |(scope, optional): &(&str, bool)| Permission {
            scope: scope.parse().unwrap(),
            reason: "to show what there is".into(),
            optional: *optional,
        };
        Content { permissions: permissions.iter().map(permission).collect(), ..Content::default() }
    }

    #[test]
    fn what_a_new_version_asks_for_is_told_apart() {
        let old = asking(&[("read:apps", false), ("read:keys", true), ("read:user", false)]);
        let new = asking(&[("read:keys", false), ("read:user", true), ("write:keys", false)]);
        let text = |scopes: &[Scope]| scopes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let diff = new.permission_diff(Some(&old));
        assert_eq!(
            (text(&diff.added), text(&diff.removed), text(&diff.now_required)),
            (vec!["write:keys".to_owned()], vec!["read:apps".to_owned()], vec!["read:keys".to_owned()])
        );
        assert_eq!(text(&new.permission_diff(None).added), ["read:keys", "read:user", "write:keys"]);
    }

    #[test]
    fn numbers_of_versions_are_compared_as_numbers() {
        let number = |text: &str| text.parse::<Number>();
        assert!(number("1.10.0").unwrap() > number("1.9.9").unwrap());
        assert_eq!(number("2.1.0").unwrap().next().to_string(), "2.1.1");
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "1.-2.3", "1.2.9999999", "1. 2.3"] {
            assert_eq!(number(wrong), Err(MalformedNumber), "{wrong}");
        }
    }

    #[test]
    fn a_price_is_whole_or_says_what_it_lacks() {
        let usd = || Some("USD".to_owned());
        let whole = [
            Pricing::default(),
            Pricing { model: PriceModel::Fixed, currency: usd(), monthly: Some(9_990_000), ..Pricing::default() },
            Pricing {
                model: PriceModel::UsageBased,
                currency: usd(),
                per_unit: Some(100),
                unit: Some("request".into()),
                ..Pricing::default()
            },
            Pricing {
                model: PriceModel::Freemium,
                currency: usd(),
                monthly: Some(1),
                free_units: Some(1_000),
                ..Pricing::default()
            },
        ];
        for price in &whole {
            assert_eq!(price.fault(), None, "{price:?}");
        }
        let faulty = [
            Pricing { monthly: Some(1), ..whole[0].clone() },
            Pricing { currency: None, ..whole[1].clone() },
            Pricing { monthly: None, ..whole[1].clone() },
            Pricing { unit: None, ..whole[2].clone() },
            Pricing { per_unit: None, ..whole[2].clone() },
            Pricing { monthly: None, ..whole[3].clone() },
        ];
        for price in &faulty {
            assert!(price.fault().is_some(), "{price:?}");
        }
    }
}
