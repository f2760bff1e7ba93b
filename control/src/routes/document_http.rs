//! `/admin/gateway`: the whole document, for `clearway export` and `clearway apply`.

use axum::extract::State;
use clearway_config::{envelope::Success, settings::Document};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    RouteError,
    apply::{self, Difference},
    check, store,
};
use crate::{
    http::{AdminPlatform, Answer, Answered, Api, ApiError, Fields, Form, JsonObject, Permit, Query, issue},
    sync::{Propagation, Wait},
};

/// Bytes of a document at most: a hundred thousand routes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read, replace))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ReplaceParams {
    /// `true` says what would change, and changes nothing.
    dry_run: Option<bool>,
}

#[derive(Debug)]
struct ReplaceForm {
    dry_run: bool,
}

impl Form for ReplaceForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let flag = |value: &Value| match value.as_str() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(("format_invalid", "must be true or false".to_owned())),
        };
        Some(Self { dry_run: fields.optional("dry_run", flag)?.unwrap_or(false) })
    }
}

/// What a document changes, or would.
#[derive(Debug, Serialize, ToSchema)]
struct Applied {
    /// In the order in which they are made.
    changes: Vec<Difference>,
    /// Whether nothing was changed because only the differences were asked for.
    dry_run: bool,
    /// How far the changes have come; null where there were none.
    propagation: Option<Propagation>,
}

/// Read the gateway's document
///
/// All routes and upstreams that the control plane tells its proxies, as one document. What a proxy reads from its own
/// file is not in it.
#[utoipa::path(get, path = "/admin/gateway", operation_id = "gateway_read", tag = "gateway", security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The document", body = Success<Document>)))]
async fn read(State(api): State<Api>, _: Permit<AdminPlatform>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let objects = apply::all(&mut tx).await?.into_values().map(|stored| stored.object);
    Answer::ok(&check::read(objects).map_err(RouteError::from)?)
}

/// Replace the gateway's document
///
/// Makes the stored objects those of the document, in one transaction: what is not in it is deleted. A document that is
/// wrong changes nothing. Answers once every proxy has acknowledged it, or refuses all requests.
#[utoipa::path(put, path = "/admin/gateway", operation_id = "gateway_replace", tag = "gateway", params(ReplaceParams),
    request_body = Document, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "What was changed", body = Success<Applied>)))]
async fn replace(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Query(ReplaceForm { dry_run }): Query<ReplaceForm>,
    JsonObject(members): JsonObject<DOCUMENT_BYTES_MAX>,
) -> Answered {
    let document: Document = serde_json::from_value(Value::Object(members))
        .map_err(|error| ApiError::invalid(&[issue("body", "invalid", error.to_string())]))?;
    let mut tx = if dry_run { api.db.begin_read().await? } else { api.db.begin().await? };
    if !dry_run {
        store::lock(&mut tx).await?;
    }
    let plan = apply::plan(&mut tx, document).await?;
    let changes = plan.differences();
    if dry_run {
        return Answer::ok(&Applied { changes, dry_run, propagation: None });
    }
    let revision = apply::carry_out(&mut tx, &api.world, &caller, plan).await?;
    tx.commit().await?;
    let propagation = match revision {
        Some(revision) => {
            let objects = changes.iter().map(|change| super::id(change.kind, &change.name)).collect();
            Some(api.hub.objects_propagated(revision, objects, Wait::Enforced).await)
        }
        None => None,
    };
    Answer::ok(&Applied { changes, dry_run, propagation })
}
