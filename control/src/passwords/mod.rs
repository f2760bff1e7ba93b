//! Passwords: argon2id, off the async threads and bounded, and which ones are not taken.
//!
//! Plumbing: it does not know whose they are.

mod common;

use std::sync::Arc;

use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, password_hash::Error as HashError};
use clearway_config::ErrorCode;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

pub use self::common::{CHARS_MAX, CHARS_MIN, Weak, check};
use crate::{http::ApiError, world::World};

/// Hashes that are computed at the same time: each takes 19 MiB and tens of milliseconds of a core.
const AT_ONCE: usize = 4;
/// Those that are computed or wait for it; beyond, whoever asks is told to come back.
const WAITING_MAX: usize = 64;

/// Hashes and compares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    world: World,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What the password of an address that nobody has is compared with.
    nobodys: Arc<str>,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right {
        /// The hash was made at another cost than is asked for now.
        stale: bool,
    },
    Wrong,
}

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords are being looked at")]
    Busy,
    #[error("a password cannot be hashed: {0}")]
    Hash(HashError),
    #[error("a password's hash was broken off")]
    Broken,
}

impl Passwords {
    pub fn new(world: World) -> Self {
        // Of no password that could be sent: it is shorter than any that is taken, and no answer depends on it.
        let nobodys = Argon2::default().hash_password_with_salt(b"", b"nobody's 16 byte").map(|hash| hash.to_string());
        Self {
            world,
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            nobodys: nobodys.expect("the default cost and a salt of 16 bytes are valid").into(),
        }
    }

    /// Argon2id with the library's recommended cost, as a PHC string.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        let salt: [u8; 16] = self.world.random()[..16].try_into().expect("16 of 32 bytes");
        let hashed = self.run(move || hash(&salt, &password)).await?;
        hashed.map_err(PasswordError::Hash)
    }

    /// Whether `password` is the one of `hash`. Where there is none the same work is done, for nothing.
    pub async fn verify(&self, password: Zeroizing<String>, hash: Option<String>) -> Result<Verdict, PasswordError> {
        // An empty hash is that of a person who signs in by other means.
        let (hash, somebodys) = match hash.filter(|hash| !hash.is_empty()) {
            Some(hash) => (hash, true),
            None => (self.nobodys.to_string(), false),
        };
        let compared =
            self.run(move || Argon2::default().verify_password(password.as_bytes(), hash.as_str()).map(|()| hash)).await?;
        match compared {
            Ok(hash) if somebodys => Ok(Verdict::Right { stale: !hash.starts_with(&current()) }),
            Ok(_) | Err(HashError::PasswordInvalid) => Ok(Verdict::Wrong),
            Err(why) => Err(PasswordError::Hash(why)),
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Broken)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, even where nobody waits for it any more.
            let _running = running;
            work()
        });
        done.await.map_err(|_| PasswordError::Broken)
    }
}

/// For a process that has nothing else to do yet.
pub fn hash(salt: &[u8; 16], password: &str) -> Result<String, HashError> {
    Ok(Argon2::default().hash_password_with_salt(password.as_bytes(), salt)?.to_string())
}

/// How hashes of today's cost begin.
fn current() -> String {
    let cost = Params::default();
    format!("$argon2id$v=19$m={},t={},p={}$", cost.m_cost(), cost.t_cost(), cost.p_cost())
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => ApiError::new(ErrorCode::SignInBusy),
            other => ApiError::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let passwords = Passwords::new(World::fixed(0, 0));
        let hash = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(hash.starts_with(&current()), "{hash}");
        let verify =
            async |password: &str, hash: Option<&str>| passwords.verify(secret(password), hash.map(str::to_owned)).await.unwrap();
        assert_eq!(verify("correct horse battery", Some(&hash)).await, Verdict::Right { stale: false });
        assert_eq!(verify("correct horse batterz", Some(&hash)).await, Verdict::Wrong);
        for nobodys in [None, Some("")] {
            assert_eq!(verify("", nobodys).await, Verdict::Wrong, "nobody has a password, not even the one that is compared");
        }
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_right_and_stale() {
        let cheap = Argon2::from(Params::new(1024, 1, 1, None).unwrap());
        let hash = cheap.hash_password_with_salt(b"correct horse battery", b"0123456789abcdef").unwrap().to_string();
        let passwords = Passwords::new(World::fixed(0, 0));
        let verdict = passwords.verify(secret("correct horse battery"), Some(hash)).await.unwrap();
        assert_eq!(verdict, Verdict::Right { stale: true });
    }

    #[tokio::test]
    async fn beyond_what_may_wait_nobody_waits() {
        let passwords = Passwords::new(World::fixed(0, 0));
        let all = u32::try_from(WAITING_MAX).unwrap();
        let held = Arc::clone(&passwords.waiting).acquire_many_owned(all).await.unwrap();
        assert!(matches!(passwords.hash(secret("correct horse battery")).await, Err(PasswordError::Busy)));
        drop(held);
        assert!(passwords.hash(secret("correct horse battery")).await.is_ok());
    }
}
