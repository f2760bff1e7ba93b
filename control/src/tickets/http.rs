//! `/support/tickets`.

use axum::extract::State as Given;
use clearway_config::{AccountId, TicketId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act,
    model::{BODY_CHARS_MAX, Message, SUBJECT_CHARS_MAX, State, Ticket},
    store,
};
use crate::http::{
    AdminPlatform, Answer, Answered, Api, ApiError, Body, Fields, Form, Id, List, PageParams, Paging, Permit, Query, ReadUser,
    Repeatable, Turn, WriteUser,
    fields::{Wrong, parsed, text, text_or_none},
    time::rfc3339,
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read))
        .routes(routes!(write))
        .routes(routes!(close))
        .routes(routes!(list_all))
}

#[derive(Debug, ToSchema)]
#[schema(as = SupportTicketForm, example = json!({"subject": "Deliveries are late", "body": "Since noon they take a minute."}))]
struct TicketForm {
    #[schema(min_length = 1, max_length = 200)]
    subject: String,
    /// Plain text with lines.
    #[schema(min_length = 1, max_length = 10000)]
    body: String,
}

impl Form for TicketForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let subject = fields.required("subject", text(SUBJECT_CHARS_MAX));
        let body = fields.required("body", lines);
        Some(Self { subject: subject?, body: body? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"body": "It is mended."}))]
struct TicketMessageForm {
    /// Plain text with lines.
    #[schema(min_length = 1, max_length = 10000)]
    body: String,
}

impl Form for TicketMessageForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { body: fields.required("body", lines)? })
    }
}

fn lines(value: &serde_json::Value) -> Result<String, Wrong> {
    let text = text_or_none(BODY_CHARS_MAX)(value)?;
    if text.trim().is_empty() { Err(("out_of_bounds", "must not be empty".into())) } else { Ok(text) }
}

/// A body without fields.
#[derive(Debug)]
struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Only those.
    #[param(inline)]
    state: Option<State>,
}

#[derive(Debug)]
struct ListForm {
    state: Option<State>,
    paging: Paging<TicketId>,
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let state = fields.optional("state", parsed);
        let paging = Paging::read(fields);
        Some(Self { state: state?, paging: paging? })
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"id": "tkt_1QjvzY8L2d0ZB9oU4hXwVq", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm",
    "subject": "Deliveries are late", "state": "open", "messages": 1, "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct TicketView {
    #[schema(value_type = String)]
    id: TicketId,
    #[schema(value_type = String)]
    account_id: AccountId,
    subject: String,
    state: State,
    /// How many there are.
    messages: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct MessageView {
    /// From 1.
    number: i64,
    /// `user_…` or `key_…`
    author: String,
    /// Whether the operator wrote it.
    staff: bool,
    body: String,
    created_at: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct WholeTicketView {
    ticket: TicketView,
    /// In their order, at most 200.
    messages: Vec<MessageView>,
}

impl From<Ticket> for TicketView {
    fn from(of: Ticket) -> Self {
        Self {
            id: of.id,
            account_id: of.account_id,
            subject: of.subject,
            state: of.state,
            messages: of.messages,
            created_at: rfc3339(of.created_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

impl From<Message> for MessageView {
    fn from(of: Message) -> Self {
        Self { number: of.number, author: of.author, staff: of.staff, body: of.body, created_at: rfc3339(of.created_at) }
    }
}

/// List one's account's tickets
///
/// Newest first.
#[utoipa::path(get, path = "/support/tickets", operation_id = "tickets_list", tag = "support", params(ListParams, PageParams),
    security(("key" = ["read:user"])),
    responses((status = 200, description = "A page of tickets", body = Success<List<TicketView>>)))]
async fn list(Given(api): Given<Api>, caller: Permit<ReadUser>, Query(form): Query<ListForm>) -> Answered {
    let page = store::list(&api.db, Some(caller.account_id), form.state, form.paging).await?;
    Answer::ok(&List::of(page.map(TicketView::from), None))
}

/// Open a ticket
///
/// With its first message. Whoever runs Clearway sees it, and answers.
#[utoipa::path(post, path = "/support/tickets", operation_id = "tickets_create", tag = "support", request_body = TicketForm,
    security(("key" = ["write:user"])),
    responses((status = 201, description = "The ticket", body = Success<TicketView>)))]
async fn create(
    Given(api): Given<Api>,
    caller: Permit<WriteUser>,
    repeatable: Repeatable,
    Body(form, bytes): Body<TicketForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = act::open(&mut tx, &api.world, &caller, form.subject, form.body).await?;
    let view = TicketView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::created(&view)
}

/// Read a ticket with its messages
///
/// The first message first.
#[utoipa::path(get, path = "/support/tickets/{id}", operation_id = "tickets_read", tag = "support",
    params(("id" = String, Path, description = "The ticket's id, `tkt_…`")), security(("key" = ["read:user"])),
    responses((status = 200, description = "The ticket", body = Success<WholeTicketView>)))]
async fn read(Given(api): Given<Api>, caller: Permit<ReadUser>, Id(id): Id<TicketId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let ticket = store::find(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let messages = store::messages(&mut tx, id).await?.into_iter().map(MessageView::from).collect();
    Answer::ok(&WholeTicketView { ticket: ticket.into(), messages })
}

/// Write to a ticket
///
/// An admin's message to another account's ticket is the operator's answer. A closed ticket is open again.
#[utoipa::path(post, path = "/support/tickets/{id}/messages", operation_id = "tickets_write", tag = "support",
    params(("id" = String, Path, description = "The ticket's id, `tkt_…`")), request_body = TicketMessageForm,
    security(("key" = ["write:user"])),
    responses((status = 200, description = "The ticket as it is now", body = Success<TicketView>)))]
async fn write(
    Given(api): Given<Api>,
    caller: Permit<WriteUser>,
    Id(id): Id<TicketId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<TicketMessageForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let view = TicketView::from(act::write(&mut tx, &api.world, &caller, id, form.body).await?);
    ticket.keep(&mut tx, StatusCode::OK, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&view)
}

/// Close a ticket
///
/// A further message opens it again. One that is closed stays as it is.
#[utoipa::path(post, path = "/support/tickets/{id}/close", operation_id = "tickets_close", tag = "support",
    params(("id" = String, Path, description = "The ticket's id, `tkt_…`")), security(("key" = ["write:user"])),
    responses((status = 200, description = "The ticket as it is now", body = Success<TicketView>)))]
async fn close(
    Given(api): Given<Api>,
    caller: Permit<WriteUser>,
    Id(id): Id<TicketId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let view = TicketView::from(act::close(&mut tx, &api.world, &caller, id).await?);
    ticket.keep(&mut tx, StatusCode::OK, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&view)
}

/// List every account's tickets
///
/// Newest first; `state=open` is what waits for an answer.
#[utoipa::path(get, path = "/admin/support/tickets", operation_id = "admin_tickets_list", tag = "admin",
    params(ListParams, PageParams), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of tickets", body = Success<List<TicketView>>)))]
async fn list_all(Given(api): Given<Api>, _: Permit<AdminPlatform>, Query(form): Query<ListForm>) -> Answered {
    let page = store::list(&api.db, None, form.state, form.paging).await?;
    Answer::ok(&List::of(page.map(TicketView::from), None))
}
