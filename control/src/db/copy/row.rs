//! A SQLite row as a tuple of PostgreSQL's binary COPY format (PostgreSQL documentation, COPY, "Binary Format").

use sqlx::{Row as _, sqlite::SqliteRow};

use super::schema::{Column, Kind};

/// What a stream of tuples begins with: the signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And what it ends with.
pub(super) const END: &[u8] = &(-1_i16).to_be_bytes();

/// What a JSONB value's bytes begin with: the version of its format.
const JSONB: &[u8] = &[1];

/// Appends `row`, which has these columns.
pub(super) fn put(row: &SqliteRow, columns: &[Column], out: &mut Vec<u8>) -> sqlx::Result<()> {
    let count = i16::try_from(columns.len()).map_err(|_| too_long("a row"))?;
    out.extend_from_slice(&count.to_be_bytes());
    for (at, Column { kind, .. }) in columns.iter().enumerate() {
        match kind {
            Kind::Number => field(row.try_get::<Option<i64>, _>(at)?.map(i64::to_be_bytes).as_ref().map(|b| &b[..]), &[], out)?,
            Kind::Truth => {
                field(row.try_get::<Option<bool>, _>(at)?.map(|truth| [u8::from(truth)]).as_ref().map(|b| &b[..]), &[], out)?;
            }
            Kind::Text => field(row.try_get::<Option<&str>, _>(at)?.map(str::as_bytes), &[], out)?,
            Kind::Json => field(row.try_get::<Option<&str>, _>(at)?.map(str::as_bytes), JSONB, out)?,
            Kind::Bytes => field(row.try_get::<Option<&[u8]>, _>(at)?, &[], out)?,
        }
    }
    Ok(())
}

/// NULL is a length of -1.
fn field(value: Option<&[u8]>, before: &[u8], out: &mut Vec<u8>) -> sqlx::Result<()> {
    let Some(value) = value else {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    };
    let length = i32::try_from(before.len() + value.len()).map_err(|_| too_long("a value"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(before);
    out.extend_from_slice(value);
    Ok(())
}

fn too_long(what: &str) -> sqlx::Error {
    sqlx::Error::Encode(format!("{what} is too long to be copied").into())
}
