//! `GET /admin/proxies`.

use axum::extract::State;
use clearway_config::{ProxyId, envelope::Success};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store;
use crate::{
    http::{AdminPlatform, Answer, Answered, Api, Fields, Form, List, Paging, Permit, Query, time::rfc3339},
    sync::Status,
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Proxies on a page, 1 to 100; 20 when left out.
    limit: Option<u32>,
    /// Proxies to pass over.
    offset: Option<u32>,
    /// Where an earlier page ended.
    cursor: Option<String>,
}

#[derive(Debug)]
struct ListForm(Paging<ProxyId>);

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Paging::read(fields).map(Self)
    }
}

/// A proxy that has attached to this control plane.
#[derive(Debug, Serialize, ToSchema)]
struct ProxyView {
    /// `prx_…`, of the proxy's data directory.
    id: String,
    name: String,
    version: String,
    /// Whether it is attached to the control process that answers.
    connected: bool,
    /// The last revision that it is known to hold.
    revision: i64,
    /// Revisions that it has not acknowledged yet; null for one that was not heard of lately.
    lag: Option<u64>,
    first_seen_at: String,
    last_seen_at: String,
}

impl ProxyView {
    /// What the table remembers, and what sync knows at this moment.
    fn new(row: store::Row, status: &Status) -> Self {
        let store::Row { id, name, version, revision, created_at, last_seen_at } = row;
        let live = status.proxies.iter().find(|proxy| proxy.id.to_string() == id);
        Self {
            id,
            name,
            version,
            connected: live.is_some_and(|proxy| proxy.connected),
            revision: live.map_or(revision, |proxy| proxy.acknowledged.0),
            lag: live.map(|proxy| proxy.lag),
            first_seen_at: rfc3339(created_at),
            last_seen_at: rfc3339(last_seen_at),
        }
    }
}

/// List proxies
#[utoipa::path(get, path = "/admin/proxies", operation_id = "proxies_list", tag = "admin", params(ListParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of proxies", body = Success<List<ProxyView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(form): Query<ListForm>) -> Answered {
    let page = store::list(&api.db, form.0).await?;
    let status = api.hub.status();
    Answer::ok(&List::of(page.map(|row| ProxyView::new(row, &status)), None))
}
