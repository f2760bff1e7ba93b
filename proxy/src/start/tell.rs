//! `clearway-proxy --tell-redis`: what a data directory's ledger has counted goes to the fleet's Redis, and nothing is served.

use std::{path::PathBuf, sync::Arc};

use clearway_config::settings::Settings;
use clearway_filters::quota::Now;
use tokio::runtime::Runtime;

use super::{StartError, parts::lease_options};
use crate::{
    data_dir::DataDir,
    gateway::{now_ms, random},
    lease::{Leases, TellError, Told, store::OpenError},
    ledger::{Interrupted, Ledger, Opened},
    metrics::Metrics,
    snapshot::{Snapshot, disk::Disk},
};

/// Why counts are not in the fleet's Redis.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    #[error("{path} holds no ledger")]
    NoLedger { path: PathBuf },
    #[error("{path} holds no keys: whose limits there are is not known")]
    NoKeys { path: PathBuf },
    #[error(transparent)]
    Tell(#[from] TellError),
}

/// Tells the Redis of `settings` what the ledger in their data directory has counted. No process may run over it.
/// May be done again; nothing else is changed.
pub fn tell(settings: &Settings) -> Result<Told, StartError> {
    if !settings.redis.is_set() {
        return Err(OpenError::NotSet.into());
    }
    let path = settings.data_dir.join("proxy");
    if !Ledger::is_in(&path) {
        return Err(NotTold::NoLedger { path }.into());
    }
    let data_dir = DataDir::take(&settings.data_dir, now_ms(), random())?;
    let snapshot = Arc::new(Snapshot::new());
    let disk = Disk::open(&path, &settings.snapshot_key_file(&path), snapshot.clone());
    let _disk = disk.map_err(|source| StartError::Snapshot { path: path.clone(), source })?;
    if !snapshot.is_ready() {
        return Err(NotTold::NoKeys { path }.into());
    }
    let Opened { ledger, interrupted } = Ledger::open(&path, &Now::at(now_ms()))?;
    interrupted.into_iter().for_each(Interrupted::leave);
    let (options, store) = lease_options(settings, &data_dir)?;
    let (runtime, store) = (Runtime::new()?, Arc::new(store));
    let metrics = Metrics::new().lease.clone();
    let (leases, _work) = Leases::open(ledger, snapshot, store.clone(), options, runtime.handle().clone(), metrics)?;
    Ok(runtime.block_on(leases.tell_once(&store)).map_err(NotTold::from)?)
}
