//! `plans.toml`: what accounts can subscribe to.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{SettingsError, Source};
use crate::{limits::Limits, store_loss::OnQuotaStoreLoss};

/// Plans on offer at most.
pub const PLANS_MAX: usize = 1_000;
/// Days for which events are kept at most.
pub const EVENT_RETENTION_DAYS_MAX: u32 = 3_650;
/// Where a plan does not say.
const EVENT_RETENTION_DAYS_DEFAULT: u32 = 30;

#[derive(Debug, Clone)]
pub struct Plans {
    /// In the file's order; the first is a new account's.
    pub plans: Vec<Plan>,
    /// Limits that can never be reached, each a sentence with its place.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// 1 to 32 of a-z, 0-9, `-` and `_`.
    pub name: String,
    /// For people.
    pub title: String,
    pub limits: Limits,
    /// Keys that an account may have at the same time; `None` is unlimited.
    pub keys_max: Option<u32>,
    /// Days for which an account's events are kept, and what became of them; 1 to [`EVENT_RETENTION_DAYS_MAX`].
    pub event_retention_days: u32,
    /// In a fleet, while the store of quotas cannot be reached.
    pub on_quota_store_loss: OnQuotaStoreLoss,
    /// Micro-units of `currency`; `None` is by agreement.
    pub price_monthly: Option<i64>,
    pub price_annual: Option<i64>,
    /// ISO 4217.
    pub currency: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    plans: Vec<RawPlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    name: Spanned<String>,
    title: String,
    limits: Spanned<RawLimits>,
    keys_max: Option<u32>,
    event_retention_days: Option<Spanned<u32>>,
    #[serde(default)]
    on_quota_store_loss: OnQuotaStoreLoss,
    price_monthly: Option<i64>,
    price_annual: Option<i64>,
    currency: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    per_second: Option<u64>,
    per_day: Option<u64>,
    per_month: Option<u64>,
    concurrent: Option<u64>,
    overage: bool,
}

impl Plans {
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        Self::resolve(&Source::read(file)?)
    }

    pub fn resolve(source: &Source) -> Result<Self, SettingsError> {
        let file: RawFile = source.parse()?;
        let mut resolved = Plans { plans: Vec::new(), warnings: Vec::new() };
        for raw in &file.plans {
            let plan = resolve_plan(source, raw)?;
            if resolved.plans.iter().any(|p| p.name == plan.name) {
                return Err(source.fault(&raw.name.span(), "plans.name", format!("`{}` is taken", plan.name)));
            }
            let place = |why: String| source.fault(&raw.limits.span(), &format!("plans.{}", plan.name), why).to_string();
            resolved.warnings.extend(plan.limits.unreachable().into_iter().map(place));
            resolved.plans.push(plan);
        }
        if resolved.plans.is_empty() || resolved.plans.len() > PLANS_MAX {
            return Err(source.fault(&(0..0), "plans", format!("1 to {PLANS_MAX} are needed")));
        }
        Ok(resolved)
    }
}

