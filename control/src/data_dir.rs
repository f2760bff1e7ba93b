//! The data directory, which one process uses at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Held for as long as the process lives; the kernel lets go of the lock when it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory not writable: {path}: {source}")]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("data directory in use by another process: {path}")]
    InUse { path: PathBuf },
}

impl DataDir {
    /// Makes `path` where it is missing, for this user alone, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let not_writable = |source| DataDirError::NotWritable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(not_writable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(not_writable(source)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/control");
        let held = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("data directory in use by another process: {}", path.display()));
        drop(held);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let refused = DataDir::open(Path::new("/proc/clearway")).unwrap_err().to_string();
        assert!(refused.starts_with("data directory not writable: /proc/clearway: "), "{refused}");
    }
}
