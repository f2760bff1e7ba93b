//! The token that control and its proxies share: 64 hexadecimal digits in a file that only this user can
//! read. Control makes it on its first start.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clearway_config::sync::NONCE_BYTES;

use crate::{http::hex, world::World};

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("sync token cannot be read: {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("sync token cannot be made: {path}: {source}")]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("sync token is malformed: {path}: must be {} hexadecimal digits", NONCE_BYTES * 2)]
    Malformed { path: PathBuf },
}

/// Reads the token, or makes one where there is no file.
pub fn read_or_make(path: &Path, world: &World) -> Result<[u8; NONCE_BYTES], TokenError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(text.trim()).ok_or_else(|| TokenError::Malformed { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = world.random();
            write(path, &token).map_err(|source| TokenError::Unwritable { path: path.to_owned(), source })?;
            Ok(token)
        }
        Err(source) => Err(TokenError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Whole or not at all: a proxy may be waiting for the file.
fn write(path: &Path, token: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", hex(token))?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn parse(text: &str) -> Option<[u8; NONCE_BYTES]> {
    if text.len() != NONCE_BYTES * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut token = [0; NONCE_BYTES];
    for (n, byte) in token.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(n * 2..n * 2 + 2)?, 16).ok()?;
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sync.token");
        let made = read_or_make(&path, &World::system()).unwrap();
        assert_eq!(read_or_make(&path, &World::system()).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(read_or_make(&path, &World::system()), Err(TokenError::Malformed { .. })));
    }
}
