//! `/portfolio`, and what everybody sees of it.

use axum::extract::State;
use clearway_config::{AccountId, AppId, ProjectId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act,
    model::{
        DESCRIPTION_CHARS_MAX, Project, ProjectUpdate, SUMMARY_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX,
    },
    store,
};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, DeleteApps, Fields, Form, Id, IfMatch, List, PageParams, Paging, Permit, Query,
        ReadApps, Repeatable, Turn, WriteApps,
        fields::{Wrong, list as list_of, parsed, text, text_or_none, yes_or_no},
        tagged,
        time::rfc3339,
    },
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(summary))
        .routes(routes!(list, create))
        .routes(routes!(read, update, remove))
        .routes(routes!(publish))
        .routes(routes!(shown))
}

/// What to change; a field left out stays, null clears it. A new project needs a title.
#[derive(Debug, ToSchema)]
#[schema(as = ProjectForm, example = json!({"title": "Inventory dashboard", "summary": "Stock of six shops at a glance",
    "url": "https://example.com/inventory", "tags": ["inventory", "charts"]}))]
#[expect(dead_code, reason = "describes the body for the document; ProjectUpdate is what is read")]
struct ProjectDocument {
    #[schema(min_length = 1, max_length = 100)]
    title: Option<String>,
    #[schema(max_length = 200)]
    summary: Option<String>,
    #[schema(max_length = 10000)]
    description: Option<String>,
    /// `https` only.
    #[schema(max_length = 2048)]
    url: Option<String>,
    #[schema(max_items = 10)]
    tags: Option<Vec<String>>,
    /// The account's app that came of it.
    app_id: Option<String>,
}

impl Form for ProjectUpdate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let title = fields.kept("title", text(TITLE_CHARS_MAX));
        let summary = fields.patch("summary", text_or_none(SUMMARY_CHARS_MAX));
        let description = fields.patch("description", text_or_none(DESCRIPTION_CHARS_MAX));
        let url = fields.patch("url", page);
        let tags = fields.patch("tags", list_of(TAGS_MAX, text(TAG_CHARS_MAX)));
        let app_id = fields.patch("app_id", parsed);
        Some(Self {
            title: title?,
            summary: summary?.map(Option::unwrap_or_default),
            description: description?.map(Option::unwrap_or_default),
            url: url?,
            tags: tags?.map(Option::unwrap_or_default),
            app_id: app_id?,
        })
    }
}

/// An update with a title.
#[derive(Debug)]
struct NewProject(ProjectUpdate);

impl Form for NewProject {
    fn read(fields: &mut Fields) -> Option<Self> {
        let update = ProjectUpdate::read(fields)?;
        if update.title.is_none() {
            fields.refuse("title", ("required", "is required".into()));
        }
        Some(Self(update))
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = ProjectPublishForm, example = json!({"published": true}))]
struct PublishForm {
    /// True when left out; false takes it back.
    published: Option<bool>,
}

impl Form for PublishForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { published: fields.optional("published", yes_or_no)? })
    }
}

fn page(value: &Value) -> Result<String, Wrong> {
    let text = text(URL_CHARS_MAX)(value)?;
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none() => {
            Ok(url.into())
        }
        _ => Err(("format_invalid", "must be a URL such as https://example.com/, without a password".into())),
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"id": "prj_1QjvzY8L2d0ZB9oU4hXwVq", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm",
    "title": "Inventory dashboard", "summary": "Stock of six shops at a glance", "description": "",
    "url": "https://example.com/inventory", "tags": ["inventory"], "app_id": null, "version": 1, "published_at": null,
    "created_at": "2026-11-20T12:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct ProjectView {
    #[schema(value_type = String)]
    id: ProjectId,
    #[schema(value_type = String)]
    account_id: AccountId,
    title: String,
    summary: String,
    description: String,
    url: Option<String>,
    tags: Vec<String>,
    #[schema(value_type = Option<String>)]
    app_id: Option<AppId>,
    /// Counts its changes; also its `ETag`.
    version: i64,
    /// Null: nobody else sees it.
    published_at: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "projects": 3, "published": 2}))]
