//! What many keys have in common, held once: scopes, allowed addresses and own limits.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use clearway_config::{Limits, Scope, Scopes, sync::v1};
use hashbrown::HashTable;
use ipnet::IpNet;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) scopes: Scopes,
    pub(super) allowed: Box<[IpNet]>,
    pub(super) limits: Limits,
}

/// Why a credential's words could not be understood: control may be newer than this proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("scope not understood")]
    Scope,
    #[error("address range not understood")]
    Address,
    #[error("limit not understood")]
    Limit,
}

/// Profiles in use. Those that no credential holds any more are dropped now and then.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    table: HashTable<Arc<Profile>>,
    hasher: RandomState,
    /// The size at which to look for unused ones.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 1024;

impl Profiles {
    pub(super) fn of(&mut self, wire: &v1::Credential) -> Result<Arc<Profile>, Unreadable> {
        let words = Words::read(wire)?;
        let hash = words.hash(&self.hasher);
        if let Some(profile) = self.table.find(hash, |held| words.are(held)) {
            return Ok(profile.clone());
        }
        if self.table.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.table.retain(|profile| Arc::strong_count(profile) > 1);
            self.sweep_at = self.table.len() * 2;
        }
        let profile = Arc::new(words.into_profile()?);
        let hasher = &self.hasher;
        self.table.insert_unique(hash, profile.clone(), |held| Words::of(held).hash(hasher));
        Ok(profile)
    }

    /// The profile of a credential that nobody may use.
    pub(super) fn nothing(&mut self) -> Arc<Profile> {
        self.of(&v1::Credential::default()).expect("no words at all are always understood")
    }
}

/// A profile's words in their one order, so that a look-up need not build it.
struct Words<'w> {
    scopes: Vec<&'w str>,
    allowed: Vec<IpNet>,
    limits: Limits,
}

impl<'w> Words<'w> {
    fn read(wire: &'w v1::Credential) -> Result<Self, Unreadable> {
        let mut scopes: Vec<&str> = wire.scopes.iter().map(String::as_str).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let allowed = wire.allowed_addresses.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let limits = wire.limits.map(Limits::try_from).transpose();
        Ok(Self {
            scopes,
            allowed: allowed.map_err(|_| Unreadable::Address)?,
            limits: limits.map_err(|_| Unreadable::Limit)?.unwrap_or_default(),
        })
    }

    fn of(profile: &'w Profile) -> Self {
        Self {
            scopes: profile.scopes.iter().map(Scope::as_str).collect(),
            allowed: profile.allowed.to_vec(),
            limits: profile.limits,
        }
    }

    fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        hasher.hash_one((&self.scopes, &self.allowed, &self.limits))
    }

    fn are(&self, profile: &Profile) -> bool {
        self.limits == profile.limits
            && *self.allowed == *profile.allowed
            && self.scopes.iter().copied().eq(profile.scopes.iter().map(Scope::as_str))
    }

    fn into_profile(self) -> Result<Profile, Unreadable> {
        let scopes = self.scopes.iter().map(|word| word.parse::<Scope>()).collect::<Result<Vec<_>, _>>();
        Ok(Profile { scopes: scopes.map_err(|_| Unreadable::Scope)?.into(), allowed: self.allowed.into(), limits: self.limits })
    }
}
