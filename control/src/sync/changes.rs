//! From rows of `changes` to messages.

use std::{collections::BTreeMap, sync::Arc};

use clearway_config::sync::v1;

use super::{BATCH_CHANGES_MAX, ChangeKind, Feed, store};
use crate::db::{self, Db};

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The reader was away for longer than changes are kept.
    #[error("changes after revision {0} are no longer kept")]
    Trimmed(i64),
    #[error("changes could not be read")]
    Db(#[from] db::Error),
}

pub(super) type Feeds = Arc<[Arc<dyn Feed>]>;

/// The next step after `after`: rows as they are now, at least as new as its revision. `None` when there is none.
pub(super) async fn next_delta(db: &Db, feeds: &Feeds, after: i64) -> Result<Option<v1::Delta>, ReadError> {
    let rows = store::changes_after(db, after, BATCH_CHANGES_MAX).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(None) };
    if first.revision != after + 1 {
        return Err(ReadError::Trimmed(after));
    }
    let revision = wire(last.revision);
    let mut ids: BTreeMap<ChangeKind, Vec<String>> = BTreeMap::new();
    for row in rows {
        match ChangeKind::parse(&row.kind) {
            Some(kind) => ids.entry(kind).or_default().push(row.subject_id),
            // Written by a newer control process during an upgrade; it tells the proxies itself.
            None => tracing::warn!(change.kind = row.kind, "change of an unknown kind left out"),
        }
    }
    let mut changes = v1::Changes::default();
    for (kind, mut ids) in ids {
        ids.sort_unstable();
        ids.dedup();
        if kind == ChangeKind::SecretRemoved {
            changes.removed_credentials.extend(ids.iter().filter_map(|id| hash(id)));
            continue;
        }
        for feed in feeds.iter().filter(|feed| feed.kind() == kind) {
            merge(&mut changes, feed.load(db, &ids).await?);
        }
    }
    Ok(Some(v1::Delta { revision, changes: Some(changes) }))
}

/// Revisions count from 1.
pub(super) fn wire(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

fn merge(into: &mut v1::Changes, from: v1::Changes) {
    into.plans.extend(from.plans);
    into.accounts.extend(from.accounts);
    into.credentials.extend(from.credentials);
    into.removed_credentials.extend(from.removed_credentials);
    into.gateway_objects.extend(from.gateway_objects);
    into.removed_gateway_objects.extend(from.removed_gateway_objects);
    into.certificates.extend(from.certificates);
    into.removed_certificates.extend(from.removed_certificates);
    into.webhooks.extend(from.webhooks);
    into.removed_webhooks.extend(from.removed_webhooks);
    into.token_issuer = from.token_issuer.or(into.token_issuer.take());
    into.revoked_tokens.extend(from.revoked_tokens);
}

/// The inverse of [`super::removed_secret_id`].
fn hash(id: &str) -> Option<Vec<u8>> {
    if id.len() != 64 || !id.is_ascii() {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).ok()).collect()
}
