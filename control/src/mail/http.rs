//! `/admin/mails`: the local mailbox, for the scope `admin:platform`. Its mails hold what signs people in.

use axum::extract::State;
use clearway_config::{MailId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::mailbox_store::{self as mailbox, Kept};
use crate::http::{AdminPlatform, Answer, Answered, Api, ApiError, Id, List, PageParams, Paging, Permit, Query, time::rfc3339};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

/// A mail of the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "mail_1QjvzY8L2d0ZB9oU4hXwVm", "to": "ann@example.com", "subject": "Confirm your address",
    "created_at": "2026-11-20T12:00:00.000Z"}))]
struct MailView {
    id: String,
    to: String,
    subject: String,
    created_at: String,
}

/// A whole mail.
#[derive(Debug, Serialize, ToSchema)]
struct WholeMail {
    #[serde(flatten)]
    mail: MailView,
    /// Plain text.
    body: String,
}

impl From<&Kept> for MailView {
    fn from(kept: &Kept) -> Self {
        Self { id: kept.id.to_string(), to: kept.to.clone(), subject: kept.subject.clone(), created_at: rfc3339(kept.created_at) }
    }
}

/// List mails that were not sent
///
/// Newest first: what has been mailed since there is no mail server in the settings, at most 500 of the last 7 days.
#[utoipa::path(get, path = "/admin/mails", operation_id = "mails_list", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of mails, without their text", body = Success<List<MailView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<MailId>>) -> Answered {
    let page = mailbox::list(&api.db, paging).await?;
    Answer::ok(&List::of(page.map(|kept| MailView::from(&kept)), None))
}

/// Read a mail that was not sent
///
/// With its text. Without an SMTP server mails stay here, so that whoever runs Clearway can pass their links on.
#[utoipa::path(get, path = "/admin/mails/{id}", operation_id = "mails_read", tag = "admin",
    params(("id" = String, Path, description = "The mail's id, `mail_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The mail", body = Success<WholeMail>)))]
async fn read(State(api): State<Api>, _: Permit<AdminPlatform>, Id(id): Id<MailId>) -> Answered {
    let kept = mailbox::find(&api.db, id).await?.ok_or_else(ApiError::not_found)?;
    Ok(Answer::ok(&WholeMail { mail: MailView::from(&kept), body: kept.body })?.no_store())
}
