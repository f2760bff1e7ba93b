//! What can go wrong in the database, in words that a caller can act on, the same for both engines.

use std::{fmt::Display, str::FromStr};

use sqlx::error::{DatabaseError, ErrorKind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique rule refused the write; `rule` is `<table>_<column>…_key` on both engines.
    #[error("already exists: {rule}")]
    Conflict { rule: String },
    #[error("refers to something that does not exist")]
    MissingReference,
    /// Another transaction was in the way: running this one again may work.
    #[error("the database is busy")]
    Retry,
    /// The database cannot be reached or cannot work; nothing was changed, as far as is known.
    #[error("the database cannot be used")]
    Unavailable(#[source] sqlx::Error),
    /// A fault of the program.
    #[error("{bound} values are bound to {marked} markers in: {sql}")]
    Markers { sql: &'static str, marked: usize, bound: usize },
    #[error("the database refused a statement")]
    Other(#[source] sqlx::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether this is the unique rule `rule`.
    pub fn is_conflict(&self, rule: &str) -> bool {
        matches!(self, Error::Conflict { rule: met } if met == rule)
    }

    /// Whether it is certain values that the database does not take or that cannot be read: the statement would work with
    /// others. A statement that is wrong itself, or a schema that is not the expected one, is something else.
    pub fn is_of_values(&self) -> bool {
        match self {
            Error::Conflict { .. } | Error::MissingReference => true,
            Error::Other(sqlx::Error::Database(error)) => refuses_values(&error.code().unwrap_or_default()),
            Error::Other(error) => {
                matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
            }
            Error::Retry | Error::Unavailable(_) | Error::Markers { .. } => false,
        }
    }
}

/// Reads a value that was written by us as text; failing is a damaged row.
pub fn decode<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|why: T::Err| undecodable(column, &why.to_string()))
}

pub fn undecodable(column: &'static str, why: &str) -> Error {
    Error::Other(sqlx::Error::ColumnDecode { index: column.into(), source: why.into() })
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => return Error::Unavailable(error),
            _ => {}
        }
        let Some(database) = error.as_database_error() else { return Error::Other(error) };
        match database.kind() {
            ErrorKind::UniqueViolation => return Error::Conflict { rule: unique_rule(database) },
            ErrorKind::ForeignKeyViolation => return Error::MissingReference,
            _ => {}
        }
        let code = database.code().unwrap_or_default().into_owned();
        match reach(&code) {
            Reach::Busy => Error::Retry,
            Reach::Away => Error::Unavailable(error),
            Reach::Here => Error::Other(error),
        }
    }
}

/// PostgreSQL: a value or their number is out of bounds, a rule or a trigger refuses them. SQLite: the same.
fn refuses_values(code: &str) -> bool {
    if code.len() == 5 {
        return ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)) || code == "P0001";
    }
    // TOOBIG, CONSTRAINT, MISMATCH.
    matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(18..=20))
}

enum Reach {
    Busy,
    Away,
    Here,
}

/// What an engine's own code says. PostgreSQL's have five characters; SQLite's are numbers whose low byte is the kind.
fn reach(code: &str) -> Reach {
    if code.len() == 5 {
        return match code {
            // Serialization failure, deadlock, lock not available.
            "40001" | "40P01" | "55P03" => Reach::Busy,
            // Statement timeout, shutting down or starting, read only, no such database or one that lets nobody in.
            "57014" | "57P01" | "57P02" | "57P03" | "25006" | "3D000" | "55000" => Reach::Away,
            // Connection lost, log-in refused, out of connections, disk or memory.
            _ if ["08", "28", "53"].iter().any(|class| code.starts_with(class)) => Reach::Away,
            _ => Reach::Here,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED.
        Ok(5 | 6) => Reach::Busy,
        // NOMEM, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB. READONLY is not here: it is a write that was sent to a reader.
        Ok(7 | 10 | 11 | 13 | 14 | 26) => Reach::Away,
        _ => Reach::Here,
    }
}

/// SQLite names the columns (`UNIQUE constraint failed: t.a, t.b`) or the index, PostgreSQL the rule; both
/// become PostgreSQL's default name, `t_a_b_key` or `t_pkey`.
fn unique_rule(error: &dyn DatabaseError) -> String {
    if let Some(rule) = error.constraint() {
        return rule.to_owned();
    }
    let Some((_, columns)) = error.message().split_once("failed: ") else { return String::new() };
    if let Some(index) = columns.strip_prefix("index '") {
        return index.trim_end_matches('\'').to_owned();
    }
    let table = columns.split('.').next().unwrap_or_default();
    // SQLITE_CONSTRAINT_PRIMARYKEY
    if error.code().as_deref() == Some("1555") {
        return format!("{table}_pkey");
    }
    let names: Vec<_> = columns.split(", ").map(|column| column.split_once('.').map_or(column, |(_, name)| name)).collect();
    format!("{table}_{}_key", names.join("_"))
}
