//! How entries are written down: each type of event once, with everything that is known of it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::http::time::rfc3339;

/// A moment in milliseconds since 1970; on the wire RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(self.0))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// `/// When it happens.` `Name = "noun.happened" v1, aliases, emission, object; { members } example { … }`
macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $type:literal v $version:literal $(also $($alias:literal),+)?; $emission:expr; of $($object:ident).+;
        { $($(#[$attribute:meta])* $field:ident: $of:ty = $example:expr,)+ }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
            pub struct $name {
                $($(#[$attribute])* pub $field: $of,)+
            }

            impl crate::events::EventData for $name {
                const TYPE: &'static str = $type;
                const VERSION: u32 = $version;

                fn object_id(&self) -> String {
                    self.$($object).+.clone()
                }
            }

            impl $name {
                fn example() -> Self {
                    Self { $($field: $example,)+ }
                }
            }
        )+

        pub(super) const ENTRIES: &[super::Entry] = &[$(
            super::Entry {
                name: $type,
                version: $version,
                description: concat!($($doc),+).trim_ascii(),
                aliases: &[$($($alias),+)?],
                emission: $emission,
                rust: stringify!($name),
                schema: || super::schema_of::<$name>(),
                example: || super::value_of(&$name::example()),
            },
        )+];
    };
}
