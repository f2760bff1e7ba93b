//! `/admin/routes`, `/admin/upstreams` and so on: one object at a time.

use std::{fmt, str::FromStr};

use axum::extract::State;
use clearway_config::{
    envelope::Success,
    settings::gateway::{ClientCertificateSpec, IssuerSpec, Object, ObjectKind, PolicySpec, RouteSpec, UpstreamSpec},
};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::{Stored, put::put, remove::remove, store};
use crate::{
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Caller, Id, IfMatch, JsonObject, List, PageParams, Paging, Permit, Query,
        issue, tagged, time::rfc3339,
    },
    sync::{Objects, Propagation, Wait},
};

/// Characters in a name at most.
const NAME_CHARS_MAX: usize = 64;

/// A stored object: the words of `gateway.toml`, and these.
#[derive(Debug, Serialize, ToSchema)]
struct View<T> {
    #[serde(flatten)]
    spec: T,
    /// Counts the object's changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

/// An object after a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ObjectChanged)]
struct Changed<T> {
    #[serde(flatten)]
    object: View<T>,
    /// How far the change has come; null where nothing had to be changed.
    propagation: Option<Propagation>,
}

/// What is left of a deleted object.
#[derive(Debug, Serialize, ToSchema)]
struct Deleted {
    name: String,
    propagation: Propagation,
}

/// An object's name in a path.
#[derive(Debug)]
struct Name(String);

impl FromStr for Name {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if fits { Ok(Self(text.to_owned())) } else { Err(Malformed) }
    }
}

#[derive(Debug)]
struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name")
    }
}

/// Its spec with its name, as the view flattens it.
fn view(stored: Stored) -> View<Value> {
    View {
        version: stored.version,
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        spec: stored.object.into_value(),
    }
}

async fn list(api: &Api, kind: ObjectKind, paging: Paging<String>) -> Answered {
    let page = store::list(&api.db, kind, paging).await?;
    let total = store::count(&api.db, kind).await?;
    Answer::ok(&List::of(page.map(view), Some(total)))
}

async fn read(api: &Api, kind: ObjectKind, name: &str) -> Answered {
    let stored = store::find(&api.db, kind, name).await?.ok_or_else(ApiError::not_found)?;
    let version = stored.version;
    Ok(tagged(Answer::ok(&view(stored))?, version))
}

async fn replace(
    api: &Api,
    caller: &Caller,
    (kind, name): (ObjectKind, String),
    IfMatch(expected): IfMatch,
    mut spec: Map<String, Value>,
) -> Answered {
    if spec.remove("name").is_some_and(|said| said != *name) {
        return Err(ApiError::invalid(&[issue("name", "invalid", "is not the name in the path")]));
    }
    let mut tx = api.db.begin().await?;
    let objects = Objects::from([super::id(kind, &name)]);
    let put = put(&mut tx, &api.world, caller, Object { kind, name, spec }, expected).await?;
    tx.commit().await?;
    // A new object takes nothing away; a changed one may have shut somebody out.
    let wait = if put.created { Wait::Briefly } else { Wait::Enforced };
    let propagation = match put.revision {
        Some(revision) => Some(api.hub.objects_propagated(revision, objects, wait).await),
        None => None,
    };
    let (version, object) = (put.stored.version, view(put.stored));
    let changed = Changed { object, propagation };
    let answer = if put.created { Answer::created(&changed)? } else { Answer::ok(&changed)? };
    Ok(tagged(answer, version))
}

async fn delete(api: &Api, caller: &Caller, kind: ObjectKind, name: String, IfMatch(expected): IfMatch) -> Answered {
    let mut tx = api.db.begin().await?;
    let revision = remove(&mut tx, &api.world, caller, (kind, &name), expected).await?;
    tx.commit().await?;
    let objects = Objects::from([super::id(kind, &name)]);
    let propagation = api.hub.objects_propagated(revision, objects, Wait::Enforced).await;
    Answer::ok(&Deleted { name, propagation })
}