struct PortfolioView {
    #[schema(value_type = String)]
    account_id: AccountId,
    projects: i64,
    /// Of those.
    published: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProjectDeleted {
    #[schema(value_type = String)]
    id: ProjectId,
}

impl From<Project> for ProjectView {
    fn from(of: Project) -> Self {
        Self {
            id: of.id,
            account_id: of.account_id,
            title: of.title,
            summary: of.summary,
            description: of.description,
            url: of.url,
            tags: of.tags,
            app_id: of.app_id,
            version: of.version,
            published_at: of.published_at.map(rfc3339),
            created_at: rfc3339(of.created_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

fn answered(project: Project) -> Answered {
    let version = project.version;
    Ok(tagged(Answer::ok(&ProjectView::from(project))?, version))
}

/// Read the summary of one's own portfolio
///
/// How many projects there are, and how many of them are published.
#[utoipa::path(get, path = "/portfolio", operation_id = "portfolio_read", tag = "apps", security(("key" = ["read:apps"])),
    responses((status = 200, description = "The summary", body = Success<PortfolioView>)))]
async fn summary(State(api): State<Api>, caller: Permit<ReadApps>) -> Answered {
    let store::Counts { projects, published } = store::count(&api.db, caller.account_id).await?;
    Answer::ok(&PortfolioView { account_id: caller.account_id, projects, published })
}

/// List one's own projects
///
/// Newest first.
#[utoipa::path(get, path = "/portfolio/projects", operation_id = "projects_list", tag = "apps", params(PageParams),
    security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of projects", body = Success<List<ProjectView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadApps>, Query(paging): Query<Paging<ProjectId>>) -> Answered {
    let page = store::list(&api.db, caller.account_id, false, paging).await?;
    let counts = store::count(&api.db, caller.account_id).await?;
    Answer::ok(&List::of(page.map(ProjectView::from), Some(counts.projects)))
}

/// Create a project
///
/// Nobody else sees it before it is published.
#[utoipa::path(post, path = "/portfolio/projects", operation_id = "projects_create", tag = "apps",
    request_body = ProjectDocument, security(("key" = ["write:apps"])),
    responses((status = 201, description = "The project", body = Success<ProjectView>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(NewProject(new), bytes): Body<NewProject>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = act::create(&mut tx, &api.world, &Actor::from(&*caller), caller.account_id, new).await?;
    let version = made.version;
    let view = ProjectView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Read a project
///
/// Of one's own; drafts too.
#[utoipa::path(get, path = "/portfolio/projects/{id}", operation_id = "projects_read", tag = "apps",
    params(("id" = String, Path, description = "The project's id, `prj_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The project", body = Success<ProjectView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadApps>, Id(id): Id<ProjectId>) -> Answered {
    answered(store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?)
}

/// Update a project
///
/// Where it is published, everybody sees the change at once.
#[utoipa::path(put, path = "/portfolio/projects/{id}", operation_id = "projects_update", tag = "apps",
    params(("id" = String, Path, description = "The project's id, `prj_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = ProjectDocument, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The project as it is now", body = Success<ProjectView>)))]
async fn update(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<ProjectId>,
    IfMatch(expected): IfMatch,
    Body(change, _): Body<ProjectUpdate>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let which = (caller.bounds(), id, expected);
    let new = act::update(&mut tx, &api.world, &Actor::from(&*caller), which, change).await?;
    tx.commit().await?;
    answered(new)
}

/// Delete a project
///
/// It disappears from the portfolio for good.
#[utoipa::path(delete, path = "/portfolio/projects/{id}", operation_id = "projects_delete", tag = "apps",
    params(("id" = String, Path, description = "The project's id, `prj_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["delete:apps"])),
    responses((status = 200, description = "It is gone", body = Success<ProjectDeleted>)))]
async fn remove(
    State(api): State<Api>,
    caller: Permit<DeleteApps>,
    Id(id): Id<ProjectId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    act::remove(&mut tx, &api.world, &Actor::from(&*caller), (caller.bounds(), id, expected)).await?;
    tx.commit().await?;
    Answer::ok(&ProjectDeleted { id })
}

/// Publish a project
///
/// Everybody sees it from then on; or nobody any more, with `published: false`.
#[utoipa::path(post, path = "/portfolio/projects/{id}/publish", operation_id = "projects_publish", tag = "apps",
    params(("id" = String, Path, description = "The project's id, `prj_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = PublishForm, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The project as it is now", body = Success<ProjectView>)))]
async fn publish(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<ProjectId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(form, bytes): Body<PublishForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let which = (caller.bounds(), id, expected);
    let new = act::publish(&mut tx, &api.world, &Actor::from(&*caller), which, form.published.unwrap_or(true)).await?;
    ticket.keep(&mut tx, StatusCode::OK, &ProjectView::from(new.clone()), api.world.now_ms()).await?;
    tx.commit().await?;
    answered(new)
}

/// List what a developer shows
///
/// Published projects, newest first. Takes no credential. An account that shows nothing, or is none, has an empty list.
#[utoipa::path(get, path = "/developers/{id}/projects", operation_id = "developer_projects_list", tag = "marketplace",
    params(("id" = String, Path, description = "The account's id, `acct_…`"), PageParams),
    responses((status = 200, description = "A page of projects", body = Success<List<ProjectView>>)))]
async fn shown(State(api): State<Api>, Id(id): Id<AccountId>, Query(paging): Query<Paging<ProjectId>>) -> Answered {
    let page = store::list(&api.db, id, true, paging).await?;
    Answer::ok(&List::of(page.map(ProjectView::from), None))
}
