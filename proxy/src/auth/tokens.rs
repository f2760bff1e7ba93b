//! Tokens that have been verified, by their SHA-256, until they are refused: a bearer sends the same one
//! again and again, and an asymmetric signature costs more than all the rest of a decision.
//!
//! Of a fixed size. What is remembered holds for the issuer and the keys that it was verified by: when
//! either is replaced, the token is verified anew.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use clearway_filters::jwt::{Claims, Jwks};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::snapshot::TokenIssuer;

/// 16,384 tokens.
const SETS: usize = 4_096;
const PLACES: usize = 4;

pub(super) struct Tokens {
    sets: Box<[Mutex<Set>]>,
}

type Set = [Option<Arc<Verified>>; PLACES];

/// A token that was good.
#[derive(Debug)]
pub(crate) struct Verified {
    hash: [u8; 32],
    pub(super) by: By,
    pub(crate) claims: Claims,
    account: AtomicU32,
}

/// Whose token it is, and by which keys that was found out.
#[derive(Debug)]
pub(super) enum By {
    Issuer(Arc<super::Issuer>, Arc<Jwks>),
    /// Clearway's own; and what may have been revoked of it.
    Own(Arc<TokenIssuer>, Names),
}

/// An own token's name, its grant's, and its application's with the generation.
pub(super) type Names = [Box<str>; 3];

impl Verified {
    const UNKNOWN: u32 = u32::MAX;

    pub(super) fn new(hash: [u8; 32], by: By, claims: Claims) -> Self {
        Self { hash, by, claims, account: AtomicU32::new(Self::UNKNOWN) }
    }

    /// What may have been revoked of it; nothing of a token of others.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names: &[Box<str>] = match &self.by {
            By::Issuer(..) => &[],
            By::Own(_, names) => names,
        };
        names.iter().map(|name| &**name)
    }

    /// Where the snapshot has the account, once that was looked up; accounts keep their places.
    pub(crate) fn account_index(&self) -> Option<u32> {
        Some(self.account.load(Ordering::Relaxed)).filter(|&index| index != Self::UNKNOWN)
    }

    pub(crate) fn remember_account(&self, index: u32) {
        self.account.store(index, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", SETS * PLACES)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }
}

impl Tokens {
    pub(super) fn hash(token: &[u8]) -> [u8; 32] {
        Sha256::digest(token).into()
    }

    /// The token with this hash, if it is still good at `now_ms`.
    pub(super) fn find(&self, hash: &[u8; 32], now_ms: u64) -> Option<Arc<Verified>> {
        // Whoever could make two tokens of one hash could do worse than this.
        let set = self.set(hash).lock();
        let found = set.iter().flatten().find(|held| held.hash == *hash && now_ms < held.claims.refused_from_ms);
        found.cloned()
    }

    /// Takes the place of itself, of nobody, or of the one that ends first.
    pub(super) fn keep(&self, verified: Arc<Verified>) {
        let mut set = self.set(&verified.hash).lock();
        let ends = |place: &Option<Arc<Verified>>| match place {
            Some(held) if held.hash != verified.hash => held.claims.refused_from_ms,
            _ => 0,
        };
        let first = (0..PLACES).min_by_key(|&place| ends(&set[place])).expect("PLACES is not zero");
        let replaced = set[first].replace(verified);
        drop(set);
        drop(replaced);
    }

    fn set(&self, hash: &[u8; 32]) -> &Mutex<Set> {
        &self.sets[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SETS]
    }
}
