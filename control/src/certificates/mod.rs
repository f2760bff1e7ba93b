//! The certificates that proxies show their clients, each by a name of its own: PEM chains with their private keys.
//!
//! A key comes in and never goes out again but to proxies; here it is stored sealed. A certificate is checked before it is
//! stored: one that clients would refuse today is not taken. What proxies get by ACME is theirs alone, and not here.

mod feed;
mod http;
mod read;
mod store;

use clearway_config::ErrorCode;
use zeroize::Zeroizing;

pub use feed::CertificateFeed;
pub use http::routes;
pub use read::{Facts, Fault, check_client, facts};

use self::store::Stored;
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::{ApiError, Caller, issue},
    secrets::{Purpose, Secrets},
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// Certificates at most.
const CERTIFICATES_MAX: i64 = 1_000;
const KEY: Purpose = Purpose("certificates.sealed_key");

#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("no such certificate")]
    NotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("there is one of this name")]
    Taken,
    #[error("there are too many")]
    Full,
    #[error("it cannot be shown: {0}")]
    Wrong(#[from] Fault),
    #[error("the certificate could not be stored")]
    Store(#[from] db::Error),
}

/// A certificate on its way in.
#[derive(Debug)]
struct New {
    name: String,
    chain: String,
    key: Zeroizing<String>,
}

/// Which certificate a caller means to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Whatever there is.
    Any,
    /// None of this name.
    None,
    /// The one at this version.
    Version(i64),
}

/// Checks and stores a certificate.
async fn put(
    tx: &mut Tx,
    (world, secrets): (&World, &Secrets),
    caller: &Caller,
    new: New,
    expected: Expected,
) -> Result<(Stored, Revision), CertificateError> {
    let now_ms = world.now_ms();
    read::check(&new.chain, &new.key, now_ms.div_euclid(1000))?;
    store::lock(tx).await?;
    let old = store::find(&mut *tx, &new.name).await?;
    match (expected, &old) {
        (Expected::None, Some(_)) => return Err(CertificateError::Taken),
        (Expected::Version(version), old) if old.as_ref().map_or(0, |old| old.version) != version => {
            return Err(CertificateError::Changed);
        }
        _ => {}
    }
    if old.is_none() && store::count(&mut *tx).await? >= CERTIFICATES_MAX {
        return Err(CertificateError::Full);
    }
    let stored = Stored {
        sealed_key: secrets.seal(KEY, &new.name, new.key.as_bytes()),
        version: old.as_ref().map_or(1, |old| old.version + 1),
        created_at: old.as_ref().map_or(now_ms, |old| old.created_at),
        updated_at: now_ms,
        name: new.name,
        chain: new.chain,
    };
    store::put(tx, &stored).await?;
    let action = if old.is_some() { "certificate.updated" } else { "certificate.created" };
    let revision = note(tx, world, caller, action, old.as_ref(), Some(&stored)).await?;
    Ok((stored, revision))
}

/// Deletes one; proxies show another, or none, from then on.
async fn remove(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    name: &str,
    expected: Expected,
) -> Result<Revision, CertificateError> {
    store::lock(tx).await?;
    let old = store::find(&mut *tx, name).await?.ok_or(CertificateError::NotFound)?;
    if matches!(expected, Expected::Version(version) if old.version != version) {
        return Err(CertificateError::Changed);
    }
    store::delete(tx, name).await?;
    note(tx, world, caller, "certificate.deleted", Some(&old), None).await
}

/// The audit entry, which names certificates by their fingerprints, and the revision.
async fn note(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    action: &'static str,
    old: Option<&Stored>,
    new: Option<&Stored>,
) -> Result<Revision, CertificateError> {
    let Some(named) = new.or(old) else { return Err(CertificateError::NotFound) };
    let fingerprint = |stored: &Stored| read::facts(&stored.chain).map(|facts| facts.fingerprint).ok();
    let changes = Changes::default().field("fingerprint", old.and_then(fingerprint), new.and_then(fingerprint));
    let event = Event { action, account_id: caller.account_id, object_kind: "certificate", object_id: &named.name, changes };
    audit::record(tx, world, &Actor::from(caller), event).await?;
    Ok(sync::record(tx, ChangeKind::Certificate, &named.name, world.now_ms()).await?)
}

impl From<CertificateError> for ApiError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::NotFound => ApiError::not_found(),
            CertificateError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            CertificateError::Taken => ApiError::saying(ErrorCode::Conflict, "There is a certificate of this name."),
            CertificateError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("There are {CERTIFICATES_MAX} certificates already, which is the most."),
            ),
            CertificateError::Wrong(fault) => {
                let field = if fault.is_of_key() { "key" } else { "chain" };
                ApiError::invalid(&[issue(field, "invalid", fault.to_string())])
            }
            CertificateError::Store(error) => error.into(),
        }
    }
}
