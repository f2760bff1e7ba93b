//! `/admin/users`: for the scope `admin:platform`.

use axum::{body::Bytes, extract::State};
use clearway_config::{ErrorCode, UserId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{User, store, suspend::set_suspended};
use crate::{
    audit::Actor,
    auth::{MembershipView, NAME_CHARS_MAX},
    db::{Page, Wanted},
    factors,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Caller, Fields, Form, Id, IfMatch, List, PageParams, Paging,
        Permit, Query, Repeatable, Turn, fields, tagged, time::rfc3339,
    },
    members,
    privacy::{self, ErasedView},
    profile, sessions,
    sync::Wait,
};

/// Characters in what is searched for.
const SEARCH_CHARS_MAX: usize = 100;
/// Characters in a reason.
const REASON_CHARS_MAX: usize = 500;
/// Rows of a kind that are told of one person.
const ROWS_MAX: i64 = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, update, delete))
        .routes(routes!(suspend))
        .routes(routes!(resume))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Words, or beginnings of words, of the address and the name, whatever the case; every one must be there. Or the id.
    /// Where more than a thousand people match, a thousand of them are searched.
    search: Option<String>,
    /// `active`, `suspended` or `erased`.
    status: Option<String>,
}

#[derive(Debug)]
struct ListQuery {
    search: Option<String>,
    status: Option<&'static str>,
    paging: Paging<UserId>,
}

const STATUSES: [&str; 3] = ["active", "suspended", "erased"];

impl Form for ListQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let search = fields.optional("search", fields::text(SEARCH_CHARS_MAX));
        let status = fields.optional("status", |value| {
            let known = STATUSES.into_iter().find(|status| value.as_str() == Some(status));
            known.ok_or_else(|| ("unknown", format!("must be one of {}", STATUSES.join(", "))))
        });
        let paging = Paging::read(fields);
        Some(Self { search: search?, status: status?, paging: paging? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = PersonNameForm, example = json!({"name": "Ann Miller"}))]
struct NameForm {
    /// What to be called, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

impl Form for NameForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { name: fields.required("name", fields::text(NAME_CHARS_MAX))? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"reason": "Spam from their account"}))]
struct ReasonForm {
    /// For the audit log. At most 500 characters.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

impl Form for ReasonForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { reason: fields.optional("reason", fields::text(REASON_CHARS_MAX))? })
    }
}

/// A person, as whoever runs Clearway sees them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "email": "ann@example.com", "name": "Ann", "status": "active",
    "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "version": 1, "created_at": "2026-11-20T12:00:00.000Z", "suspended_at": null,
    "erased_at": null}))]
struct PersonView {
    id: String,
    /// Proved to be theirs. One that cannot be where the person was erased.
    email: String,
    name: String,
    /// `active`, `suspended` or `erased`.
    status: &'static str,
    /// The account that was made with them.
    account_id: String,
    /// Counted up by every change of name or address.
    version: i64,
    created_at: String,
    suspended_at: Option<String>,
    erased_at: Option<String>,
}

impl From<&User> for PersonView {
    fn from(user: &User) -> Self {
        let status = match (user.erased_at, user.suspended_at) {
            (Some(_), _) => "erased",
            (None, Some(_)) => "suspended",
            (None, None) => "active",
        };
        Self {
            id: user.id.to_string(),
            email: user.email.clone(),
            name: user.name.clone(),
            status,
            account_id: user.account_id.to_string(),
            version: user.version,
            created_at: rfc3339(user.created_at),
            suspended_at: user.suspended_at.map(rfc3339),
            erased_at: user.erased_at.map(rfc3339),
        }
    }
}

/// A person, with what belongs to them.
#[derive(Debug, Serialize, ToSchema)]
struct PersonDetails {
    #[serde(flatten)]
    person: PersonView,
    /// The accounts where they are a member, at most 100.
    memberships: Vec<MembershipView>,
    /// Whether they are asked for a second factor.
    second_factor: bool,
    /// Their sessions, at most 100 are counted.
    sessions: usize,
}

/// List people
///
/// Newest first.
#[utoipa::path(get, path = "/admin/users", operation_id = "admin_users_list", tag = "admin", params(ListParams, PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of people", body = Success<List<PersonView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(query): Query<ListQuery>) -> Answered {
    let ListQuery { search, status, paging } = query;
    let page = match search {
        None => store::list(&api.db, status, paging).await?,
        Some(text) => match (text.parse::<UserId>(), Wanted::read(&text)) {
            (Ok(id), _) => Page { items: store::find(&api.db, id).await?.into_iter().collect(), next: None },
            (_, Some(wanted)) => store::search(&api.db, &wanted, status, paging).await?,
            // Punctuation alone is in no word.
            (_, None) => Page { items: Vec::new(), next: None },
        },
    };
    Answer::ok(&List::of(page.map(|user| PersonView::from(&user)), None))
}

