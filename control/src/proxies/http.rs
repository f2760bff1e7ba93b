//! `GET /admin/proxies`.

use axum::extract::State;
use clearway_config::{ProxyId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store;
use crate::{
    egress::AttachedProxy,
    http::{AdminPlatform, Answer, Answered, Api, List, PageParams, Paging, Permit, Query, time::rfc3339},
    sync::{Refused, Status},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
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
    /// Whether it takes attempts at webhooks from the control process that answers.
    delivers: bool,
    /// The last revision that it is known to hold.
    revision: i64,
    /// Revisions that it has not acknowledged yet; null for one that was not heard of lately.
    lag: Option<u64>,
    first_seen_at: String,
    last_seen_at: String,
    /// How many objects it holds and does not act by, because of its own files or because it does not understand them.
    refused_count: u32,
    /// The first 64 of those.
    refused: Vec<RefusedView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"object": "route/orders", "reason": "name: `orders` is taken"}))]
struct RefusedView {
    /// Kind and name; null is every change of the gateway's objects since the last one that it took.
    object: Option<String>,
    reason: String,
}

impl ProxyView {
    /// What the table remembers, and what sync knows at this moment.
    fn new(row: store::Row, status: &Status, attached: &[AttachedProxy]) -> Self {
        let store::Row { id, name, version, revision, created_at, last_seen_at, refused } = row;
        let live = status.proxies.iter().find(|proxy| proxy.id.to_string() == id);
        let refused = live.map_or_else(|| Refused::parse(&refused), |proxy| proxy.refused.clone());
        let delivers = attached.iter().any(|proxy| !proxy.draining && proxy.id.to_string() == id);
        Self {
            id,
            name,
            version,
            connected: live.is_some_and(|proxy| proxy.connected),
            delivers,
            revision: live.map_or(revision, |proxy| proxy.acknowledged.0),
            lag: live.map(|proxy| proxy.lag),
            first_seen_at: rfc3339(created_at),
            last_seen_at: rfc3339(last_seen_at),
            refused_count: refused.count,
            refused: refused
                .objects
                .into_iter()
                .map(|refused| RefusedView { object: refused.object, reason: refused.reason })
                .collect(),
        }
    }
}

/// List proxies
#[utoipa::path(get, path = "/admin/proxies", operation_id = "proxies_list", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of proxies", body = Success<List<ProxyView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<ProxyId>>) -> Answered {
    let page = store::list(&api.db, paging).await?;
    let (status, attached) = (api.hub.status(), api.egress.proxies());
    Answer::ok(&List::of(page.map(|row| ProxyView::new(row, &status, &attached)), None))
}
