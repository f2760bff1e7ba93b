use std::collections::BTreeSet;

use super::{
    CopyError,
    schema::{Column, Kind, Table, in_order, quoted},
};

fn tables(names: &[&str]) -> Vec<Table> {
    let columns = vec![Column { name: "id".into(), kind: Kind::Text }];
    names.iter().map(|name| Table { name: (*name).to_owned(), columns: columns.clone() }).collect()
}

fn ordered(names: &[&str], references: &[(&str, &str)]) -> Result<Vec<String>, CopyError> {
    let references: BTreeSet<_> = references.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    Ok(in_order(tables(names), &references)?.into_iter().map(|table| table.name).collect())
}

#[test]
fn a_table_comes_after_those_that_it_refers_to() {
    let names = ["attempts", "keys", "accounts", "secrets"];
    let references = [("keys", "accounts"), ("secrets", "keys"), ("secrets", "secrets"), ("attempts", "gone")];
    assert_eq!(ordered(&names, &references).unwrap(), ["attempts", "accounts", "keys", "secrets"]);
    let circle = ordered(&["a", "b", "c"], &[("a", "b"), ("b", "a")]).unwrap_err();
    assert!(matches!(&circle, CopyError::Circle { tables } if tables == "a, b"), "{circle}");
}

#[test]
fn a_name_cannot_end_its_quotes() {
    assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
}

#[test]
fn a_type_that_nobody_has_said_how_to_copy_is_none() {
    assert_eq!(Kind::of("jsonb"), Some(Kind::Json));
    assert_eq!(Kind::of("timestamp with time zone"), None);
}