/// Read a person
///
/// With the accounts where they are a member.
#[utoipa::path(get, path = "/admin/users/{id}", operation_id = "admin_users_read", tag = "admin",
    params(("id" = String, Path, description = "The person's id, `user_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The person", body = Success<PersonDetails>)))]
async fn read(State(api): State<Api>, _: Permit<AdminPlatform>, Id(id): Id<UserId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let user = store::find(&mut tx, id).await?.ok_or_else(ApiError::not_found)?;
    let memberships = members::of_person(&mut tx, id, ROWS_MAX).await?;
    let details = PersonDetails {
        person: (&user).into(),
        memberships: memberships.into_iter().map(MembershipView::from).collect(),
        second_factor: factors::is_on(&mut tx, id).await?,
        sessions: sessions::all(&mut tx, id, ROWS_MAX).await?.len(),
    };
    Ok(tagged(Answer::ok(&details)?, user.version))
}

/// Change a person's name
///
/// Address and password are theirs alone to change.
#[utoipa::path(put, path = "/admin/users/{id}", operation_id = "admin_users_update", tag = "admin", request_body = NameForm,
    params(("id" = String, Path, description = "The person's id, `user_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the person that was read; another is refused")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The person as they are now", body = Success<PersonView>)))]
async fn update(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<UserId>,
    seen: IfMatch,
    Body(form, _): Body<NameForm>,
) -> Answered {
    let user = profile::rename(&api, &Actor::from(&*caller), id, &form.name, seen.0).await?;
    Ok(tagged(Answer::ok(&PersonView::from(&user))?, user.version))
}

/// Erase a person
///
/// As they can themselves. Refused where an account with other members would be left without an owner.
#[utoipa::path(delete, path = "/admin/users/{id}", operation_id = "admin_users_erase", tag = "admin",
    params(("id" = String, Path, description = "The person's id, `user_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The person is erased", body = Success<ErasedView>)))]
async fn delete(State(api): State<Api>, caller: Permit<AdminPlatform>, Id(id): Id<UserId>) -> Answered {
    let actor = Actor::from(&*caller);
    if actor.person() == Some(id) {
        return Err(ApiError::saying(
            ErrorCode::Conflict,
            "Whoever erases themselves is asked for their password: see /users/me.",
        ));
    }
    let erased = privacy::erase(&api, &actor, id).await?;
    Answer::ok(&erased.told(&api).await)
}

/// Suspend a person
///
/// Their sessions end at once, those too in which they act as somebody else, mailed tokens are useless, and what they have let
/// applications do ends on every proxy before the answer. Accounts and keys go on: suspend the account for that.
#[utoipa::path(post, path = "/admin/users/{id}/suspend", operation_id = "admin_users_suspend", tag = "admin",
    params(("id" = String, Path, description = "The person's id, `user_…`")), request_body = ReasonForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The person as they are now", body = Success<PersonView>)))]
async fn suspend(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<UserId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReasonForm>,
) -> Answered {
    set_standing(&api, &caller, id, true, form, repeatable, &bytes).await
}

/// Resume a person
///
/// They can sign in again. Sessions that ended when they were suspended do not come back.
#[utoipa::path(post, path = "/admin/users/{id}/resume", operation_id = "admin_users_resume", tag = "admin",
    params(("id" = String, Path, description = "The person's id, `user_…`")), request_body = ReasonForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The person as they are now", body = Success<PersonView>)))]
async fn resume(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<UserId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReasonForm>,
) -> Answered {
    set_standing(&api, &caller, id, false, form, repeatable, &bytes).await
}

async fn set_standing(
    api: &Api,
    caller: &Caller,
    id: UserId,
    suspended: bool,
    form: ReasonForm,
    repeatable: Repeatable,
    body: &Bytes,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(api, caller, body).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let (user, revision) = set_suspended(&mut tx, &api.world, &Actor::from(caller), id, suspended, form.reason).await?;
    let view = PersonView::from(&user);
    ticket.keep(&mut tx, StatusCode::OK, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    if let Some(revision) = revision {
        api.hub.propagated(revision, Wait::Enforced).await;
    }
    Answer::ok(&view)
}