fn resolve_plan(source: &Source, raw: &RawPlan) -> Result<Plan, SettingsError> {
    let name = raw.name.get_ref();
    if !(1..=32).contains(&name.len())
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    {
        return Err(source.fault(&raw.name.span(), "plans.name", "must be 1 to 32 of a-z, 0-9, `-` and `_`"));
    }
    let currency = raw.currency.get_ref();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(source.fault(&raw.currency.span(), "plans.currency", "must be an ISO 4217 code such as USD"));
    }
    let limits = raw.limits.get_ref();
    let limits = Limits::new(limits.per_second, limits.per_day, limits.per_month, limits.concurrent, limits.overage)
        .map_err(|why| source.fault(&raw.limits.span(), "plans.limits", why.to_string()))?;
    let event_retention_days = match &raw.event_retention_days {
        None => EVENT_RETENTION_DAYS_DEFAULT,
        Some(days) if (1..=EVENT_RETENTION_DAYS_MAX).contains(days.get_ref()) => *days.get_ref(),
        Some(days) => {
            let why = format!("must be from 1 to {EVENT_RETENTION_DAYS_MAX}");
            return Err(source.fault(&days.span(), "plans.event_retention_days", why));
        }
    };
    Ok(Plan {
        name: name.clone(),
        title: raw.title.clone(),
        limits,
        keys_max: raw.keys_max,
        event_retention_days,
        on_quota_store_loss: raw.on_quota_store_loss,
        price_monthly: raw.price_monthly,
        price_annual: raw.price_annual,
        currency: currency.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_tiers_load_and_pros_month_is_warned_about() {
        let plans = Plans::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plans.toml")).unwrap();
        let starter = &plans.plans[0];
        assert_eq!(starter.name, "starter");
        assert_eq!(starter.limits, Limits::new(Some(10), Some(10_000), Some(100_000), Some(5), false).unwrap());
        let pro = &plans.plans[1];
        assert_eq!(pro.limits, Limits::new(Some(50), Some(100_000), Some(10_000_000), Some(25), true).unwrap());
        assert_eq!((pro.price_monthly, pro.price_annual), (Some(99_000_000), Some(1_069_200_000)));
        let enterprise = &plans.plans[2];
        assert_eq!(enterprise.limits, Limits::new(Some(1_000), Some(10_000_000), None, Some(1_000), false).unwrap());
        assert_eq!(plans.plans.iter().map(|plan| plan.event_retention_days).collect::<Vec<_>>(), [7, 30, 90]);
        assert_eq!(plans.warnings.len(), 1, "{:?}", plans.warnings);
        assert!(plans.warnings[0].contains("plans.pro: per_month = 10000000 can never be reached"));
    }

    #[test]
    fn a_limit_of_zero_is_refused_with_its_line() {
        let text = "[[plans]]\nname = \"x\"\ntitle = \"X\"\ncurrency = \"USD\"\nlimits = { per_day = 0 }\n";
        let wrong = Plans::resolve(&Source::new("plans.toml", text)).unwrap_err();
        assert_eq!(wrong.to_string(), "plans.toml:5: plans.limits: per_day must be from 1 to 1000000000000000");
    }

    #[test]
    fn events_are_kept_for_thirty_days_unless_a_plan_says_otherwise() {
        let plan = |more: &str| format!("[[plans]]\nname = \"x\"\ntitle = \"X\"\ncurrency = \"USD\"\nlimits = {{}}\n{more}");
        let plans = Plans::resolve(&Source::new("plans.toml", plan(""))).unwrap();
        assert_eq!(plans.plans[0].event_retention_days, 30);
        let wrong = Plans::resolve(&Source::new("plans.toml", plan("event_retention_days = 0\n"))).unwrap_err();
        assert_eq!(wrong.to_string(), "plans.toml:6: plans.event_retention_days: must be from 1 to 3650");
    }

    #[test]
    fn a_lost_store_of_quotas_denies_unless_a_plan_says_otherwise_in_a_known_word() {
        let plan = |more: &str| format!("[[plans]]\nname = \"x\"\ntitle = \"X\"\ncurrency = \"USD\"\nlimits = {{}}\n{more}");
        let resolve = |more: &str| Plans::resolve(&Source::new("plans.toml", plan(more)));
        assert_eq!(resolve("").unwrap().plans[0].on_quota_store_loss, OnQuotaStoreLoss::LeaseThenDeny);
        let shared = resolve("on_quota_store_loss = \"lease_then_local_share\"\n").unwrap();
        assert_eq!(shared.plans[0].on_quota_store_loss, OnQuotaStoreLoss::LeaseThenLocalShare);
        let wrong = resolve("on_quota_store_loss = \"allow\"\n").unwrap_err().to_string();
        assert!(wrong.starts_with("plans.toml:6") && wrong.contains("lease_then_allow"), "{wrong}");
    }
}
