//! What the request path knows of keys, accounts and plans: one table in memory, changed one row at a
//! time while requests read it. Beside it, and for another path, the webhooks that events are posted to.
//!
//! [`Snapshot::pin`] gives a request its view and [`View::find`] the holder of a key, without a lock, an
//! allocation or a wait. [`Snapshot::apply`] and the three steps of a full snapshot are called by the
//! sync client alone. [`disk`] keeps the same messages in files, so that a proxy starts and serves while
//! control is away. [`Lease`] says how long that is allowed.
//!
//! Nothing here decides about a request: `clearway_filters` does.

mod accounts;
mod apply;
mod credentials;
pub mod disk;
mod export;
mod lease;
mod objects;
mod plans;
mod policies;
mod profile;
mod signers;
#[cfg(test)]
mod tests;
mod tokens;
pub mod webhooks;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use clearway_config::{AccountId, KeyHash, KeyId, Limits, OnQuotaStoreLoss, Scopes, WebhookId};
use clearway_filters::access::Held;
use ipnet::IpNet;
use parking_lot::Mutex;

use accounts::{Account, Accounts};
use credentials::{Credential, Credentials};
use plans::{Plan, Plans};
use signers::Signers;
use tokens::Tokens;
use webhooks::Webhooks;

pub use apply::Applied;
pub use lease::{Lease, Mode, uptime_ms};
pub(crate) use objects::CERTIFICATE;
pub use objects::{Objects, ToldCertificate};
pub use signers::Signer;
pub use tokens::TokenIssuer;
pub use webhooks::Webhook;

/// Internally concurrent: any number of readers, one writer at a time.
#[derive(Debug)]
pub struct Snapshot {
    credentials: Credentials,
    signers: Signers,
    accounts: Accounts,
    plans: Plans,
    policies: policies::Lists,
    objects: Objects,
    webhooks: Webhooks,
    tokens: Tokens,
    writer: Mutex<apply::Writer>,
    revision: AtomicU64,
    ready: AtomicBool,
    lease: Lease,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshot {
    pub fn new() -> Self {
        Self {
            credentials: Credentials::default(),
            signers: Signers::default(),
            accounts: Accounts::default(),
            plans: Plans::default(),
            policies: policies::Lists::default(),
            objects: Objects::default(),
            webhooks: Webhooks::default(),
            tokens: Tokens::default(),
            writer: Mutex::default(),
            revision: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            lease: Lease::default(),
        }
    }

    /// What a request reads. Not `Send`: it cannot be held across an await.
    pub fn pin(&self) -> View<'_> {
        View { snapshot: self, guard: self.credentials.map.guard() }
    }

    /// Whether a whole snapshot has been read, from disk or from control. Until then nothing can be decided.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Everything through this revision has been applied.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// How many credentials are held, give or take those being changed right now.
    pub fn credentials(&self) -> usize {
        self.credentials.map.len()
    }

    /// How many accounts are held, counting those that were and may come again.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// What control says of routes and upstreams.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Where events are posted to; as of the moment, however long it is held.
    pub fn webhook(&self, id: &WebhookId) -> Option<Arc<Webhook>> {
        self.webhooks.of(id)
    }

    /// How many webhooks are held.
    pub fn webhooks(&self) -> usize {
        self.webhooks.len()
    }

    /// Who issues access tokens to applications, once that is known.
    pub fn token_issuer(&self) -> Option<Arc<TokenIssuer>> {
        self.tokens.issuer()
    }

    /// Whether an access token with one of these names was revoked: its own, its grant's, its application's.
    pub fn are_revoked<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        self.tokens.are_revoked(names)
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What an account's plan allows; `None` for an account that is not known.
    pub fn limits_of(&self, id: &AccountId) -> Option<Limits> {
        let account = self.accounts.at(self.accounts.find(id)?);
        Some(self.plans.at(account.plan()).limits)
    }

    /// Tells of every secret whose key has limits of its own. Walks all secrets, which takes a moment at a million.
    pub fn each_limited_key(&self, mut tell: impl FnMut(KeyId, AccountId, &Limits)) {
        let guard = self.credentials.map.guard();
        for (_, credential) in self.credentials.map.iter(&guard) {
            if credential.profile.limits.can_refuse() {
                tell(credential.key_id, self.accounts.at(credential.account).id, &credential.profile.limits);
            }
        }
    }
}

/// One consistent-enough look at a [`Snapshot`]: a row is read whole, two rows may be of two revisions.
pub struct View<'s> {
    snapshot: &'s Snapshot,
    guard: papaya::LocalGuard<'s>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("revision", &self.snapshot.revision()).finish_non_exhaustive()
    }
}

