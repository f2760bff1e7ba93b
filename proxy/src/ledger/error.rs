//! Why a ledger cannot be opened or cannot keep a promise. Each is one line that says what to do about it.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{} is used by another process", file.display())]
    InUse { file: PathBuf },
    #[error("{} is not a quota ledger", file.display())]
    Foreign { file: PathBuf },
    #[error("{} was written by a newer release (format {version}, this one knows {known}): run that release, or start with an empty directory", file.display())]
    TooNew { file: PathBuf, version: u32, known: u32 },
    #[error("{} is damaged: {what}", file.display())]
    Damaged { file: PathBuf, what: &'static str },
    #[error("cannot {doing} {}", file.display())]
    Io { doing: &'static str, file: PathBuf, source: io::Error },
}

impl LedgerError {
    pub(super) fn io(doing: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { doing, file, source }
    }
}
