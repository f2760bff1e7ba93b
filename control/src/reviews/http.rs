//! `/apps/{id}/reviews`.

use axum::extract::State;
use clearway_config::{AccountId, AppId, ReviewId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::{self, Opinion},
    model::{COMMENT_CHARS_MAX, REASON_CHARS_MAX, REPLY_CHARS_MAX, Review},
    store,
};
use crate::{
    apps, catalogue,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Fields, Form, Id, Ids, IfMatch, List, PageParams, Paging, Permit,
        Query, Repeatable, Turn, WriteMarketplace,
        fields::{number, text, text_or_none, yes_or_no},
        tagged,
        time::rfc3339,
    },
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(change, remove))
        .routes(routes!(reply))
        .routes(routes!(report))
        .routes(routes!(reported))
        .routes(routes!(hide))
}

#[derive(Debug, ToSchema)]
#[schema(as = ReviewForm, example = json!({"rating": 5, "comment": "Does what it says."}))]
#[expect(dead_code, reason = "describes the body for the document; Opinion is what is read")]
struct OpinionDocument {
    #[schema(minimum = 1, maximum = 5)]
    rating: u32,
    /// At most 5,000 characters; none when left out.
    #[schema(max_length = 5000)]
    comment: Option<String>,
}

impl Form for Opinion {
    fn read(fields: &mut Fields) -> Option<Self> {
        let rating = fields.required("rating", number(1, 5));
        let comment = fields.optional("comment", text_or_none(COMMENT_CHARS_MAX));
        Some(Self { rating: i64::try_from(rating?).unwrap_or(5), comment: comment?.unwrap_or_default() })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = ReviewReplyForm, example = json!({"reply": "Thank you; this is fixed in 2.1.0."}))]
struct ReplyForm {
    /// Null takes it back.
    #[schema(min_length = 1, max_length = 2000)]
    reply: Option<String>,
}

impl Form for ReplyForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let reply = fields.optional("reply", text_or_none(REPLY_CHARS_MAX))?;
        Some(Self { reply: reply.filter(|text| !text.trim().is_empty()) })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = ReviewReportForm, example = json!({"reason": "It is about another app."}))]
struct ReportForm {
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Form for ReportForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: fields.required("reason", text(REASON_CHARS_MAX))? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = ReviewHideForm, example = json!({"hidden": true}))]
struct HideForm {
    hidden: bool,
}

impl Form for HideForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { hidden: fields.required("hidden", yes_or_no)? })
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"id": "rev_1QjvzY8L2d0ZB9oU4hXwVq", "app_id": "app_1QjvzY8L2d0ZB9oU4hXwVn",
    "account": {"id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Example Ltd"}, "rating": 5, "comment": "Does what it says.",
    "reply": null, "replied_at": null, "version": 1, "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct ReviewView {
    #[schema(value_type = String)]
    id: ReviewId,
    #[schema(value_type = String)]
    app_id: AppId,
    /// Whose review it is.
    account: ReviewerView,
    /// 1 to 5.
    rating: i64,
    comment: String,
    /// The developer's.
    reply: Option<String>,
    replied_at: Option<String>,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ReviewerView {
    #[schema(value_type = String)]
    id: AccountId,
    name: String,
}

