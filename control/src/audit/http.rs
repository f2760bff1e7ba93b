//! `GET /audit`.

use std::collections::BTreeMap;

use axum::extract::State;
use clearway_config::{AccountId, AuditId, UserId, envelope::Success};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ACTIONS, Change, chain, store};
use crate::{
    db::{self, On},
    http::{Answer, Answered, Api, Fields, Form, List, PageParams, Paging, Permit, Query, ReadAudit, fields, time::rfc3339},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).merge(chain::routes())
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Only what was done to this object.
    object_id: Option<String>,
    /// Only this action, such as `key.rotated`.
    action: Option<String>,
    /// Another account's entries; for admins, whose default is every account's.
    account_id: Option<String>,
}

#[derive(Debug)]
struct ListQuery {
    object_id: Option<String>,
    action: Option<String>,
    account_id: Option<AccountId>,
    paging: Paging<AuditId>,
}

impl Form for ListQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let object_id = fields.optional("object_id", fields::text(64));
        let action = fields.optional("action", |value| {
            let action = fields::text(64)(value)?;
            let known = ACTIONS.contains(&action.as_str());
            if known { Ok(action) } else { Err(("unknown", format!("must be one of {}", ACTIONS.join(", ")))) }
        });
        let account_id = fields.optional("account_id", fields::parsed);
        let paging = Paging::read(fields);
        Some(Self { object_id: object_id?, action: action?, account_id: account_id?, paging: paging? })
    }
}

/// One entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// `aud_…`
    id: String,
    account_id: String,
    /// RFC 3339 in UTC.
    at: String,
    actor: ActorView,
    action: String,
    object: ObjectView,
    /// The fields that changed, before and after.
    changes: BTreeMap<String, Change>,
    /// The request that did it.
    request_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ActorView {
    /// `key`, `user` or `system`.
    kind: String,
    id: String,
    /// Where the request came from.
    address: Option<String>,
    /// The admin who acted as this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator_id: Option<String>,
    /// The application that acted, for the actor or by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ObjectView {
    /// `key`, `account` or `user`.
    kind: String,
    id: String,
}

impl From<store::Entry> for AuditView {
    fn from(entry: store::Entry) -> Self {
        Self {
            id: entry.id,
            account_id: entry.account_id,
            at: rfc3339(entry.at),
            actor: ActorView {
                kind: entry.actor_kind,
                id: entry.actor_id,
                address: entry.address,
                impersonator_id: entry.impersonator_id,
                client_id: entry.client_id,
            },
            action: entry.action,
            object: ObjectView { kind: entry.object_kind, id: entry.object_id },
            changes: entry.changes.0,
            request_id: entry.request_id,
        }
    }
}

/// What a person did, and what was done about them, newest first.
pub async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<AuditView>> {
    Ok(store::of_person(on, user, max).await?.into_iter().map(AuditView::from).collect())
}

/// List what was done
///
/// Newest first: the caller's account's entries; an admin sees those of every account.
#[utoipa::path(get, path = "/audit", operation_id = "audit_list", tag = "audit", params(ListParams, PageParams), security(("key" = ["read:audit"])),
    responses((status = 200, description = "A page of entries", body = Success<List<AuditView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadAudit>, Query(query): Query<ListQuery>) -> Answered {
    let account = match query.account_id {
        Some(named) => Some(caller.account(Some(named))?),
        None => caller.bounds(),
    };
    let page = store::list(&api.db, account, query.object_id, query.action, query.paging).await?;
    Answer::ok(&List::of(page.map(AuditView::from), None))
}