impl View<'_> {
    /// Who holds the key with this hash.
    pub fn find(&self, hash: &KeyHash) -> Option<Found<'_>> {
        let credential = self.snapshot.credentials.map.get(hash, &self.guard)?;
        let account = self.snapshot.accounts.at(credential.account);
        let plan = self.snapshot.plans.at(account.plan());
        Some(Found { credential, account, plan, policies: &self.snapshot.policies })
    }

    /// Who may have signed as this key: its secrets that have a signing secret.
    pub fn signers(&self, key: &KeyId) -> Option<Arc<[Arc<Signer>]>> {
        self.snapshot.signers.of(key)
    }

    /// Where an account is, for [`View::account`]; accounts keep their places. Asked for a caller that is new,
    /// not for every request: it may wait for the writer, for as long as adding one account takes.
    pub fn account_index(&self, id: &AccountId) -> Option<u32> {
        self.snapshot.accounts.find(id)
    }

    /// An account that is not asked for by a key.
    pub fn account(&self, index: u32) -> FoundAccount<'_> {
        let account = self.snapshot.accounts.at(index);
        FoundAccount { account, plan: self.snapshot.plans.at(account.plan()), policies: &self.snapshot.policies }
    }
}

/// An account and its plan, as long as the [`View`] lives.
#[derive(Debug, Clone, Copy)]
pub struct FoundAccount<'v> {
    account: &'v Account,
    plan: &'v Plan,
    policies: &'v policies::Lists,
}

impl<'v> FoundAccount<'v> {
    pub fn id(&self) -> AccountId {
        self.account.id
    }

    /// An account or a plan that control has not described cannot be served either.
    pub fn is_suspended(&self) -> bool {
        self.account.is_suspended() || !self.plan.known
    }

    pub fn limits(&self) -> &'v Limits {
        &self.plan.limits
    }

    /// What happens while the store of quotas cannot be reached.
    pub fn on_quota_store_loss(&self) -> OnQuotaStoreLoss {
        self.plan.on_quota_store_loss
    }

    pub fn plan(&self) -> &'v str {
        &self.plan.name
    }

    /// Names of the account's own policies, in order.
    pub fn policies(&self) -> &'v [Box<str>] {
        self.policies.at(self.account.policies())
    }

    /// Where the ledger keeps the account's counts.
    pub fn slot(&self) -> &'v SlotCache {
        &self.account.slot
    }
}

/// A key, its account and the account's plan, as long as the [`View`] lives.
#[derive(Debug, Clone, Copy)]
pub struct Found<'v> {
    credential: &'v Credential,
    account: &'v Account,
    plan: &'v Plan,
    policies: &'v policies::Lists,
}

impl<'v> Found<'v> {
    pub fn key_id(&self) -> KeyId {
        self.credential.key_id
    }

    pub fn account_id(&self) -> AccountId {
        self.account.id
    }

    /// Whether requests made with it must be signed.
    pub fn requires_signature(&self) -> bool {
        self.credential.signs
    }

    /// What [`clearway_filters::access::check`] asks for.
    pub fn held(&self) -> Held<'v> {
        Held {
            revoked: self.credential.revoked,
            expires_at: self.credential.expires_at(),
            // An account or a plan that control has not described cannot be served: fail closed.
            suspended: self.account.is_suspended() || !self.plan.known,
            allowed: &self.credential.profile.allowed,
            scopes: &self.credential.profile.scopes,
        }
    }

    pub fn scopes(&self) -> &'v Scopes {
        &self.credential.profile.scopes
    }

    pub fn allowed_addresses(&self) -> &'v [IpNet] {
        &self.credential.profile.allowed
    }

    /// What the plan allows all keys of the account together.
    pub fn account_limits(&self) -> &'v Limits {
        &self.plan.limits
    }

    /// What happens while the store of quotas cannot be reached.
    pub fn on_quota_store_loss(&self) -> OnQuotaStoreLoss {
        self.plan.on_quota_store_loss
    }

    /// The key's own limits beside its account's.
    pub fn key_limits(&self) -> &'v Limits {
        &self.credential.profile.limits
    }

    pub fn plan(&self) -> &'v str {
        &self.plan.name
    }

    /// Names of the account's own policies, in order.
    pub fn policies(&self) -> &'v [Box<str>] {
        self.policies.at(self.account.policies())
    }

    /// Where the ledger keeps the key's counts.
    pub fn key_slot(&self) -> &'v SlotCache {
        &self.credential.slot
    }

    /// Where the ledger keeps the account's counts.
    pub fn account_slot(&self) -> &'v SlotCache {
        &self.account.slot
    }
}

/// Remembers a subject's ledger slot, so that the ledger's directory is asked on first use only. It may
/// forget (a row was replaced), never be wrong: a subject's slot does not change while the process lives.
#[derive(Debug)]
pub struct SlotCache(AtomicU32);

impl SlotCache {
    const UNKNOWN: u32 = u32::MAX;

    pub fn load(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&slot| slot != Self::UNKNOWN)
    }

    pub fn store(&self, slot: u32) {
        self.0.store(slot, Ordering::Relaxed);
    }
}

impl Default for SlotCache {
    fn default() -> Self {
        Self(AtomicU32::new(Self::UNKNOWN))
    }
}

impl Clone for SlotCache {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}
