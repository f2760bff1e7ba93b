//! A JSON object in which no name is repeated: of two values, two readers could choose differently.

use std::{collections::HashMap, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct Object(HashMap<String, Value>);

impl Object {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// `None` where there is none; a null is none too.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                let mut object = HashMap::new();
                while let Some((name, value)) = members.next_entry()? {
                    if object.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name is repeated"));
                    }
                }
                Ok(Object(object))
            }
        }

        from.deserialize_map(Members)
    }
}
