//! Tables as both engines describe them, and the order in which they can be filled.

use std::collections::BTreeSet;

use super::CopyError;

/// Pairs of a table and one of its columns.
pub(super) type Columns = BTreeSet<(String, String)>;

/// What a column holds, by the target's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Truth,
    Text,
    Json,
    Bytes,
}

impl Kind {
    /// `None`: no migration uses this type yet, and nobody has said how it is copied.
    pub(super) fn of(data_type: &str) -> Option<Self> {
        Some(match data_type {
            "bigint" => Self::Number,
            "boolean" => Self::Truth,
            "text" => Self::Text,
            "jsonb" => Self::Json,
            "bytea" => Self::Bytes,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

impl Table {
    /// For a statement of either engine.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (String, String)> {
        self.columns.iter().map(|column| (self.name.clone(), column.name.clone()))
    }
}

/// A name as it stands in SQL, in both engines.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Every table after those that it refers to. `references`: who refers to whom.
pub(super) fn in_order(mut tables: Vec<Table>, references: &BTreeSet<(String, String)>) -> Result<Vec<Table>, CopyError> {
    let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let waits = |table: &Table| {
            let others = tables.iter().filter(|other| other.name != table.name);
            others.into_iter().any(|other| references.contains(&(table.name.clone(), other.name.clone())))
        };
        let (waiting, next): (Vec<_>, Vec<_>) = tables.iter().cloned().partition(waits);
        if next.is_empty() {
            let names: Vec<_> = waiting.into_iter().map(|table| table.name).collect();
            return Err(CopyError::Circle { tables: names.join(", ") });
        }
        ordered.extend(next);
        tables = waiting;
    }
    Ok(ordered)
}
