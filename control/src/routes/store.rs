//! Every statement on `gateway_objects`, `gateway_references`, `gateway_places`, `gateway_counts` and
//! `gateway_arrangements`.

use clearway_config::settings::gateway::{ARRANGEMENTS_MAX, Object, ObjectKind, arrangement};
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
    on.query("SELECT CAST(COALESCE(SUM(objects), 0) AS BIGINT) FROM gateway_counts WHERE kind = $1")
        .bind(kind.as_str().to_owned())
        .scalar()
        .await
}

async fn count_more(tx: &mut Tx, kind: ObjectKind, more: i64) -> db::Result<()> {
    tx.query(
        "INSERT INTO gateway_counts (kind, objects)
         VALUES ($1, $2)
         ON CONFLICT (kind) DO UPDATE SET objects = gateway_counts.objects + excluded.objects",
    )
    .bind(kind.as_str().to_owned())
    .bind(more)
    .execute()
    .await
    .map(|_| ())
}

/// The first of these hosts whose routes have their parameters in more sets of places than a gateway takes.
pub(super) async fn overcrowded(tx: &mut Tx, hosts: &[String]) -> db::Result<Option<String>> {
    tx.query(PerEngine {
        sqlite: "SELECT host FROM gateway_arrangements
                 WHERE host IN (SELECT value FROM json_each($1))
                 GROUP BY host HAVING count(*) > $2
                 ORDER BY host LIMIT 1",
        postgres: "SELECT host FROM gateway_arrangements
                   WHERE host IN (SELECT jsonb_array_elements_text($1))
                   GROUP BY host HAVING count(*) > $2
                   ORDER BY host LIMIT 1",
    })
    .bind(Json(hosts.to_vec()))
    .bind(i64::try_from(ARRANGEMENTS_MAX).unwrap_or(i64::MAX))
    .optional::<(String,)>()
    .await
    .map(|row| row.map(|(host,)| host))
}

/// A route more, or less, that has its parameters in these places.
async fn arrange(tx: &mut Tx, place: &str, more: i64) -> db::Result<()> {
    let Some((host, arrangement)) = arrangement(place) else { return Ok(()) };
    tx.query(
        "INSERT INTO gateway_arrangements (host, arrangement, routes)
         VALUES ($1, $2, $3)
         ON CONFLICT (host, arrangement) DO UPDATE SET routes = gateway_arrangements.routes + excluded.routes",
    )
    .bind(host.to_owned())
    .bind(arrangement)
    .bind(more)
    .execute()
    .await?;
    if more < 0 {
        tx.query("DELETE FROM gateway_arrangements WHERE host = $1 AND routes <= 0").bind(host.to_owned()).execute().await?;
    }
    Ok(())
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
pub(super) async fn referrers(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<Vec<(String, String)>> {
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
    Ok(rows.into_iter().map(|row| (row.kind, row.name)).collect())
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
    // The first version of an object has named nothing yet.
    if *version == 1 { count_more(tx, object.kind, 1).await } else { forget_links(tx, object.kind, &object.name).await }
}

pub(super) async fn delete(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM gateway_objects WHERE kind = $1 AND name = $2")
        .bind(kind.as_str().to_owned())
        .bind(name.to_owned())
        .execute()
        .await?;
    count_more(tx, kind, -1).await?;
    forget_links(tx, kind, name).await
}

/// An object's kind and name, or those of an account.
pub(super) async fn refer(tx: &mut Tx, from: (&str, &str), to: (ObjectKind, &str)) -> db::Result<()> {
    tx.query(
        "INSERT INTO gateway_references (from_kind, from_name, to_kind, to_name)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(from.0.to_owned())
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
        .await?;
    arrange(tx, place, 1).await
}

pub(super) async fn forget_references(tx: &mut Tx, kind: &str, name: &str) -> db::Result<()> {
    tx.query("DELETE FROM gateway_references WHERE from_kind = $1 AND from_name = $2")
        .bind(kind.to_owned())
        .bind(name.to_owned())
        .execute()
        .await
        .map(|_| ())
}

async fn forget_links(tx: &mut Tx, kind: ObjectKind, name: &str) -> db::Result<()> {
    forget_references(tx, kind.as_str(), name).await?;
    if kind == ObjectKind::Route {
        let places: Vec<(String,)> =
            tx.query("SELECT place FROM gateway_places WHERE route = $1").bind(name.to_owned()).all().await?;
        tx.query("DELETE FROM gateway_places WHERE route = $1").bind(name.to_owned()).execute().await?;
        for (place,) in places {
            arrange(tx, &place, -1).await?;
        }
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
