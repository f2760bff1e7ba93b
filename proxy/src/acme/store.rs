//! The account's key, the certificate and its key, in files that only their owner can read.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use crate::{data_dir::write_private, gateway::now_s, tls::certificate::Certificate};

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// This gateway's place in the spread of renewals.
    jitter: u8,
}

/// An account belongs to one directory.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    directory_url: String,
    credentials: AccountCredentials,
}

impl Store {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), jitter: rand::random() }
    }

    pub(super) fn jitter(&self) -> u8 {
        self.jitter
    }

    /// `None` where there is none for this directory.
    pub(super) fn account(&self, directory_url: &str) -> io::Result<Option<AccountCredentials>> {
        let text = match fs::read(self.account_file()) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // The file names no reason: what stands in it is a key.
        let stored: StoredAccount = serde_json::from_slice(&text)
            .map_err(|_| io::Error::other(format!("{} does not hold an account", self.account_file().display())))?;
        Ok((stored.directory_url == directory_url).then_some(stored.credentials))
    }

    pub(super) fn keep_account(&self, directory_url: &str, credentials: AccountCredentials) -> io::Result<()> {
        let stored = StoredAccount { directory_url: directory_url.to_owned(), credentials };
        fs::create_dir_all(&self.dir)?;
        write_private(&self.account_file(), &serde_json::to_vec(&stored)?)
    }

    /// The certificate, if it is for these names and valid. One file holds chain and key, so that
    /// neither is there without the other.
    pub(super) fn certificate(&self, domains: &[String]) -> Option<Arc<Certificate>> {
        let pem = fs::read(self.certificate_file()).ok()?;
        let certificate = Certificate::from_pem(&pem, &pem).ok()?;
        let is_right = domains.iter().all(|name| certificate.covers(name)) && certificate.check_time(now_s()).is_ok();
        is_right.then(|| Arc::new(certificate))
    }

    pub(super) fn keep_certificate(&self, chain: &str, key: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        write_private(&self.certificate_file(), format!("{key}\n{chain}").as_bytes())
    }

    fn account_file(&self) -> PathBuf {
        self.dir.join("account.json")
    }

    fn certificate_file(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tls::testing::pem;

    #[test]
    fn a_certificate_is_kept_private_and_given_back_for_its_own_names_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("acme"));
        let domains = ["a.test".to_owned(), "b.test".to_owned()];
        assert!(store.certificate(&domains).is_none());
        let (chain, key) = pem(&["a.test", "b.test"]);
        store.keep_certificate(&chain, &key).unwrap();
        assert!(store.certificate(&domains).unwrap().covers("b.test"));
        assert!(store.certificate(&["c.test".to_owned()]).is_none(), "the settings name another");
        let mode = fs::metadata(store.certificate_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_account_is_an_error_that_does_not_show_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert!(matches!(store.account("https://ca.test/dir"), Ok(None)));
        fs::write(store.account_file(), "{\"directory_url\": \"secret\"").unwrap();
        let why = store.account("https://ca.test/dir").err().unwrap().to_string();
        assert!(why.ends_with("does not hold an account") && !why.contains("secret"), "{why}");
    }
}
