//! `[oauth]`: applications that register themselves (RFC 7591).

use serde::Deserialize;

use crate::{
    Scope,
    scope::{ADMIN, SCOPES_MAX},
};

/// What `open_max` may be at most: each has a row, and is looked at by the sweeps.
const OPEN_MAX: u32 = 100_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OauthSettings {
    /// Which applications may register themselves.
    pub registration: ClientRegistration,
    /// What applications that anyone may register can ask people for, besides who they are.
    pub open_scopes: Vec<Scope>,
    /// How many of them there may be.
    pub open_max: u32,
    /// Whether proofs of possession must carry a nonce that Clearway has given (RFC 9449, 8 and 9).
    pub dpop_nonces: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientRegistration {
    /// None.
    Closed,
    /// Those that show a token, which an account has made for that.
    Token,
    /// Any.
    Open,
}

impl Default for OauthSettings {
    fn default() -> Self {
        Self { registration: ClientRegistration::Closed, open_scopes: Vec::new(), open_max: 1_000, dpop_nonces: false }
    }
}

impl OauthSettings {
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.open_scopes.len() > SCOPES_MAX {
            return Some(("oauth.open_scopes", "has too many scopes"));
        }
        if self.open_scopes.iter().any(|scope| scope.as_str() == ADMIN) {
            return Some(("oauth.open_scopes", "has a scope that is given to no application"));
        }
        (!(1..=OPEN_MAX).contains(&self.open_max)).then_some(("oauth.open_max", "must be from 1 to 100000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_registers_itself_unless_that_is_said() {
        assert_eq!(OauthSettings::default().registration, ClientRegistration::Closed);
        let read = |text: &str| toml::from_str::<OauthSettings>(text).unwrap();
        assert_eq!(read("registration = \"open\"\nopen_scopes = [\"read:keys\"]").fault(), None);
        assert!(read("open_scopes = [\"admin:platform\"]").fault().is_some());
        assert!(read("open_max = 0").fault().is_some() && read("open_max = 1000000").fault().is_some());
        assert!(toml::from_str::<OauthSettings>("registration = \"anyone\"").is_err());
    }
}
