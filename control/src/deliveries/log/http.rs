//! `GET /webhooks/{id}/logs`, `GET /deliveries`, `GET /deliveries/{id}`.

use axum::extract::State as Given;
use clearway_config::{AccountId, DeliveryId, WebhookId, envelope::Success};
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::model::State,
    store::{self, Filter, LineId},
    view::{DeliveryDetails, DeliveryView, LogList, LogView, details},
};
use crate::{
    http::{
        Answer, Answered, Api, ApiError, Fields, Form, Id, List, PageParams, Paging, Permit, Query, ReadWebhooks,
        fields::{self, Wrong, number, parsed},
        time::moment,
    },
    webhooks,
};

/// Characters of an event's type and of an object's id in a filter at most.
const TEXT_MAX: usize = 256;

pub(in super::super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(logs)).routes(routes!(list)).routes(routes!(read))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct LogParams {
    /// Only attempts of events of this type.
    event_type: Option<String>,
    /// Only attempts that were answered with this status.
    status_code: Option<u16>,
}

#[derive(Debug)]
struct LogForm {
    event_type: Option<String>,
    status: Option<i64>,
    paging: Paging<LineId>,
}

impl Form for LogForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let event_type = fields.optional("event_type", fields::text(TEXT_MAX));
        let status = fields.optional("status_code", status);
        let paging = Paging::read(fields);
        Some(Self { event_type: event_type?, status: status?, paging: paging? })
    }
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Only to this webhook.
    webhook_id: Option<String>,
    /// Only of this event.
    event_id: Option<String>,
    event_type: Option<String>,
    /// Only of events about this object.
    object_id: Option<String>,
    /// `pending`, `waiting`, `succeeded`, `failed` or `cancelled`.
    state: Option<String>,
    /// Only those whose last attempt was answered with this status.
    status_code: Option<u16>,
    /// Made at this RFC 3339 time or later.
    from: Option<String>,
    /// Made before this time.
    to: Option<String>,
    /// Another account's deliveries; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
struct ListForm {
    account_id: Option<AccountId>,
    filter: Filter,
    paging: Paging<DeliveryId>,
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let webhook = fields.optional("webhook_id", parsed);
        let event = fields.optional("event_id", parsed);
        let event_type = fields.optional("event_type", fields::text(TEXT_MAX));
        let object_id = fields.optional("object_id", fields::text(TEXT_MAX));
        let state = fields.optional("state", state);
        let status = fields.optional("status_code", status);
        let from = fields.optional("from", moment);
        let to = fields.optional("to", moment);
        let account_id = fields.optional("account_id", parsed);
        let paging = Paging::read(fields);
        let filter = Filter {
            webhook: webhook?,
            event: event?,
            event_type: event_type?,
            object_id: object_id?,
            state: state?.map(State::as_str),
            status: status?,
            from: from?,
            to: to?,
        };
        Some(Self { account_id: account_id?, filter, paging: paging? })
    }
}

/// As it stands in a form.
pub(in super::super) fn state(value: &Value) -> Result<State, Wrong> {
    let words = || State::ALL.map(State::as_str).join(", ");
    value.as_str().and_then(State::parse).ok_or_else(|| ("unknown", format!("must be one of {}", words())))
}

fn status(value: &Value) -> Result<i64, Wrong> {
    number(100, 599)(value).map(|status| i64::try_from(status).unwrap_or(0))
}

/// Read a webhook's log
///
/// Every attempt, those of the newest events first.
#[utoipa::path(get, path = "/webhooks/{id}/logs", operation_id = "webhooks_logs", tag = "webhooks", params(LogParams, PageParams,
    ("id" = String, Path, description = "The webhook's id, `wh_…`")), security(("key" = ["read:webhooks"])),
    responses((status = 200, description = "A page of the log", body = Success<LogList>)))]
async fn logs(
    Given(api): Given<Api>,
    caller: Permit<ReadWebhooks>,
    Id(id): Id<WebhookId>,
    Query(form): Query<LogForm>,
) -> Answered {
    webhooks::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let page = store::lines(&api.db, id, form.event_type, form.status, form.paging).await?;
    Answer::ok(&LogList { logs: page.items.into_iter().map(LogView::from).collect(), next_cursor: page.next })
}

/// List deliveries
///
/// Newest first. One that is being attempted for the first time may not be in the list yet.
#[utoipa::path(get, path = "/deliveries", operation_id = "deliveries_list", tag = "webhooks", params(ListParams, PageParams),
    security(("key" = ["read:webhooks"])),
    responses((status = 200, description = "A page of deliveries", body = Success<List<DeliveryView>>)))]
async fn list(Given(api): Given<Api>, caller: Permit<ReadWebhooks>, Query(form): Query<ListForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.filter, form.paging).await?;
    Answer::ok(&List::of(page.map(DeliveryView::from), None))
}

/// Read a delivery
///
/// With its attempts.
#[utoipa::path(get, path = "/deliveries/{id}", operation_id = "deliveries_read", tag = "webhooks",
    params(("id" = String, Path, description = "The delivery's id, `dlv_…`")), security(("key" = ["read:webhooks"])),
    responses((status = 200, description = "The delivery and its attempts", body = Success<DeliveryDetails>)))]
async fn read(Given(api): Given<Api>, caller: Permit<ReadWebhooks>, Id(id): Id<DeliveryId>) -> Answered {
    let delivery = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    Answer::ok(&details(&api.db, delivery).await?)
}
