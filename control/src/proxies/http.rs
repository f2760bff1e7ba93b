//! `/admin/proxies`.

use axum::extract::State;
use clearway_config::{ProxyId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{forget::forget, store};
use crate::{
    egress::AttachedProxy,
    http::{AdminPlatform, Answer, Answered, Api, Id, List, PageParams, Paging, Permit, Query, time::rfc3339},
    sync::{self, ProxyStatus, Refused, Status},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(delete))
}

/// A proxy that has attached to a control process of this control plane.
#[derive(Debug, Serialize, ToSchema)]
struct ProxyView {
    /// `prx_…`, of the proxy's data directory.
    id: String,
    name: String,
    version: String,
    /// Whether it is attached to any control process.
    connected: bool,
    /// The control process that it is, or was last, attached to.
    control: Option<String>,
    /// Whether it takes attempts at webhooks from the control process that answers.
    delivers: bool,
    /// The last revision that it is known to hold.
    revision: i64,
    /// Revisions that it has not acknowledged yet; null for one that was not heard of lately.
    lag: Option<u64>,
    /// For how many milliseconds there has been a revision that it has not acknowledged; null as `lag` is.
    lag_ms: Option<u64>,
    auth_lease: Option<AuthLeaseView>,
    /// How the Redis that quotas are shared by is for it; null where it has none, or is too old to say.
    quota_store: Option<QuotaStoreView>,
    /// Null for one that has not said lately.
    load: Option<LoadView>,
    first_seen_at: String,
    last_seen_at: String,
    /// How many objects it holds and does not act by, because of its own files or because it does not understand them.
    refused_count: u32,
    /// The first 64 of those.
    refused: Vec<RefusedView>,
}

/// How long it may decide requests without hearing from control; null for one that was not heard of lately.
#[derive(Debug, Serialize, ToSchema)]
struct AuthLeaseView {
    /// Without a lease it refuses every request. False: it serves on, or has not yet said that it would not.
    strict: bool,
    /// About; 0 is none.
    left_ms: u64,
    /// It refuses every request: it is strict and its lease has run out.
    fenced: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct QuotaStoreView {
    reached: bool,
    /// Since when it has not been reached.
    lost_since: Option<String>,
    /// Requests that were admitted beyond limits meanwhile, at most, in windows that still run.
    excess_max: u64,
}

/// What it did over the last seconds.
#[derive(Debug, Serialize, ToSchema)]
struct LoadView {
    requests_per_second: f64,
    in_flight: u64,
    /// Processors in use: 1 is one.
    cpus: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProxyForgotten {
    id: String,
    name: String,
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
    fn new(row: store::Row, status: &Status, attached: &[AttachedProxy], now_ms: i64) -> Self {
        let store::Row { id, name, version, revision, created_at, last_seen_at, refused, control, report, ago_ms, .. } = row;
        let live = status.proxies.iter().find(|proxy| proxy.id.to_string() == id);
        let refused = live.map_or_else(|| Refused::parse(&refused), |proxy| proxy.refused.clone());
        let delivers = attached.iter().any(|proxy| !proxy.draining && proxy.id.to_string() == id);
        let connected = live.is_some_and(|proxy| proxy.connected);
        // The table is a little behind for one that is attached here.
        let report = live.and_then(|proxy| proxy.report).or_else(|| sync::Report::parse(&report)).filter(|_| connected);
        let ago_ms = if live.is_some_and(|proxy| proxy.here) { 0 } else { ago_ms };
        Self {
            id,
            name,
            version,
            connected,
            control: Some(control).filter(|control| !control.is_empty()),
            delivers,
            revision: live.map_or(revision, |proxy| proxy.acknowledged.0),
            lag: live.map(|proxy| proxy.lag),
            lag_ms: live.map(|proxy| if proxy.lag == 0 { 0 } else { u64::try_from(row.behind_ms).unwrap_or(0) }),
            auth_lease: live.map(AuthLeaseView::of),
            quota_store: report.and_then(|report| report.quota_store).map(|store| QuotaStoreView {
                reached: store.reached,
                lost_since: (!store.reached)
                    .then(|| rfc3339(now_ms - ago_ms - i64::try_from(store.lost_ms).unwrap_or(i64::MAX / 4))),
                excess_max: store.excess_max,
            }),
            load: report.map(|report| LoadView {
                requests_per_second: report.requests_per_second,
                in_flight: report.in_flight,
                cpus: report.cpus,
            }),
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

impl AuthLeaseView {
    fn of(proxy: &ProxyStatus) -> Self {
        let left_ms = u64::try_from(proxy.lease_left.as_millis()).unwrap_or(u64::MAX);
        Self { strict: !proxy.unbounded, left_ms, fenced: proxy.is_fenced() }
    }
}

/// List proxies
///
/// With how far each has come with the latest changes, and what it refuses to take. Those that have been silent for
/// long are not listed.
#[utoipa::path(get, path = "/admin/proxies", operation_id = "proxies_list", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of proxies", body = Success<List<ProxyView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<ProxyId>>) -> Answered {
    let page = store::list(&api.db, paging).await?;
    let (status, attached) = (api.hub.status(), api.egress.proxies());
    let now_ms = api.world.now_ms();
    Answer::ok(&List::of(page.map(|row| ProxyView::new(row, &status, &attached, now_ms)), None))
}

/// Forget a proxy
///
/// One that is gone for good; it is listed anew should it attach again. Refused while it is connected, and until its auth
/// lease has surely run out, since a revoke has to wait for it as long.
#[utoipa::path(delete, path = "/admin/proxies/{id}", operation_id = "proxies_forget", tag = "admin",
    params(("id" = String, Path, description = "`prx_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "It is no longer listed", body = Success<ProxyForgotten>)))]
async fn delete(State(api): State<Api>, caller: Permit<AdminPlatform>, Id(id): Id<ProxyId>) -> Answered {
    let name = forget(&api, &caller, &id).await?;
    Answer::ok(&ProxyForgotten { id: id.to_string(), name })
}
