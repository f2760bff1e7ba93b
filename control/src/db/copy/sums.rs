//! Whether what arrived is what was sent: each engine counts and sums what it holds, column by column.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::{
    CopyError,
    schema::{Column, Kind, Table, quoted},
    source::Source,
};

/// Numbers are summed by what is left of them, so that no sum is too great.
const MODULUS: i64 = 1_000_003;

/// The rows, and of each column how many have a value, and a sum over the values: of numbers what is left by
/// [`MODULUS`], of text and bytes the octets, of truths those that hold. JSON is written anew by PostgreSQL, so it is
/// counted only.
pub(super) async fn compare(table: &Table, source: &mut Source, target: &mut PgConnection) -> Result<(), CopyError> {
    let read = source.numbers(statement(table, sqlite)).await?;
    let arrived = AssertSqlSafe(statement(table, postgres));
    let arrived = sqlx::query(arrived).fetch_one(target).await.map_err(CopyError::Target)?;
    for (at, (column, what)) in quantities(table).enumerate() {
        let source_has = read.try_get::<i64, _>(at).map_err(CopyError::Source)?;
        let target_has = arrived.try_get::<i64, _>(at).map_err(CopyError::Target)?;
        if source_has != target_has {
            let (table, column) = (table.name.clone(), column.to_owned());
            return Err(CopyError::Differs { table, column, what, source_has, target_has });
        }
    }
    Ok(())
}

/// In the order of the statement's columns.
fn quantities(table: &Table) -> impl Iterator<Item = (&str, &'static str)> {
    let of_columns =
        table.columns.iter().flat_map(|column| [(column.name.as_str(), "the count"), (column.name.as_str(), "the sum")]);
    std::iter::once(("all columns", "the count")).chain(of_columns)
}

fn statement(table: &Table, sum: fn(&Column, &str) -> String) -> String {
    let of_columns = table.columns.iter().map(|column| {
        let name = quoted(&column.name);
        format!("count({name}), {}", sum(column, &name))
    });
    let all: Vec<_> = std::iter::once("count(*)".to_owned()).chain(of_columns).collect();
    format!("SELECT {} FROM {}", all.join(", "), quoted(&table.name))
}

fn sqlite(column: &Column, name: &str) -> String {
    match column.kind {
        Kind::Number => format!("coalesce(sum({name} % {MODULUS}), 0)"),
        Kind::Truth => format!("coalesce(sum({name}), 0)"),
        Kind::Text => format!("coalesce(sum(length(CAST({name} AS BLOB))), 0)"),
        Kind::Bytes => format!("coalesce(sum(length({name})), 0)"),
        Kind::Json => format!("count({name})"),
    }
}

fn postgres(column: &Column, name: &str) -> String {
    match column.kind {
        Kind::Number => format!("CAST(coalesce(sum({name} % {MODULUS}), 0) AS BIGINT)"),
        Kind::Truth => format!("count(*) FILTER (WHERE {name})"),
        Kind::Text | Kind::Bytes => format!("CAST(coalesce(sum(octet_length({name})), 0) AS BIGINT)"),
        Kind::Json => format!("count({name})"),
    }
}
