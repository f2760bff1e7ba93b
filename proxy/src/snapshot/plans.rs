//! Plans by index. A changed plan is a new version behind the same index, so that a reader holds one
//! whole version without a lock or a count. Old versions stay: there are few plans and they seldom change.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};

use clearway_config::{Limits, OnQuotaStoreLoss};

#[derive(Default)]
pub(super) struct Plans {
    versions: boxcar::Vec<Plan>,
    current: boxcar::Vec<AtomicU32>,
}

impl std::fmt::Debug for Plans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plans({})", self.current.count())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: Box<str>,
    pub(super) limits: Limits,
    pub(super) on_quota_store_loss: OnQuotaStoreLoss,
    /// False for one that an account named and control has not described, or not in words known here.
    pub(super) known: bool,
}

impl Plan {
    fn new(name: &str, limits: Option<Limits>, on_quota_store_loss: OnQuotaStoreLoss) -> Self {
        let known = limits.is_some();
        Self { name: name.into(), limits: limits.unwrap_or(Limits::UNLIMITED), on_quota_store_loss, known }
    }
}

impl Plans {
    pub(super) fn at(&self, index: u32) -> &Plan {
        let current = self.current.get(index as usize).expect("an index was given out by push, and none is removed");
        let version = current.load(Ordering::Acquire) as usize;
        self.versions.get(version).expect("a version is pushed before it is current")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.current.iter().map(|(index, _)| self.at(narrow(index)))
    }
}

/// The writer's way from a name to its index.
#[derive(Debug, Default)]
pub(super) struct Names {
    indexes: HashMap<Box<str>, u32>,
}

impl Names {
    /// The plan's index; one not yet described cannot be served.
    pub(super) fn of(&mut self, plans: &Plans, name: &str) -> u32 {
        if let Some(&index) = self.indexes.get(name) {
            return index;
        }
        let version = plans.versions.push(Plan::new(name, None, OnQuotaStoreLoss::default()));
        let index = narrow(plans.current.push(AtomicU32::new(narrow(version))));
        self.indexes.insert(name.into(), index);
        index
    }

    /// Describes a plan; `None` says that its limits could not be understood.
    pub(super) fn set(&mut self, plans: &Plans, name: &str, limits: Option<Limits>, on_loss: OnQuotaStoreLoss) {
        let index = self.of(plans, name);
        let plan = Plan::new(name, limits, on_loss);
        if *plans.at(index) != plan {
            let version = narrow(plans.versions.push(plan));
            plans.current.get(index as usize).expect("of() gave the index").store(version, Ordering::Release);
        }
    }

    /// Forgets what plans allow, where `keep` does not hold their name.
    pub(super) fn retain(&mut self, plans: &Plans, keep: impl Fn(&str) -> bool) {
        let gone: Vec<Box<str>> = self.indexes.keys().filter(|name| !keep(name)).cloned().collect();
        for name in gone {
            self.set(plans, &name, None, OnQuotaStoreLoss::default());
        }
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("four billion plans do not fit into memory")
}