/// The four operations on one kind of object.
macro_rules! operations {
    ($module:ident, $kind:expr, $spec:ty, $collection:literal, $object:literal, $noun:literal,
     [$list:literal, $read:literal, $put:literal, $delete:literal]) => {
        mod $module {
            use super::*;

            pub(super) fn routes() -> OpenApiRouter<Api> {
                OpenApiRouter::new().routes(utoipa_axum::routes!(list)).routes(utoipa_axum::routes!(read, replace, delete))
            }

            #[utoipa::path(get, path = $collection, operation_id = $list, tag = "gateway", params(PageParams),
                        summary = concat!("List ", $noun, "s"), description = "By name.", security(("key" = ["admin:platform"])),
                        responses((status = 200, description = "A page of them", body = Success<List<View<$spec>>>)))]
            async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<String>>) -> Answered {
                super::list(&api, $kind, paging).await
            }

            #[utoipa::path(get, path = $object, operation_id = $read, tag = "gateway",
                        summary = concat!("Read one of the ", $noun, "s"), description = "As it is written, with its version.",
                        params(("id" = String, Path, description = "Its name")), security(("key" = ["admin:platform"])),
                        responses((status = 200, description = "As it is written", body = Success<View<$spec>>)))]
            async fn read(State(api): State<Api>, _: Permit<AdminPlatform>, Id(Name(name)): Id<Name>) -> Answered {
                super::read(&api, $kind, &name).await
            }

            #[utoipa::path(put, path = $object, operation_id = $put, tag = "gateway",
                        summary = concat!("Create or replace one of the ", $noun, "s"),
                        description = "The name may be left out of the body. `If-Match` with the `ETag` that was read keeps two \
                    editors apart; `If-None-Match: *` only creates. A replacement is answered once every proxy has \
                    acknowledged it, or refuses all requests.",
                        params(("id" = String, Path, description = "Its name"),
                    ("If-Match" = Option<String>, Header, description = "The `ETag` that was read"),
                    ("If-None-Match" = Option<String>, Header, description = "`*`: only create")), request_body = $spec,
                        security(("key" = ["admin:platform"])),
                        responses((status = 200, description = "As it is now", body = Success<Changed<$spec>>),
                            (status = 201, description = "It was created", body = Success<Changed<$spec>>)))]
            async fn replace(
                State(api): State<Api>,
                caller: Permit<AdminPlatform>,
                Id(Name(name)): Id<Name>,
                expected: IfMatch,
                JsonObject(spec): JsonObject,
            ) -> Answered {
                super::replace(&api, &caller, ($kind, name), expected, spec).await
            }

            #[utoipa::path(delete, path = $object, operation_id = $delete, tag = "gateway",
                        summary = concat!("Delete one of the ", $noun, "s"),
                        description = "Refused while another object names it. Answered once every proxy has acknowledged it, or \
                    refuses all requests.",
                        params(("id" = String, Path, description = "Its name"),
                    ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
                        security(("key" = ["admin:platform"])),
                        responses((status = 200, description = "It is gone", body = Success<Deleted>)))]
            async fn delete(
                State(api): State<Api>,
                caller: Permit<AdminPlatform>,
                Id(Name(name)): Id<Name>,
                expected: IfMatch,
            ) -> Answered {
                super::delete(&api, &caller, $kind, name, expected).await
            }
        }
    };
}

operations!(
    routes_api,
    ObjectKind::Route,
    RouteSpec,
    "/admin/routes",
    "/admin/routes/{id}",
    "route",
    ["routes_list", "routes_read", "routes_put", "routes_delete"]
);
operations!(
    upstreams_api,
    ObjectKind::Upstream,
    UpstreamSpec,
    "/admin/upstreams",
    "/admin/upstreams/{id}",
    "upstream",
    ["upstreams_list", "upstreams_read", "upstreams_put", "upstreams_delete"]
);

operations!(
    issuers_api,
    ObjectKind::Issuer,
    IssuerSpec,
    "/admin/issuers",
    "/admin/issuers/{id}",
    "issuer",
    ["issuers_list", "issuers_read", "issuers_put", "issuers_delete"]
);
operations!(
    client_certificates_api,
    ObjectKind::ClientCertificate,
    ClientCertificateSpec,
    "/admin/client-certificates",
    "/admin/client-certificates/{id}",
    "client certificate",
    ["client_certificates_list", "client_certificates_read", "client_certificates_put", "client_certificates_delete"]
);

operations!(
    policies_api,
    ObjectKind::Policy,
    PolicySpec,
    "/admin/policies",
    "/admin/policies/{id}",
    "policy object",
    ["policies_list", "policies_read", "policies_put", "policies_delete"]
);

pub(super) fn routes() -> OpenApiRouter<Api> {
    routes_api::routes()
        .merge(upstreams_api::routes())
        .merge(policies_api::routes())
        .merge(issuers_api::routes())
        .merge(client_certificates_api::routes())
}
