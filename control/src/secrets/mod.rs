//! Secrets that must be used again, such as signing secrets, as they stand in the database: sealed.
//!
//! Two layers. The *master key* is in the environment or in a file, never in the database; it wraps *data keys*,
//! which are in the database and seal the rows. So the master key can be changed without touching a row
//! ([`rewrap()`]), and neither the database nor the file alone opens anything.
//!
//! What is sealed is bound to what it is and to the row that it is of: it opens nowhere else. Plumbing: it does
//! not know what is sealed, and imports no feature. Secrets that are only ever compared are not here: they are
//! stored as a hash.

mod master;
mod rewrap;
mod store;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use clearway_config::{SealingKey, seal::Unopened};
use zeroize::Zeroizing;

pub use master::{Fault, MASTER_KEY, Master};
pub use rewrap::rewrap;

use crate::{
    db::{self, Db},
    http::chain,
    world::World,
};

/// What a sealed secret is, as `<table>.<column>`: part of what it is bound to, so it can never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose(pub &'static str);

/// Seals and opens. Cheap to clone; it asks neither the database nor the file.
#[derive(Clone)]
pub struct Secrets {
    world: World,
    /// By id, never empty. The last one seals.
    keys: Arc<[DataKey]>,
}

struct DataKey {
    id: u32,
    key: SealingKey,
}

/// Why the process cannot start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("master key {0}")]
    Master(#[from] Fault),
    #[error(
        "master key is not the one that this database's secrets are sealed by: {place}; nothing was changed. \
         Start with the right one"
    )]
    WrongMaster { place: String },
    #[error("the data keys cannot be used: {}", chain(.0))]
    Store(#[from] db::Error),
    #[error("the data keys were changed by another process; nothing was changed here. Try again")]
    Changed,
}

/// The data key that a database begins with.
const FIRST: u32 = 1;

impl Secrets {
    /// Reads the data keys, or makes the first one, and the master key where it has no place yet. Several
    /// processes may start at once on one database: one of them makes it.
    pub async fn load(db: &Db, world: &World, master: &Master) -> Result<Self, SecretsError> {
        let mut stored = store::all(db).await?;
        if stored.is_empty() {
            let first = SealingKey::new(world.random());
            let wrapped = wrap(&master.read_or_make(world)?, world, FIRST, &first);
            match store::insert(db, FIRST, wrapped, world.now_ms()).await {
                Err(error) if !error.is_conflict("data_keys_pkey") => return Err(error.into()),
                _ => stored = store::all(db).await?,
            }
        }
        let keys = unwrap_all(stored, master)?;
        Ok(Self { world: world.clone(), keys: keys.into() })
    }

    /// `row` is the id of the row that the secret is of.
    pub fn seal(&self, purpose: Purpose, row: &str, plain: &[u8]) -> Vec<u8> {
        let DataKey { id, key } = self.keys.last().expect("there is a data key from the start on");
        let sealed = key.seal(&context(*id, purpose, row), self.world.random(), plain);
        [&id.to_be_bytes(), sealed.as_slice()].concat()
    }

    /// What was sealed for this purpose and row.
    pub fn open(&self, purpose: Purpose, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let (id, sealed) = sealed.split_first_chunk().ok_or(Unopened)?;
        let id = u32::from_be_bytes(*id);
        let data_key = self.keys.iter().find(|key| key.id == id).ok_or(Unopened)?;
        data_key.key.open(&context(id, purpose, row), sealed)
    }
}

/// A purpose holds no NUL, so no two pairs of purpose and row are alike.
fn context(id: u32, Purpose(purpose): Purpose, row: &str) -> Vec<u8> {
    [&id.to_be_bytes(), purpose.as_bytes(), &[0], row.as_bytes()].concat()
}

const WRAPPED: Purpose = Purpose("data_keys.wrapped");

fn wrap(master: &SealingKey, world: &World, id: u32, key: &SealingKey) -> Vec<u8> {
    master.seal(&context(id, WRAPPED, ""), world.random(), key.reveal().as_bytes())
}

fn unwrap_all(stored: Vec<store::Wrapped>, master: &Master) -> Result<Vec<DataKey>, SecretsError> {
    let opener = master.read()?;
    let unwrapped = stored.into_iter().map(|store::Wrapped { id, wrapped }| {
        let plain = opener.open(&context(id, WRAPPED, ""), &wrapped).ok()?;
        let key = std::str::from_utf8(&plain).ok()?.parse().ok()?;
        Some(DataKey { id, key })
    });
    unwrapped.collect::<Option<_>>().ok_or_else(|| SecretsError::WrongMaster { place: master.to_string() })
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("data_keys", &self.keys.len()).finish_non_exhaustive()
    }
}
