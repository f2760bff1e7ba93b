//! The REST API, put together from the features, and its OpenAPI document. Nothing else knows them all.

use ::http::header;
use axum::{Extension, Router, response::IntoResponse};
use clearway_config::envelope::{Failure, FieldIssue};
use serde::Serialize as _;
use serde_json::{Value, ser::PrettyFormatter};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    accounts, apps, audit, auth, catalogue, certificates, deliveries, events, factors,
    http::{self, Api},
    identities, impersonation, installations, keys, mail, members, oauth, plans, portfolio, privacy, products, profile, proxies,
    reviews, routes as gateway, stores, tickets, usage, users, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Clearway API",
        version = "1",
        description = "Keys, plans and usage of Clearway, the API gateway. Every answer has the same envelope: `id`, `status`, \
            `code`, `data` or `error`, and `meta`. Unknown fields are refused. Lists are paged by `limit` and `cursor` (or `offset`).",
        contact(name = "Clearway"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The gateway")),
    components(schemas(Failure, FieldIssue)),
    tags(
        (name = "auth", description = "Registering, signing in and out, passwords that were forgotten"),
        (name = "people", description = "Who one is, where one is signed in, and who belongs to an account"),
        (name = "keys", description = "API keys: what clients of the gateway authenticate with"),
        (name = "webhooks", description = "Where an account's events are posted to, and how they are signed"),
        (name = "stores", description = "Stores and their products; every change of a product is an event"),
        (name = "apps", description = "Apps that an account offers to others: writing, submitting and publishing them"),
        (name = "marketplace", description = "The catalogue of apps, which anybody may read; installing and rating them"),
        (name = "support", description = "Tickets: what an account asks whoever runs Clearway"),
        (name = "analytics", description = "What the gateway admitted"),
        (name = "audit", description = "What was done, by whom and from where"),
        (name = "billing", description = "Plans"),
        (name = "events", description = "What happened, its types, and emitting one's own"),
        (name = "oauth", description = "OAuth applications, and which have access. `/.well-known/oauth-authorization-server` describes the protocol"),
        (name = "gateway", description = "Routes and upstreams of all proxies, for operators: scope `admin:platform`"),
        (name = "admin", description = "For operators: scope `admin:platform`"),
        (name = "meta", description = "About the API itself"),
    ),
)]
struct Base;

/// The document, as it is served.
#[derive(Clone)]
struct Document(Arc<str>);

/// Every operation, with its layers.
pub fn router(api: Api) -> Router {
    let (routes, document) = parts();
    let document = Document(pretty(&document).into());
    let events = events::Events::new(&api);
    let routes = routes.merge(oauth::protocol());
    http::serve(routes.layer(Extension(document)).layer(Extension(events)), api)
}

/// The OpenAPI 3.1 document.
pub fn document() -> String {
    pretty(&parts().1)
}

fn parts() -> (Router<Api>, Value) {
    let v1 = OpenApiRouter::new()
        .merge(auth::routes())
        .merge(profile::routes())
        .merge(members::routes())
        .merge(factors::routes())
        .merge(identities::routes())
        .merge(privacy::routes())
        .merge(users::routes())
        .merge(impersonation::routes())
        .merge(keys::routes())
        .merge(usage::routes())
        .merge(audit::routes())
        .merge(plans::routes())
        .merge(accounts::routes())
        .merge(proxies::routes())
        .merge(gateway::routes())
        .merge(certificates::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(webhooks::brand_routes())
        .merge(apps::routes())
        .merge(catalogue::routes())
        .merge(installations::routes())
        .merge(reviews::routes())
        .merge(portfolio::routes())
        .merge(tickets::routes())
        .merge(stores::routes())
        .merge(products::routes())
        .merge(deliveries::routes())
        .merge(mail::routes())
        .merge(oauth::routes())
        .routes(routes!(openapi));
    let aliases = OpenApiRouter::new()
        .merge(keys::routes())
        .merge(webhooks::routes())
        .merge(catalogue::aliases())
        .merge(apps::aliases())
        .merge(usage::aliases());
    let (routes, document) = OpenApiRouter::with_openapi(Base::openapi())
        .nest("/api/v1", v1)
        // Seed 001 has these here.
        .nest("/api/v1/marketplace", aliases)
        .split_for_parts();
    let document = serde_json::to_value(document).expect("a document of text and numbers");
    (routes, http::openapi::complete(document))
}

/// Indented by one blank, which a document as deep as this one is a third shorter by; and with the members of objects in
/// alphabetical order: whether `serde_json` keeps their order is for all crates of a
/// build to decide together, and the text must not depend on that.
fn pretty(document: &Value) -> String {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    sorted(document).serialize(&mut writer).expect("a document of text and numbers");
    text.push(b'\n');
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, member)| (name.clone(), sorted(member))).collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Read this document
///
/// For generators of clients, and for whoever explores the API.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi_read", tag = "meta",
    responses((status = 200, description = "This OpenAPI 3.1 document", content_type = "application/json", body = Object)))]
async fn openapi(Extension(Document(text)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}

/// `docs/errors.md`.
pub fn errors() -> String {
    let mut text = String::from(
        "# Error codes\n\nEvery refusal of the gateway and of the API carries one of these in `error.type`. \
         A code may be added; none changes its meaning. This page is written by `clearway-control errors`.\n\n\
         | code | status | meaning |\n|---|---|---|\n",
    );
    for code in clearway_config::ErrorCode::ALL {
        text.push_str(&format!("| `{code}` | {} | {} |\n", code.status(), code.meaning()));
    }
    text
}
