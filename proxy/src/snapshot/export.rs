//! The whole table as the messages it came in, for writing it to disk while deltas go on.

use clearway_config::{
    KeyHash, KeyId, Scope,
    sync::{CHUNK_CREDENTIALS_MAX, v1},
};

use super::Snapshot;

/// One of them may hold a certificate and many headers: a message stays small.
const CHUNK_WEBHOOKS_MAX: usize = 100;

impl Snapshot {
    /// Calls `write` with chunks of at most [`CHUNK_CREDENTIALS_MAX`] rows until all were named or it fails.
    /// A row that a delta changes meanwhile is named as before or as after.
    pub(super) fn export<E>(&self, mut write: impl FnMut(v1::Changes) -> Result<(), E>) -> Result<(), E> {
        let plans = self.plans.iter().filter(|plan| plan.known);
        let plans = plans.map(|plan| v1::Plan {
            name: plan.name.to_string(),
            limits: Some(plan.limits.into()),
            on_quota_store_loss: plan.on_quota_store_loss.as_str().to_owned(),
        });
        let plans = plans.collect();
        write(v1::Changes { plans, ..Default::default() })?;

        let mut accounts = self.accounts.iter().map(|account| v1::Account {
            id: account.id.to_vec(),
            plan: self.plans.at(account.plan()).name.to_string(),
            suspended: account.is_suspended(),
            policies: self.policies.at(account.policies()).iter().map(ToString::to_string).collect(),
        });
        loop {
            let accounts: Vec<_> = accounts.by_ref().take(CHUNK_CREDENTIALS_MAX).collect();
            if accounts.is_empty() {
                break;
            }
            write(v1::Changes { accounts, ..Default::default() })?;
        }

        let mut objects = self.objects.export().into_iter();
        loop {
            let gateway_objects: Vec<_> = objects.by_ref().take(CHUNK_CREDENTIALS_MAX).collect();
            if gateway_objects.is_empty() {
                break;
            }
            write(v1::Changes { gateway_objects, ..Default::default() })?;
        }

        for certificate in self.objects.export_certificates() {
            write(v1::Changes { certificates: vec![certificate], ..Default::default() })?;
        }

        self.webhooks.export(CHUNK_WEBHOOKS_MAX, |webhooks| write(v1::Changes { webhooks, ..Default::default() }))?;

        let (token_issuer, revoked) = self.tokens.export();
        write(v1::Changes { token_issuer, ..Default::default() })?;
        for revoked in revoked.chunks(CHUNK_CREDENTIALS_MAX) {
            write(v1::Changes { revoked_tokens: revoked.to_vec(), ..Default::default() })?;
        }

        let mut chunk = Vec::with_capacity(CHUNK_CREDENTIALS_MAX);
        let guard = self.credentials.map.guard();
        for (hash, credential) in self.credentials.map.iter(&guard) {
            chunk.push(v1::Credential {
                hash: hash.as_bytes().to_vec(),
                key_id: credential.key_id.to_vec(),
                account_id: self.accounts.at(credential.account).id.to_vec(),
                revoked: credential.revoked,
                expires_at: credential.expires_at(),
                scopes: credential.profile.scopes.iter().map(Scope::to_string).collect(),
                allowed_addresses: credential.profile.allowed.iter().map(ToString::to_string).collect(),
                limits: Some(credential.profile.limits.into()),
                require_signature: credential.signs,
                signing_secret: if credential.signs { self.signing_secret(&credential.key_id, hash) } else { Vec::new() },
                sealed_signing_secret: Vec::new(),
            });
            if chunk.len() == CHUNK_CREDENTIALS_MAX {
                write(v1::Changes { credentials: std::mem::take(&mut chunk), ..Default::default() })?;
            }
        }
        write(v1::Changes { credentials: chunk, ..Default::default() })
    }

    fn signing_secret(&self, key: &KeyId, hash: &KeyHash) -> Vec<u8> {
        self.signers.beside(key, hash).map(|signer| signer.secret().to_vec()).unwrap_or_default()
    }
}
