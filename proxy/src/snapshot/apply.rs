//! The writer's side: deltas, and full snapshots by mark and sweep while requests go on.

use std::{collections::HashSet, sync::atomic::Ordering};

use clearway_config::{AccountId, KeyHash, KeyId, Limits, sync::v1};

use super::{Snapshot, credentials::Credential, objects::Named, plans, policies, profile::Profiles};

/// What only the writer needs.
#[derive(Debug, Default)]
pub(super) struct Writer {
    plans: plans::Names,
    policies: policies::Indexes,
    profiles: Profiles,
    generation: u32,
    /// The full snapshot being read. While there is one, what is held is of no single revision.
    full: Option<Full>,
}

#[derive(Debug)]
struct Full {
    plans: HashSet<String>,
    objects: Named,
}

/// How much a message changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub rows: usize,
    /// Rows in words that this version does not know. A key among them is refused, never half understood.
    pub unreadable: usize,
}

impl Snapshot {
    /// One commit-ordered step. Applying it again changes nothing.
    pub fn apply(&self, delta: &v1::Delta) -> Applied {
        let mut writer = self.writer.lock();
        let applied = delta.changes.as_ref().map(|changes| self.change(&mut writer, changes)).unwrap_or_default();
        drop(writer);
        self.revision.fetch_max(delta.revision, Ordering::AcqRel);
        applied
    }

    /// From here to [`Snapshot::end_full`] every row of the store is named once; requests go on meanwhile.
    pub fn begin_full(&self, begin: &v1::SnapshotBegin) {
        let mut writer = self.writer.lock();
        writer.generation = writer.generation.wrapping_add(1);
        writer.full = Some(Full { plans: HashSet::new(), objects: Named::new() });
        drop(writer);
        let more = (begin.credentials as usize).saturating_sub(self.credentials.map.len());
        // A number from outside is a hint, never a reason to run out of memory.
        self.credentials.map.reserve(more.min(RESERVE_MAX), &self.credentials.map.guard());
    }

    pub fn apply_chunk(&self, chunk: &v1::Changes) -> Applied {
        self.change(&mut self.writer.lock(), chunk)
    }

    /// Removes what the full snapshot did not name and says how many credentials that were. `None` when
    /// none was begun. Takes a moment at a million keys: not for an async worker.
    pub fn end_full(&self, end: &v1::SnapshotEnd) -> Option<usize> {
        let mut writer = self.writer.lock();
        let full = writer.full.take()?;
        let before = self.credentials.map.len();
        let generation = writer.generation;
        let guard = self.credentials.map.guard();
        self.credentials.map.retain(
            |hash, credential| {
                let kept = credential.generation() == generation;
                if !kept && credential.signs {
                    self.signers.remove(credential.key_id, hash);
                }
                kept
            },
            &guard,
        );
        for account in self.accounts.iter().filter(|account| account.generation() != generation) {
            account.suspend();
        }
        writer.plans.retain(&self.plans, |name| full.plans.contains(name));
        self.objects.retain(&full.objects);
        self.webhooks.retain(generation);
        self.revision.store(end.revision, Ordering::Release);
        self.ready.store(true, Ordering::Release);
        Some(before.saturating_sub(self.credentials.map.len()))
    }

    /// Which whole snapshot this goes back to; `None` while one is being read, or was when its connection broke.
    pub fn whole(&self) -> Option<u32> {
        let writer = self.writer.lock();
        writer.full.is_none().then_some(writer.generation)
    }

