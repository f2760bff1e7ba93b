//! The proxy's part of the data directory: one process at a time, one identity for good.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clearway_config::ProxyId;
use parking_lot::Mutex;

/// Held while the process lives; the kernel lets go of the lock when it ends, however it does.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    proxy_id: ProxyId,
    /// Shared with the process that takes over, while both live; `None` before it is this one's.
    lock: Mutex<Option<File>>,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory {path} cannot be written: {source}")]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("data directory {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("data directory {path} has not been used yet: start without --upgrade")]
    Unused { path: PathBuf },
    #[error("{path} does not hold a proxy id; remove it to be a new proxy")]
    MalformedId { path: PathBuf },
}

impl DataDir {
    /// Makes `data_dir/proxy` where it is missing and takes it.
    pub fn take(data_dir: &Path, now_ms: u64, random: u128) -> Result<Self, DataDirError> {
        let path = data_dir.join("proxy");
        let unwritable = |source| DataDirError::Unwritable { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(unwritable)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = file.map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(DataDirError::Unwritable { path, source }),
        }
        let proxy_id = identity(&path, now_ms, random)?;
        Ok(Self { path, proxy_id, lock: Mutex::new(Some(lock)) })
    }

    /// Of a directory that another process has: its lock comes by [`DataDir::receive`].
    pub(crate) fn beside(data_dir: &Path) -> Result<Self, DataDirError> {
        let path = data_dir.join("proxy");
        let proxy_id = known_identity(&path)?.ok_or_else(|| DataDirError::Unused { path: path.clone() })?;
        Ok(Self { path, proxy_id, lock: Mutex::new(None) })
    }

    /// The lock, as another process can have it too: it is free when both have let go of it.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        let lock = self.lock.lock();
        Ok(lock.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()?.into())
    }

    /// Takes a lock that another process has shared.
    pub(crate) fn receive(&self, lock: OwnedFd) {
        *self.lock.lock() = Some(lock.into());
    }

    /// Leaves the directory to the process that the lock was shared with.
    pub(crate) fn leave(&self) {
        *self.lock.lock() = None;
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn proxy_id(&self) -> ProxyId {
        self.proxy_id
    }
}

fn identity(dir: &Path, now_ms: u64, random: u128) -> Result<ProxyId, DataDirError> {
    if let Some(id) = known_identity(dir)? {
        return Ok(id);
    }
    let id = ProxyId::new(now_ms, random);
    write_private(&dir.join("proxy.id"), format!("{id}\n").as_bytes())
        .map_err(|source| DataDirError::Unwritable { path: dir.to_owned(), source })?;
    Ok(id)
}

fn known_identity(dir: &Path) -> Result<Option<ProxyId>, DataDirError> {
    let path = dir.join("proxy.id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| DataDirError::MalformedId { path }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataDirError::Unwritable { path, source }),
    }
}

/// Under its name the file is there whole or not at all, whenever the power goes. Only its owner can read it.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    // One that was left behind may be readable by others.
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_process_and_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::take(dir.path(), 1, 2 << 64).unwrap();
        let id = first.proxy_id();
        let again = DataDir::take(dir.path(), 3, 4 << 64).unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("data directory {} is in use by another process", dir.path().join("proxy").display())
        );
        drop(first);
        assert_eq!(DataDir::take(dir.path(), 3, 4 << 64).unwrap().proxy_id(), id);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced_silently() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::take(dir.path(), 1, 2).unwrap());
        fs::write(dir.path().join("proxy/proxy.id"), "prx_").unwrap();
        assert!(matches!(DataDir::take(dir.path(), 1, 2), Err(DataDirError::MalformedId { .. })));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said_so_in_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::take(file.path(), 1, 2).unwrap_err().to_string();
        assert!(error.contains("cannot be written") && !error.contains('\n'), "{error}");
    }
}
