//! The catalogue: every type of event that Clearway itself knows, each a Rust type with a version, what it means, a
//! JSON Schema (draft 2020-12) made from the type, and an example. Names are in the past tense; older names are
//! understood where a type is named (`app.install` for `app.installed`) and never sent.
//!
//! Not every one happens yet: an entry says so until the feature that emits it is built.

#[macro_use]
mod entries;
pub mod account;
pub mod app;
pub mod billing;
pub mod key;
pub mod product;
pub mod quota;
#[cfg(test)]
mod tests;
pub mod webhook;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

pub use account::{Account, User};
pub use app::App;
pub use billing::{Invoice, Subscription};
pub use entries::Time;
pub use key::Key;
pub use product::Product;
pub use webhook::Endpoint;

/// The data of one type of event.
pub trait EventData: Serialize + JsonSchema {
    /// The type's name, `noun.happened`.
    const TYPE: &'static str;
    /// Counted up when a member goes or changes its meaning; members may be added without.
    const VERSION: u32;

    /// What it is about: events of one object can be delivered in order.
    fn object_id(&self) -> String;
}

/// Whether events of a type happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// Clearway emits them.
    Emitted,
    /// They wait for this to be built.
    Waiting(&'static str),
}

/// A type of event.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    pub version: u32,
    /// When it happens.
    pub description: &'static str,
    /// Older names.
    pub aliases: &'static [&'static str],
    pub emission: Emission,
    /// The name of the Rust type.
    pub rust: &'static str,
    /// Of its data.
    pub schema: fn() -> Value,
    pub example: fn() -> Value,
}

impl Entry {
    /// The noun in front of the first dot: operators' own types may not begin with it.
    pub fn family(&self) -> &'static str {
        self.name.split('.').next().unwrap_or_default()
    }
}

/// The catalogue, by name.
pub const ENTRIES: &[&[Entry]] =
    &[account::ENTRIES, app::ENTRIES, billing::ENTRIES, key::ENTRIES, product::ENTRIES, quota::ENTRIES, webhook::ENTRIES];

/// The type of that name, or of which that is an older name.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.name == name || entry.aliases.contains(&name))
}

pub fn all() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().copied().flatten()
}

/// The schema of a type, as it is serialized, with nothing but itself to refer to.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn value_of(data: &impl Serialize) -> Value {
    serde_json::to_value(data).expect("an event's data has text keys and no failing parts")
}
