//! The master key: 32 bytes in base64, in the environment or in a file that only this user can read.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clearway_config::{SealingKey, seal::MalformedKey};
use zeroize::Zeroizing;

use crate::world::World;

/// The environment variable that comes before `control.master_key_file`.
pub const MASTER_KEY: &str = "CLEARWAY_MASTER_KEY";

/// Where the master key is.
pub enum Master {
    /// Its text, from [`MASTER_KEY`].
    Given(Zeroizing<String>),
    File(PathBuf),
}

/// Why there is no master key; after the words "master key".
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("is malformed: {place}: {why}")]
    Malformed { place: String, why: MalformedKey },
    #[error(
        "is not here: {}, but this database holds what is sealed by it; put the file back, or set {MASTER_KEY}",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("cannot be read: {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot be made: {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

impl Master {
    pub fn read(&self) -> Result<SealingKey, Fault> {
        let malformed = |why| Fault::Malformed { place: self.to_string(), why };
        match self {
            Self::Given(text) => text.trim().parse().map_err(malformed),
            Self::File(path) => match fs::read_to_string(path).map(Zeroizing::new) {
                Ok(text) => text.trim().parse().map_err(malformed),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::Missing(path.clone())),
                Err(source) => Err(Fault::Unreadable { path: path.clone(), source }),
            },
        }
    }

    /// [`read`](Self::read), or a new key where the file is missing. On the disk before it is used.
    pub fn read_or_make(&self, world: &World) -> Result<SealingKey, Fault> {
        match (self.read(), self) {
            (Err(Fault::Missing(_)), Self::File(path)) => {
                let key = SealingKey::new(world.random());
                write(path, &key).map_err(|source| Fault::Unwritable { path: path.clone(), source })?;
                Ok(key)
            }
            (read, _) => read,
        }
    }
}

/// Whole or not at all.
fn write(path: &Path, key: &SealingKey) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", *key.reveal())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

/// Where it is, never what it is.
impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str(MASTER_KEY),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({self})")
    }
}
