//! Looking callers' keys up, for [`crate::http::Permit`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use clearway_config::KeyHash;
use tokio::sync::oneshot;

use super::{
    credential_store::{self as store, Credential},
    model::earlier,
};
use crate::{
    db::{self, Db},
    http::{Held, KeyDirectory},
};

/// Keys of one statement.
const BATCH_MAX: usize = 256;

/// The keys in the database. Requests that come while a look-up is under way share the next one: a statement for each
/// would cost more than all that is done with the answer. Nothing is kept beyond that: a look-up begins after it was
/// asked for, so that a revocation holds here from its commit on.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    waiting: HashMap<KeyHash, Vec<oneshot::Sender<Found>>>,
    looking: bool,
}

/// What a shared look-up found.
type Found = Result<Option<Held>, Failed>;

#[derive(Debug, Clone, Copy)]
enum Failed {
    /// Another look-up would fare no better.
    Unavailable,
    /// One of those that shared it may be to blame.
    Damaged,
}

#[async_trait]
impl KeyDirectory for Directory {
    async fn find(&self, db: &Db, hash: &KeyHash) -> db::Result<Option<Held>> {
        let (answer, answered) = oneshot::channel();
        {
            let mut asked = self.locked();
            asked.waiting.entry(*hash).or_default().push(answer);
            if !std::mem::replace(&mut asked.looking, true) {
                tokio::spawn(self.clone().look_up_all(db.clone()));
            }
        }
        match answered.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(Failed::Unavailable)) => Err(db::Error::Retry),
            Ok(Err(Failed::Damaged)) | Err(_) => store::credential(db, hash).await?.map(held).transpose(),
        }
    }
}

impl Directory {
    /// Until nobody asks. A task of its own: whoever's request began it may go away.
    async fn look_up_all(self, db: Db) {
        let _looking = Looking(&self);
        while let Some(batch) = self.next() {
            let found = look_up(&db, batch.keys()).await;
            for (hash, waiting) in batch {
                let answer = found.as_ref().map(|found| found.get(&hash).cloned()).map_err(|failed| *failed);
                for one in waiting {
                    let _ = one.send(answer.clone());
                }
            }
        }
    }

    /// Whom the next statement is for; without any, this ends the looking.
    fn next(&self) -> Option<HashMap<KeyHash, Vec<oneshot::Sender<Found>>>> {
        let mut asked = self.locked();
        let batch = if asked.waiting.len() <= BATCH_MAX {
            std::mem::take(&mut asked.waiting)
        } else {
            let some: Vec<KeyHash> = asked.waiting.keys().take(BATCH_MAX).copied().collect();
            some.into_iter().filter_map(|hash| asked.waiting.remove_entry(&hash)).collect()
        };
        asked.looking = !batch.is_empty();
        asked.looking.then_some(batch)
    }

    fn locked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next request begin again, should a look-up have panicked; who waited for it looks alone.
struct Looking<'a>(&'a Directory);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.locked() = Asked::default();
        }
    }
}

async fn look_up(db: &Db, hashes: impl ExactSizeIterator<Item = &KeyHash>) -> Result<HashMap<KeyHash, Held>, Failed> {
    let hashes: Vec<&KeyHash> = hashes.collect();
    let rows = match hashes.as_slice() {
        [only] => store::credential(db, only).await.map(|row| row.into_iter().collect()),
        several => store::credentials_behind(db, several).await,
    };
    let rows: Vec<Credential> = rows.map_err(|error| match error {
        db::Error::Unavailable(_) | db::Error::Retry => Failed::Unavailable,
        _ => Failed::Damaged,
    })?;
    let read = |row: Credential| {
        let hash = row.hash.as_deref().and_then(KeyHash::from_slice).ok_or(Failed::Damaged)?;
        Ok((hash, held(row).map_err(|_| Failed::Damaged)?))
    };
    rows.into_iter().map(read).collect()
}

fn held(found: Credential) -> db::Result<Held> {
    Ok(Held {
        key_id: db::decode("api_keys.id", &found.key_id)?,
        account_id: db::decode("api_keys.account_id", &found.account_id)?,
        revoked: found.secret_revoked_at.or(found.key_revoked_at).is_some(),
        expires_at: earlier(found.secret_expires_at, found.key_expires_at),
        suspended: found.suspended_at.is_some(),
        allowed: found.allowed_addresses.0,
        scopes: found.scopes.0,
        requires_signature: found.require_signature,
    })
}
