//! Ids: 128 bits, the time in front, shown as a prefix and 22 characters of base62.
//!
//! The alphabet is in ASCII order and the width fixed, so ids sort by their time of making as raw
//! bytes, as text, and in both databases.

use std::{fmt, str::FromStr};

use crate::base62;

/// Characters after the prefix: 62^22 > 2^128.
const DIGITS: usize = 22;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {prefix}_ and {DIGITS} letters or digits")]
pub struct MalformedId {
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// An id made at `now_ms` (48 bits of it are kept) with 80 bits of `random`.
            pub fn new(now_ms: u64, random: u128) -> Self {
                Self((u128::from(now_ms) << 80 | random >> 48).to_be_bytes())
            }

            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// `None` unless exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = base62::encode_u128::<DIGITS>(u128::from_be_bytes(self.0));
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(std::str::from_utf8(&digits).expect("base62 is ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|digits| digits.len() == DIGITS)
                    .and_then(|digits| base62::decode_u128(digits.as_bytes()))
                    .map(|n| Self(n.to_be_bytes()))
                    .ok_or(MalformedId { prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// Who owns keys, apps, webhooks and a subscription.
    AccountId = "acct";
    /// A person.
    UserId = "user";
    /// An API key; it keeps its id through every rotation.
    KeyId = "key";
    /// One secret (version) of a key.
    SecretId = "sec";
    /// An account's hold on a plan.
    SubscriptionId = "sub";
    /// An entry of the audit log.
    AuditId = "aud";
    /// A proxy process's data directory.
    ProxyId = "prx";
    /// One request through the gateway or to the control API.
    RequestId = "req";
    /// A subscription of an account to events, and the URL that they are posted to.
    WebhookId = "wh";
    /// One secret (version) that a webhook's deliveries are signed by.
    WebhookSecretId = "whs";
    /// Something that happened. Receivers see it as `webhook-id`.
    EventId = "evt";
    /// One event on its way to one webhook, through every attempt.
    DeliveryId = "dlv";
    /// A merchant's store, whose products are a catalogue.
    StoreId = "store";
    /// A product of a store.
    ProductId = "prod";
    /// A person's sign-in, from its beginning to its end.
    SessionId = "ses";
    /// Who a person is at a sign-in provider.
    IdentityId = "ident";
    /// A key in one of a person's authenticators.
    PasskeyId = "pky";
    /// Somebody who is asked to join an account.
    InvitationId = "inv";
    /// A mail on its way, or in the local mailbox.
    MailId = "mail";
    /// An app that an account offers to others.
    AppId = "app";
    /// A version of an app.
    AppVersionId = "ver";
    /// An app in an account.
    InstallationId = "inst";
    /// What an account says of an app.
    ReviewId = "rev";
    /// An OAuth application: its `client_id`.
    ClientId = "client";
    /// What OAuth applications may register themselves by, in an account.
    RegistrationTokenId = "rgt";
    /// What an account has let an OAuth application do.
    GrantId = "grant";
    /// An access token, as its `jti`.
    TokenId = "tok";
    /// What a developer shows beside apps.
    ProjectId = "prj";
    /// What an account asks whoever runs Clearway.
    TicketId = "tkt";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_survives_its_text(bytes: [u8; 16]) {
            let id = KeyId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        }

        #[test]
        fn ids_sort_by_time_as_bytes_and_as_text(a in 0..1_u64 << 47, later in 1..1_u64 << 46, r: u128, s: u128) {
            let (x, y) = (KeyId::new(a, r), KeyId::new(a + later, s));
            prop_assert!(x < y);
            prop_assert!(x.to_string() < y.to_string());
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}") {
            let _ = text.parse::<KeyId>();
            let _ = format!("key_{text}").parse::<KeyId>();
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let user = UserId::new(1, 2).to_string();
        assert_eq!(user.parse::<KeyId>(), Err(MalformedId { prefix: "key" }));
        assert!("key_zzzzzzzzzzzzzzzzzzzzzz".parse::<KeyId>().is_err(), "past 128 bits");
    }
}
