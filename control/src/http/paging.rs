//! `limit`, `offset` and `cursor` of every list.

use serde_json::Value;
use std::{fmt::Display, str::FromStr};

use super::fields::{Fields, Wrong, number, parsed};

const LIMIT_DEFAULT: u64 = 20;
const LIMIT_MAX: u64 = 100;
/// An offset makes the database count past every row before it; a cursor does not.
const OFFSET_MAX: u64 = 100_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging<C> {
    pub limit: u32,
    pub offset: u32,
    pub cursor: Option<C>,
}

impl<C: FromStr<Err: Display>> Paging<C> {
    pub fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.optional("limit", number(1, LIMIT_MAX));
        let offset = fields.optional("offset", number(0, OFFSET_MAX));
        let cursor = fields.optional("cursor", cursor::<C>);
        if matches!(&cursor, Some(Some(_))) && matches!(offset, Some(Some(1..))) {
            fields.refuse("offset", ("out_of_bounds", "cannot be combined with cursor".into()));
        }
        let narrow = |n: u64| u32::try_from(n).expect("bounded above");
        Some(Self { limit: narrow(limit?.unwrap_or(LIMIT_DEFAULT)), offset: narrow(offset?.unwrap_or(0)), cursor: cursor? })
    }
}

fn cursor<C: FromStr<Err: Display>>(value: &Value) -> Result<C, Wrong> {
    parsed(value).map_err(|_| ("format_invalid", "must be the next_cursor of an earlier page".into()))
}
