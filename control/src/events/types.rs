//! Operators' own types of events: a name, a version counted up by every change, and a JSON Schema that the data of
//! every event of it must match.

use serde_json::Value;

use super::{catalogue, checker, pattern::Pattern, type_store};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, On, Tx},
    http::{ApiError, issue},
    world::World,
};
use clearway_config::{AccountId, ErrorCode};

/// Types that operators may register.
pub(super) const TYPES_MAX: i64 = 500;
/// Characters in a type's name.
pub(super) const NAME_CHARS_MAX: usize = 100;
/// Words in a type's name.
const WORDS_MAX: usize = 5;

/// A type as it stands in the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) version: i64,
    pub(super) description: String,
    pub(super) schema: Value,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// Which state of a type something was checked by. A version alone would not do: a type that was taken away and
/// registered again begins with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) version: i64,
    pub(super) updated_at: i64,
}

impl Registered {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { version: self.version, updated_at: self.updated_at }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TypeError {
    #[error("no such type")]
    NotFound,
    #[error("the name is taken")]
    Taken,
    #[error("there are {TYPES_MAX} types")]
    TooMany,
    #[error("the schema is not one: {0}")]
    Schema(String),
    #[error("the type has been changed meanwhile")]
    Changed,
    #[error("the type could not be stored")]
    Store(#[from] db::Error),
}

/// `noun.happened`: two to five words of a-z, 0-9 and `_`, with dots between, and none of Clearway's own nouns in front.
pub(super) fn name_of(text: &str) -> Result<String, String> {
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let words: Vec<&str> = text.split('.').collect();
    if text.len() > NAME_CHARS_MAX || !(2..=WORDS_MAX).contains(&words.len()) || !words.iter().all(|part| word(part)) {
        return Err(format!(
            "must be 2 to {WORDS_MAX} words of a-z, 0-9 and _ with dots between, as order.shipped; {NAME_CHARS_MAX} characters at most"
        ));
    }
    if catalogue::all().any(|entry| entry.family() == words[0]) {
        return Err(format!("may not begin with `{}.`: that is Clearway's own", words[0]));
    }
    Ok(text.to_owned())
}

/// Registers a type; whoever does is noted under `account`.
pub(super) async fn register(
    tx: &mut Tx,
    world: &World,
    (actor, account): (&Actor, AccountId),
    name: String,
    description: String,
    schema: Value,
) -> Result<Registered, TypeError> {
    checker::compile(&schema).map_err(TypeError::Schema)?;
    if type_store::count_types(&mut *tx).await? >= TYPES_MAX {
        return Err(TypeError::TooMany);
    }
    let now_ms = world.now_ms();
    let new = Registered { name, version: 1, description, schema, created_at: now_ms, updated_at: now_ms };
    type_store::insert_type(tx, &new).await.map_err(|error| match error {
        error if error.is_conflict("event_types_pkey") => TypeError::Taken,
        other => other.into(),
    })?;
    let changes = Changes::default().field("description", (), &new.description).field("schema", (), &new.schema);
    note(tx, world, (actor, account), "event_type.created", &new.name, changes).await?;
    Ok(new)
}

/// Replaces what a type means. Events that are there stay as they are.
pub(super) async fn replace(
    tx: &mut Tx,
    world: &World,
    (actor, account): (&Actor, AccountId),
    (name, expected): (&str, Option<i64>),
    description: String,
    schema: Value,
) -> Result<Registered, TypeError> {
    checker::compile(&schema).map_err(TypeError::Schema)?;
    let old = type_store::lock_type(tx, name).await?.ok_or(TypeError::NotFound)?;
    if expected.is_some_and(|version| version != old.version) {
        return Err(TypeError::Changed);
    }
    let changes = Changes::default().field("description", &old.description, &description).field("schema", &old.schema, &schema);
    if changes.is_empty() {
        return Ok(old);
    }
    let new = Registered { version: old.version + 1, description, schema, updated_at: world.now_ms(), ..old };
    type_store::update_type(tx, &new).await?;
    note(tx, world, (actor, account), "event_type.updated", name, changes).await?;
    Ok(new)
}

/// Takes a type away: no further event of it is accepted.
pub(super) async fn remove(
    tx: &mut Tx,
    world: &World,
    (actor, account): (&Actor, AccountId),
    (name, expected): (&str, Option<i64>),
) -> Result<Registered, TypeError> {
    let old = type_store::lock_type(tx, name).await?.ok_or(TypeError::NotFound)?;
    if expected.is_some_and(|version| version != old.version) {
        return Err(TypeError::Changed);
    }
    type_store::delete_type(tx, name).await?;
    let changes = Changes::default().field("description", &old.description, ()).field("schema", &old.schema, ());
    note(tx, world, (actor, account), "event_type.deleted", name, changes).await?;
    Ok(old)
}

/// Those of some patterns that take no type: neither one of the catalogue nor a registered one.
pub async fn unmatched<'c>(on: impl On<'c>, patterns: &[Pattern]) -> db::Result<Vec<Pattern>> {
    let ours = |pattern: &&Pattern| catalogue::all().any(|entry| pattern.matches(entry.name));
    let mut others: Vec<Pattern> = patterns.iter().filter(|pattern| !ours(pattern)).cloned().collect();
    if !others.is_empty() {
        let names = type_store::names(on, TYPES_MAX).await?;
        others.retain(|pattern| !names.iter().any(|name| pattern.matches(name)));
    }
    Ok(others)
}

async fn note(
    tx: &mut Tx,
    world: &World,
    (actor, account_id): (&Actor, AccountId),
    action: &'static str,
    name: &str,
    changes: Changes,
) -> db::Result<()> {
    let event = Event { action, account_id, object_kind: "event_type", object_id: name, changes };
    audit::record(tx, world, actor, event).await
}

impl From<TypeError> for ApiError {
    fn from(error: TypeError) -> Self {
        match error {
            TypeError::NotFound => ApiError::not_found(),
            TypeError::Taken => ApiError::saying(ErrorCode::Conflict, "There is a type of this name."),
            TypeError::TooMany => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("There are {TYPES_MAX} types, which is as many as there may be."),
            ),
            TypeError::Schema(why) => ApiError::invalid(&[issue("schema", "format_invalid", why)]),
            TypeError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            TypeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_words_with_dots_and_none_of_clearways_own() {
        for good in ["order.shipped", "a.b.c.d.e", "shop_2.order.paid"] {
            assert_eq!(name_of(good).unwrap(), good);
        }
        for bad in ["", "order", "Order.shipped", "order.", ".order", "a.b.c.d.e.f", "order.1st", "order.*", &"a.b".repeat(60)] {
            assert!(name_of(bad).is_err(), "{bad}");
        }
        for ours in ["key.created", "key.painted", "webhook.failed", "product.sold", "user.signup"] {
            assert!(name_of(ours).unwrap_err().contains("Clearway's own"), "{ours}");
        }
    }
}
