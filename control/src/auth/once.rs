//! Tokens that are good once: 256 random bits, in base64url. They are mailed or shown, and kept as a hash.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{http::fields::Wrong, world::World};

const CHARS: usize = 43;

/// A whole token in clear: it cannot be printed, and forgets its characters when dropped.
pub struct Once(Zeroizing<String>);

impl Once {
    pub fn mint(world: &World) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(world.random())))
    }

    /// All of it that is stored: 256 random bits need no salt and no slow hash.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// For the mail or the answer that gives it out, never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As a form's field.
    pub fn read(value: &Value) -> Result<Self, Wrong> {
        let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
        let formed = text.len() == CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if formed { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(("format_invalid", "is not a token".into())) }
    }

    /// As a cookie's value; nothing where it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(&Value::from(text)).ok()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once(…)")
    }
}
