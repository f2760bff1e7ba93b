//! `/admin/audit/chain`: the log as it was linked, for whoever verifies it by themselves.

use axum::extract::State;
use clearway_config::{audit::ChainedEntry, envelope::Success};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store;
use crate::http::{AdminPlatform, Answer, Answered, Api, Fields, Form, Permit, Query, fields};

/// Links on a page at most.
const LIMIT_MAX: u64 = 1_000;

pub(in crate::audit) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ChainParams {
    /// The number of the last link that is known: what comes after it is answered.
    after: Option<u64>,
    /// How many links, 1 to 1,000; 100 when left out.
    limit: Option<u64>,
}

#[derive(Debug)]
struct ChainQuery {
    after: u64,
    limit: u64,
}

impl Form for ChainQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let after = fields.optional("after", fields::number(0, i64::MAX as u64));
        let limit = fields.optional("limit", fields::number(1, LIMIT_MAX));
        Some(Self { after: after?.unwrap_or(0), limit: limit?.unwrap_or(100) })
    }
}

/// Links in their order.
#[derive(Debug, Serialize, ToSchema)]
struct ChainView {
    items: Vec<LinkView>,
    /// What is in no link, on the last page only.
    unlinked: Option<UnlinkedView>,
}

/// Entries without a link.
#[derive(Debug, Serialize, ToSchema)]
struct UnlinkedView {
    /// Written a moment ago: they get theirs within seconds.
    waiting: i64,
    /// Written, and taken out of the log before they got theirs. Clearway takes nothing out.
    lost: i64,
    /// In the log, though Clearway has not written them.
    strange: i64,
}

/// An entry, and what it was hashed to.
#[derive(Debug, Serialize, ToSchema)]
struct LinkView {
    /// Its place, from 1 without gaps.
    number: u64,
    /// SHA-256 over the link before, the number and the entry, in hexadecimal.
    link: String,
    /// The entry as it is in the log now; null where it is gone.
    entry: Option<ChainedEntry>,
}

/// Read the audit log's chain
///
/// Every entry of every account in the order in which they were linked, oldest first. `clearway audit verify` reads it and
/// computes every link anew.
#[utoipa::path(get, path = "/admin/audit/chain", operation_id = "audit_chain", tag = "audit", params(ChainParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "Links in their order", body = Success<ChainView>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(query): Query<ChainQuery>) -> Answered {
    let links = store::links_after(&api.db, query.after, query.limit).await?;
    let last = (links.len() as u64) < query.limit;
    let items = links.into_iter().map(|(number, link, entry)| LinkView { number, link: link.to_string(), entry }).collect();
    let unlinked = if last {
        let store::Unlinked { waiting, lost, strange } = store::unlinked(&api.db).await?;
        Some(UnlinkedView { waiting, lost, strange })
    } else {
        None
    };
    Answer::ok(&ChainView { items, unlinked })
}