    fn change(&self, writer: &mut Writer, changes: &v1::Changes) -> Applied {
        let mut applied = Applied::default();
        let mut note = |understood: bool| {
            applied.rows += 1;
            applied.unreadable += usize::from(!understood);
        };
        changes.token_issuer.iter().for_each(|issuer| note(self.tokens.set_issuer(issuer)));
        changes.revoked_tokens.iter().for_each(|revoked| note(self.tokens.revoke(revoked)));
        // In the order in which the rows refer to each other.
        changes.plans.iter().for_each(|plan| note(self.change_plan(writer, plan)));
        changes.accounts.iter().for_each(|account| note(self.change_account(writer, account)));
        changes.credentials.iter().for_each(|credential| note(self.change_credential(writer, credential)));
        changes.removed_credentials.iter().for_each(|hash| note(self.remove(hash)));
        changes.gateway_objects.iter().for_each(|object| note(self.change_object(writer, object)));
        changes.removed_gateway_objects.iter().for_each(|name| note(self.objects.remove(name)));
        for certificate in &changes.certificates {
            self.objects.put_certificate(certificate, writer.full.as_mut().map(|full| &mut full.objects));
            note(true);
        }
        for name in &changes.removed_certificates {
            self.objects.remove_certificate(name);
            note(true);
        }
        changes.webhooks.iter().for_each(|webhook| note(self.webhooks.put(webhook, writer.generation)));
        changes.removed_webhooks.iter().for_each(|id| note(self.webhooks.remove(id)));
        applied
    }

    fn change_plan(&self, writer: &mut Writer, wire: &v1::Plan) -> bool {
        let limits = wire.limits.map_or(Ok(Limits::UNLIMITED), Limits::try_from).ok();
        // A word of a newer control denies.
        let on_loss = wire.on_quota_store_loss.parse().unwrap_or_default();
        writer.plans.set(&self.plans, &wire.name, limits, on_loss);
        if let Some(full) = &mut writer.full {
            full.plans.insert(wire.name.clone());
        }
        limits.is_some()
    }

    fn change_account(&self, writer: &mut Writer, wire: &v1::Account) -> bool {
        let Some(id) = AccountId::from_slice(&wire.id) else { return false };
        let plan = writer.plans.of(&self.plans, &wire.plan);
        let index = self.accounts.of(id, plan);
        let policies = writer.policies.of(&self.policies, &wire.policies);
        self.accounts.at(index).set(plan, policies, wire.suspended, writer.generation);
        true
    }

    fn change_credential(&self, writer: &mut Writer, wire: &v1::Credential) -> bool {
        let Some(hash) = KeyHash::from_slice(&wire.hash) else { return false };
        let ids = KeyId::from_slice(&wire.key_id).zip(AccountId::from_slice(&wire.account_id));
        let Some((key_id, account_id)) = ids else {
            self.remove(hash.as_bytes());
            return false;
        };
        let profile = writer.profiles.of(wire);
        let understood = profile.is_ok();
        let profile = profile.unwrap_or_else(|_| writer.profiles.nothing());
        let unknown = writer.plans.of(&self.plans, "");
        let account = self.accounts.of(account_id, unknown);
        let revoked = wire.revoked || !understood;
        let mut credential =
            Credential::new(key_id, profile, wire.expires_at, account, writer.generation, (revoked, wire.require_signature));

        if wire.require_signature {
            self.signers.set(key_id, hash, &wire.signing_secret);
        }

        let guard = self.credentials.map.guard();
        if let Some(held) = self.credentials.map.get(&hash, &guard) {
            if held.is_same(&credential) {
                held.mark(writer.generation);
                return understood;
            }
            if held.key_id == key_id {
                credential.slot = held.slot.clone();
            }
        }
        let before = self.credentials.map.insert(hash, credential, &guard);
        if let Some(before) = before.filter(|before| before.signs && !(wire.require_signature && before.key_id == key_id)) {
            self.signers.remove(before.key_id, &hash);
        }
        understood
    }

    fn change_object(&self, writer: &mut Writer, wire: &v1::GatewayObject) -> bool {
        self.objects.put(wire, writer.full.as_mut().map(|full| &mut full.objects))
    }

    fn remove(&self, hash: &[u8]) -> bool {
        let Some(hash) = KeyHash::from_slice(hash) else { return false };
        let guard = self.credentials.map.guard();
        if let Some(removed) = self.credentials.map.remove(&hash, &guard).filter(|removed| removed.signs) {
            self.signers.remove(removed.key_id, &hash);
        }
        true
    }
}

/// Room made ahead for a snapshot at most.
const RESERVE_MAX: usize = 16_000_000;
