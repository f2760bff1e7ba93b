//! `limit`, `offset` and `cursor` of every list.

use std::{fmt::Display, str::FromStr};

use serde_json::Value;
use utoipa::IntoParams;

use super::fields::{Fields, Form, Wrong, number, parsed};

const LIMIT_DEFAULT: u64 = 20;
const LIMIT_MAX: u64 = 100;
/// An offset makes the database count past every row before it; a cursor does not.
const OFFSET_MAX: u64 = 100_000;
/// Longer than any cursor that was given out.
const CURSOR_BYTES_MAX: usize = 512;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging<C> {
    pub limit: u32,
    pub offset: u32,
    pub cursor: Option<C>,
}

/// How a page is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
pub struct PageParams {
    /// How many on a page, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// How many to pass over; not together with `cursor`.
    #[param(minimum = 0, maximum = 100_000)]
    offset: Option<u32>,
    /// Where an earlier page ended.
    cursor: Option<String>,
}

impl<C: FromStr<Err: Display>> Form for Paging<C> {
    fn read(fields: &mut Fields) -> Option<Self> {
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
    let wrong = || ("format_invalid", "must be the next_cursor of an earlier page".to_owned());
    // A name is any text to the type, but not to the database.
    let is_text = value.as_str().is_some_and(|text| text.len() <= CURSOR_BYTES_MAX && !text.chars().any(char::is_control));
    if is_text { parsed(value).map_err(|_| wrong()) } else { Err(wrong()) }
}
