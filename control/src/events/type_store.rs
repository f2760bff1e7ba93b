//! Every statement on `event_types`.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::{FromRow, types::Json};

use super::types::{Registered, Stamp};
use crate::db::{self, On, PerEngine, Tx};

#[derive(Debug, FromRow)]
struct TypeRow {
    name: String,
    version: i64,
    description: String,
    schema: Json<Value>,
    created_at: i64,
    updated_at: i64,
}

impl From<TypeRow> for Registered {
    fn from(row: TypeRow) -> Self {
        let TypeRow { name, version, description, schema: Json(schema), created_at, updated_at } = row;
        Self { name, version, description, schema, created_at, updated_at }
    }
}

pub(super) async fn find_type<'c>(on: impl On<'c>, name: &str) -> db::Result<Option<Registered>> {
    let row = on
        .query("SELECT name, version, description, schema, created_at, updated_at FROM event_types WHERE name = $1")
        .bind(name.to_owned())
        .optional::<TypeRow>()
        .await?;
    Ok(row.map(Registered::from))
}

/// [`find_type`], and nobody else changes it until this transaction ends. SQLite has one writer anyway.
pub(super) async fn lock_type(tx: &mut Tx, name: &str) -> db::Result<Option<Registered>> {
    let row = tx
        .query(PerEngine {
            sqlite: "SELECT name, version, description, schema, created_at, updated_at FROM event_types WHERE name = $1",
            postgres: "SELECT name, version, description, schema, created_at, updated_at FROM event_types WHERE name = $1
                       FOR UPDATE",
        })
        .bind(name.to_owned())
        .optional::<TypeRow>()
        .await?;
    Ok(row.map(Registered::from))
}

/// By name, those behind `after`.
pub(super) async fn types<'c>(on: impl On<'c>, after: &str, limit: u32) -> db::Result<Vec<Registered>> {
    let rows = on
        .query(
            "SELECT name, version, description, schema, created_at, updated_at
             FROM event_types
             WHERE name > $1
             ORDER BY name
             LIMIT $2",
        )
        .bind(after.to_owned())
        .bind(i64::from(limit))
        .all::<TypeRow>()
        .await?;
    Ok(rows.into_iter().map(Registered::from).collect())
}

/// The names of all; there are few.
pub(super) async fn names<'c>(on: impl On<'c>, max: i64) -> db::Result<Vec<String>> {
    let rows: Vec<(String,)> = on.query("SELECT name FROM event_types ORDER BY name LIMIT $1").bind(max).all().await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

pub(super) async fn count_types<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT count(*) FROM event_types").scalar().await
}

pub(super) async fn insert_type(tx: &mut Tx, new: &Registered) -> db::Result<()> {
    tx.query(
        "INSERT INTO event_types (name, version, description, schema, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.name.clone())
    .bind(new.version)
    .bind(new.description.clone())
    .bind(Json(new.schema.clone()))
    .bind(new.created_at)
    .bind(new.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn update_type(tx: &mut Tx, new: &Registered) -> db::Result<()> {
    tx.query("UPDATE event_types SET version = $2, description = $3, schema = $4, updated_at = $5 WHERE name = $1")
        .bind(new.name.clone())
        .bind(new.version)
        .bind(new.description.clone())
        .bind(Json(new.schema.clone()))
        .bind(new.updated_at)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn delete_type(tx: &mut Tx, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM event_types WHERE name = $1").bind(name.to_owned()).execute().await.map(|_| ())
}

/// As of which change some registered types are; one that is gone is left out.
pub(super) async fn versions(tx: &mut Tx, names: HashSet<&str>) -> db::Result<HashMap<String, Stamp>> {
    let rows: Vec<(String, i64, i64)> = tx
        .query(PerEngine {
            sqlite: "SELECT name, version, updated_at FROM event_types WHERE name IN (SELECT value FROM json_each($1))",
            postgres: "SELECT name, version, updated_at FROM event_types WHERE name IN (SELECT jsonb_array_elements_text($1))",
        })
        .bind(Json(names))
        .all()
        .await?;
    Ok(rows.into_iter().map(|(name, version, updated_at)| (name, Stamp { version, updated_at })).collect())
}
