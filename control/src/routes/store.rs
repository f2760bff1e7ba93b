//! Every statement on `gateway_objects`, `gateway_references` and `gateway_places`.

use clearway_config::settings::gateway::{Object, ObjectKind};
use serde_json::{Map, Value};
use sqlx::{FromRow, types::Json};

use super::Stored;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut, undecodable},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    kind: String,
    name: String,
    spec: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

#[derive(Debug, FromRow)]
struct NameRow {
    kind: String,
    name: String,
}

/// From here to the transaction's end no other changes an object: what was checked stays true. SQLite has one
/// writer anyway.
pub(super) async fn lock(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862437)" })
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn find<'c>(on: impl On<'c>, kind: ObjectKind, name: &str) -> db::Result<Option<Stored>> {
    let row = on
        .query("SELECT kind, name, spec, version, created_at, updated_at FROM gateway_objects WHERE kind = $1 AND name = $2")
        .bind(kind.as_str().to_owned())
        .bind(name.to_owned())
        .optional::<Row>()
        .await?;
    row.map(Stored::try_from).transpose()
}

/// By name.
pub(super) async fn list<'c>(on: impl On<'c>, kind: ObjectKind, paging: Paging<String>) -> db::Result<Page<Stored>> {
    let rows = on
        .query(
            "SELECT kind, name, spec, version, created_at, updated_at
             FROM gateway_objects
             WHERE kind = $1 AND name > $2
             ORDER BY name
             LIMIT $3 OFFSET $4",
        )
        .bind(kind.as_str().to_owned())
        .bind(paging.cursor.unwrap_or_default())
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let stored = rows.into_iter().map(Stored::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(stored, paging.limit, |stored| stored.object.name.clone()))
}

pub(super) async fn count<'c>(on: impl On<'c>, kind: ObjectKind) -> db::Result<i64> {
    on.query("SELECT count(*) FROM gateway_objects WHERE kind = $1").bind(kind.as_str().to_owned()).scalar().await
}

/// The next objects of all kinds, by kind and name.
pub(super) async fn after<'c>(on: impl On<'c>, kind: &str, name: &str, limit: u32) -> db::Result<Vec<Stored>> {
    let rows = on
        .query(
            "SELECT kind, name, spec, version, created_at, updated_at
             FROM gateway_objects
             WHERE kind > $1 OR (kind = $1 AND name > $2)
             ORDER BY kind, name
             LIMIT $3",
        )
        .bind(kind.to_owned())
        .bind(name.to_owned())
        .bind(i64::from(limit))
        .all::<Row>()
        .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

/// Those of `ids` (`kind/name`) that exist.
pub(super) async fn some<'c>(on: impl On<'c>, ids: &[String]) -> db::Result<Vec<Stored>> {
    let rows = on
        .query(PerEngine {
            sqlite: "SELECT o.kind, o.name, o.spec, o.version, o.created_at, o.updated_at
                     FROM json_each($1) wanted
                     JOIN gateway_objects o
                       ON o.kind = substr(wanted.value, 1, instr(wanted.value, '/') - 1)
                      AND o.name = substr(wanted.value, instr(wanted.value, '/') + 1)",
            postgres: "SELECT o.kind, o.name, o.spec, o.version, o.created_at, o.updated_at
                       FROM jsonb_array_elements_text($1) wanted (id)
                       JOIN gateway_objects o
                         ON o.kind = split_part(wanted.id, '/', 1) AND o.name = split_part(wanted.id, '/', 2)",
        })
        .bind(Json(ids.to_vec()))
        .all::<Row>()
        .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

/// Routes that have a place in common with these.
pub(super) async fn at_places(tx: &mut Tx, places: &[String]) -> db::Result<Vec<Stored>> {
    let rows = tx
        .query(PerEngine {
            sqlite: "SELECT kind, name, spec, version, created_at, updated_at
                     FROM gateway_objects
                     WHERE kind = 'route' AND name IN
                         (SELECT route FROM gateway_places WHERE place IN (SELECT value FROM json_each($1)))",
            postgres: "SELECT kind, name, spec, version, created_at, updated_at
                       FROM gateway_objects
                       WHERE kind = 'route' AND name IN
                           (SELECT route FROM gateway_places WHERE place IN (SELECT jsonb_array_elements_text($1)))",
        })
        .bind(Json(places.to_vec()))
        .all::<Row>()
        .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

/// Some of the objects that name this one, enough to say so.
pub(super) async fn referrers(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<Vec<(ObjectKind, String)>> {
    let rows = tx
        .query(
            "SELECT from_kind AS kind, from_name AS name
             FROM gateway_references
             WHERE to_kind = $1 AND to_name = $2
             ORDER BY from_kind, from_name
             LIMIT 5",
        )
        .bind(kind.as_str().to_owned())
        .bind(name.to_owned())
        .all::<NameRow>()
        .await?;
    rows.into_iter().map(|row| Ok((known(&row.kind)?, row.name))).collect()
}

/// Writes an object, and forgets what it named before.
pub(super) async fn put(tx: &mut Tx, stored: &Stored) -> db::Result<()> {
    let Stored { object, version, created_at, updated_at } = stored;
    let (kind, name) = (object.kind.as_str().to_owned(), object.name.clone());
    let spec = Value::Object(object.spec.clone()).to_string();
    tx.query(
        "INSERT INTO gateway_objects (kind, name, spec, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (kind, name) DO UPDATE
         SET spec = excluded.spec, version = excluded.version, updated_at = excluded.updated_at",
    )
    .bind(kind)
    .bind(name)
    .bind(spec)
    .bind(*version)
    .bind(*created_at)
    .bind(*updated_at)
    .execute()
    .await?;
    forget_links(tx, object.kind, &object.name).await
}

pub(super) async fn delete(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM gateway_objects WHERE kind = $1 AND name = $2")
        .bind(kind.as_str().to_owned())
        .bind(name.to_owned())
        .execute()
        .await?;
    forget_links(tx, kind, name).await
}

pub(super) async fn refer(tx: &mut Tx, from: (ObjectKind, &str), to: (ObjectKind, &str)) -> db::Result<()> {
    tx.query(
        "INSERT INTO gateway_references (from_kind, from_name, to_kind, to_name)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(from.0.as_str().to_owned())
    .bind(from.1.to_owned())
    .bind(to.0.as_str().to_owned())
    .bind(to.1.to_owned())
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn place(tx: &mut Tx, route: &str, place: &str) -> db::Result<()> {
    tx.query("INSERT INTO gateway_places (route, place) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(route.to_owned())
        .bind(place.to_owned())
        .execute()
        .await
        .map(|_| ())
}

async fn forget_links(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM gateway_references WHERE from_kind = $1 AND from_name = $2")
        .bind(kind.as_str().to_owned())
        .bind(name.to_owned())
        .execute()
        .await?;
    if kind == ObjectKind::Route {
        tx.query("DELETE FROM gateway_places WHERE route = $1").bind(name.to_owned()).execute().await?;
    }
    Ok(())
}

fn known(kind: &str) -> db::Result<ObjectKind> {
    ObjectKind::parse(kind).ok_or_else(|| undecodable("gateway_objects.kind", "a kind that this version does not know"))
}

impl TryFrom<Row> for Stored {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        let spec: Map<String, Value> =
            serde_json::from_str(&row.spec).map_err(|e| undecodable("gateway_objects.spec", &e.to_string()))?;
        let object = Object { kind: known(&row.kind)?, name: row.name, spec };
        Ok(Self { object, version: row.version, created_at: row.created_at, updated_at: row.updated_at })
    }
}