/// A review as whoever runs the catalogue sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ReportedView {
    #[serde(flatten)]
    review: ReviewView,
    /// `user_…` or `key_…`
    author: String,
    /// Accounts that have reported it.
    reports: i64,
    hidden: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ReviewDeleted {
    #[schema(value_type = String)]
    id: ReviewId,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ReviewReported {
    #[schema(value_type = String)]
    id: ReviewId,
}

impl From<Review> for ReviewView {
    fn from(of: Review) -> Self {
        Self {
            id: of.id,
            app_id: of.app_id,
            account: ReviewerView { id: of.account_id, name: of.account_name },
            rating: of.rating,
            comment: of.comment,
            reply: of.reply,
            replied_at: of.replied_at.map(rfc3339),
            version: of.version,
            created_at: rfc3339(of.created_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

impl From<Review> for ReportedView {
    fn from(of: Review) -> Self {
        Self { author: of.author.clone(), reports: of.reports, hidden: of.hidden_at.is_some(), review: of.into() }
    }
}

fn shown(review: Review) -> Answered {
    let version = review.version;
    Ok(tagged(Answer::ok(&ReviewView::from(review))?, version))
}

/// List an app's reviews
///
/// Newest first. Takes no credential.
#[utoipa::path(get, path = "/apps/{id}/reviews", operation_id = "reviews_list", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`"), PageParams),
    responses((status = 200, description = "A page of reviews", body = Success<List<ReviewView>>)))]
async fn list(State(api): State<Api>, Id(id): Id<AppId>, Query(paging): Query<Paging<ReviewId>>) -> Answered {
    let listing = catalogue::find(&api.db, &id.to_string()).await?.ok_or_else(ApiError::not_found)?;
    let app = apps::find(&api.db, None, id).await?.filter(|app| app.state.is_shown()).ok_or_else(ApiError::not_found)?;
    let page = store::list(&api.db, app.id, paging).await?;
    Answer::ok(&List::of(page.map(ReviewView::from), Some(listing.rating_count)))
}

/// Review an app
///
/// For accounts that have it installed, once each; not for its developer. The name of the account is shown with it.
#[utoipa::path(post, path = "/apps/{id}/reviews", operation_id = "reviews_create", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`")), request_body = OpinionDocument,
    security(("key" = ["write:marketplace"])),
    responses((status = 201, description = "The review", body = Success<ReviewView>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    repeatable: Repeatable,
    Body(opinion, bytes): Body<Opinion>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = act::write(&mut tx, &api.world, &caller, id, opinion).await?;
    let version = made.version;
    let view = ReviewView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Change a review
///
/// One's own account's, as a whole.
#[utoipa::path(put, path = "/apps/{id}/reviews/{review_id}", operation_id = "reviews_update", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("review_id" = String, Path, description = "The review's id, `rev_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = OpinionDocument, security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The review as it is now", body = Success<ReviewView>)))]
async fn change(
    State(api): State<Api>,
    caller: Permit<WriteMarketplace>,
    Ids(app, id): Ids<AppId, ReviewId>,
    IfMatch(expected): IfMatch,
    Body(opinion, _): Body<Opinion>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let new = act::change(&mut tx, &api.world, &caller, (app, id), opinion, expected).await?;
    tx.commit().await?;
    shown(new)
}

/// Take a review back
///
/// One's own account's.
#[utoipa::path(delete, path = "/apps/{id}/reviews/{review_id}", operation_id = "reviews_delete", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("review_id" = String, Path, description = "The review's id, `rev_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "It is gone", body = Success<ReviewDeleted>)))]
async fn remove(
    State(api): State<Api>,
    caller: Permit<WriteMarketplace>,
    Ids(app, id): Ids<AppId, ReviewId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    act::remove(&mut tx, &api.world, &caller, (app, id), expected).await?;
    tx.commit().await?;
    Answer::ok(&ReviewDeleted { id })
}

/// Reply to a review
///
/// For the app's developer; again replaces the reply.
#[utoipa::path(put, path = "/apps/{id}/reviews/{review_id}/reply", operation_id = "reviews_reply", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("review_id" = String, Path, description = "The review's id, `rev_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = ReplyForm, security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The review with the reply", body = Success<ReviewView>)))]
async fn reply(
    State(api): State<Api>,
    caller: Permit<WriteMarketplace>,
    Ids(app, id): Ids<AppId, ReviewId>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<ReplyForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let new = act::reply(&mut tx, &api.world, &caller, (app, id), form.reply, expected).await?;
    tx.commit().await?;
    shown(new)
}

/// Report a review
///
/// To whoever runs the catalogue; once for an account.
#[utoipa::path(post, path = "/apps/{id}/reviews/{review_id}/report", operation_id = "reviews_report", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("review_id" = String, Path, description = "The review's id, `rev_…`")),
    request_body = ReportForm, security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "It is reported", body = Success<ReviewReported>)))]
async fn report(
    State(api): State<Api>,
    caller: Permit<WriteMarketplace>,
    Ids(app, id): Ids<AppId, ReviewId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReportForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    act::report(&mut tx, &api.world, &caller, (app, id), form.reason).await?;
    let view = ReviewReported { id };
    ticket.keep(&mut tx, StatusCode::OK, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&view)
}

/// List reviews that were reported
///
/// Newest first, hidden ones too.
#[utoipa::path(get, path = "/admin/reviews/reported", operation_id = "admin_reviews_reported", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of reviews", body = Success<List<ReportedView>>)))]
async fn reported(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<ReviewId>>) -> Answered {
    let page = store::reported(&api.db, paging).await?;
    Answer::ok(&List::of(page.map(ReportedView::from), None))
}

/// Say whether a review is hidden
///
/// One that is hidden is not shown and does not count.
#[utoipa::path(put, path = "/admin/reviews/{id}/hidden", operation_id = "admin_reviews_hide", tag = "admin",
    params(("id" = String, Path, description = "The review's id, `rev_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = HideForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The review as it is now", body = Success<ReportedView>)))]
async fn hide(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<ReviewId>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<HideForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let new = act::hide(&mut tx, &api.world, &caller, id, form.hidden, expected).await?;
    tx.commit().await?;
    let version = new.version;
    Ok(tagged(Answer::ok(&ReportedView::from(new))?, version))
}
