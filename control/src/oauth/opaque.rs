//! Codes, refresh tokens, codes of devices, client secrets, names of pushed requests and what applications register themselves by:
//! a prefix that says what it is to whoever finds one, and 256 random bits.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::world::World;

const RANDOM_CHARS: usize = 43;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Refresh,
    ClientSecret,
    /// What names a pushed request.
    Request,
    DeviceCode,
    /// What an application registers itself by.
    Registration,
    /// What it looks after its registration by.
    RegistrationAccess,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Kind::Code => "clwc_",
            Kind::Refresh => "clwr_",
            Kind::ClientSecret => "clwo_",
            Kind::Request => "clwp_",
            Kind::DeviceCode => "clwd_",
            Kind::Registration => "clwi_",
            Kind::RegistrationAccess => "clwm_",
        }
    }
}

/// One of them in clear: it cannot be printed, and forgets its characters when dropped.
pub(super) struct Opaque(Zeroizing<String>);

impl Opaque {
    pub(super) fn mint(kind: Kind, world: &World) -> Self {
        Self(Zeroizing::new(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(world.random()))))
    }

    /// `None` where it is not formed as one of this kind is: nothing is looked up for it then.
    pub(super) fn parse(kind: Kind, text: &str) -> Option<Self> {
        let random = text.strip_prefix(kind.prefix())?;
        let formed = random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        formed.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// All of it that is stored: 256 random bits need no salt and no slow hash.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// For the answer that gives it out, never for a log.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_kind_or_form_is_none() {
        let world = World::fixed(0, 1);
        let code = Opaque::mint(Kind::Code, &world);
        assert_eq!(Opaque::parse(Kind::Code, code.reveal()).unwrap().hash(), code.hash());
        assert!(Opaque::parse(Kind::Refresh, code.reveal()).is_none());
        for wrong in ["", "clwc_", &code.reveal()[..20], &format!("{}x", code.reveal()), &code.reveal().replace("clwc_", "clwc-")]
        {
            assert!(Opaque::parse(Kind::Code, wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{code:?}").contains(&code.reveal()[5..]));
    }
}
