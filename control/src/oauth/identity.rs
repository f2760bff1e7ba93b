//! Who somebody is, told to an application that they sign in to with Clearway (OpenID Connect Core 1.0). Its scopes give access
//! to nothing else, so that no role and no registration limits them: the person is asked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::UserId;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    clients::Client,
    signing::{Signer, SigningError},
};
use crate::{users::User, world::World};

/// Seconds that an ID token is good for: it is read when it arrives.
const ID_TOKEN_LIFETIME: i64 = 600;
/// Characters of a nonce at most.
pub(super) const NONCE_CHARS_MAX: usize = 512;
/// It changes nothing here: refresh tokens are given wherever the client is registered for them.
const OFFLINE: &str = "offline_access";

/// The scopes of OpenID Connect (Core, 5.4) that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub(super) openid: bool,
    pub(super) profile: bool,
    pub(super) email: bool,
}

impl Identity {
    /// Each with what it tells, for whoever is asked.
    pub(super) const SCOPES: [(&str, &str); 3] =
        [("openid", "Know that it is you"), ("profile", "Know your name"), ("email", "Know your address")];

    /// Takes its words out of what was asked for; the others are left in their order.
    pub(super) fn take<'w>(words: impl Iterator<Item = &'w str>) -> (Self, Vec<&'w str>) {
        let (mut taken, mut left) = (Self::default(), Vec::new());
        for word in words {
            match word {
                "openid" => taken.openid = true,
                "profile" => taken.profile = true,
                "email" => taken.email = true,
                OFFLINE => {}
                other => left.push(other),
            }
        }
        (taken, left)
    }

    pub(super) fn words(self) -> impl Iterator<Item = &'static str> {
        let held = [self.openid, self.profile, self.email];
        Self::SCOPES.into_iter().zip(held).filter(|(_, held)| *held).map(|((word, _), _)| word)
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Whether all of it is in `granted`.
    pub(super) fn is_within(self, granted: Self) -> bool {
        self.words().all(|word| granted.words().any(|other| other == word))
    }

    /// As it is stored.
    pub(super) fn stored(self) -> String {
        self.words().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn of_stored(text: &str) -> Self {
        Self::take(text.split(' ')).0
    }

    /// What is told of a person (Core, 5.1). Addresses are proved before there is a person.
    pub(super) fn claims(self, user: &User) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("sub".into(), user.id.to_string().into());
        if self.profile {
            claims.insert("name".into(), user.name.clone().into());
        }
        if self.email {
            claims.insert("email".into(), user.email.clone().into());
            claims.insert("email_verified".into(), true.into());
        }
        claims
    }
}

/// What an ID token says besides who issues it and when.
#[derive(Debug)]
pub(super) struct SignedIn<'s> {
    pub(super) user: UserId,
    /// In milliseconds since 1970.
    pub(super) authenticated_at: i64,
    pub(super) nonce: Option<&'s str>,
    /// The access token that it comes with.
    pub(super) access_token: &'s str,
}

/// Signs an ID token (Core, 2). It is of another type than access tokens, and none is taken for the other.
pub(super) fn id_token(
    world: &World,
    signer: &Signer,
    issuer: &str,
    client: &Client,
    signed_in: &SignedIn<'_>,
) -> Result<String, SigningError> {
    let now_s = world.now_ms().div_euclid(1_000);
    let mut claims = json!({
        "iss": issuer,
        "sub": signed_in.user,
        "aud": client.id,
        "iat": now_s,
        "exp": now_s + ID_TOKEN_LIFETIME,
        "auth_time": signed_in.authenticated_at.div_euclid(1_000),
        "at_hash": at_hash(signed_in.access_token),
    });
    if let Some(nonce) = signed_in.nonce {
        claims["nonce"] = nonce.into();
    }
    signer.sign("JWT", &claims)
}

/// The left half of the hash of the signature's algorithm (Core, 3.1.3.6), which is ES256's SHA-256.
fn at_hash(access_token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(access_token)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_taken_out_of_what_is_asked_for() {
        let (identity, left) = Identity::take("read:keys openid email openid offline_access x".split(' '));
        assert_eq!((identity.stored().as_str(), left), ("openid email", vec!["read:keys", "x"]));
        assert_eq!(Identity::of_stored("openid email"), identity);
        assert!(Identity::of_stored("").is_none() && identity.is_within(Identity::of_stored("openid profile email")));
        assert!(!identity.is_within(Identity::of_stored("openid profile")));
    }

    #[test]
    fn a_hash_of_an_access_token_is_as_in_the_example() {
        // OpenID Connect Core 1.0, A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(at_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
