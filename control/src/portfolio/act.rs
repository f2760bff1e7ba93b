//! Making, changing, publishing and deleting a project.

use clearway_config::{AccountId, ErrorCode, ProjectId};

use super::{
    model::{PROJECTS_MAX, Project, ProjectUpdate},
    store,
};
use crate::{
    accounts, apps,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::{ApiError, issue},
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("no such project")]
    NotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the account has {PROJECTS_MAX} projects")]
    Full,
    #[error("the account has no such app")]
    AppNotFound,
    #[error("the project could not be stored")]
    Store(#[from] db::Error),
}

/// Which project, within what the caller may see, at which version.
pub(super) type Which = (Option<AccountId>, ProjectId, Option<i64>);

/// Makes a project that nobody else sees yet. The update must hold a title.
pub async fn create(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    update: ProjectUpdate,
) -> Result<Project, ProjectError> {
    // Locks the account, so that two callers cannot both take the last place.
    accounts::lock(tx, account).await?.ok_or(ProjectError::NotFound)?;
    if store::count(&mut *tx, account).await?.projects >= PROJECTS_MAX {
        return Err(ProjectError::Full);
    }
    let now_ms = world.now_ms();
    let blank = Project {
        id: world.id(ProjectId::new),
        account_id: account,
        title: String::new(),
        summary: String::new(),
        description: String::new(),
        url: None,
        tags: Vec::new(),
        app_id: None,
        version: 1,
        published_at: None,
        created_at: now_ms,
        updated_at: now_ms,
    };
    let made = update.apply(&blank);
    check(tx, &made).await?;
    store::insert(tx, &made).await?;
    note(tx, world, actor, "project.created", &made, Changes::default().field("title", (), &made.title)).await?;
    Ok(made)
}

/// Changes the given fields. Nothing happens where nothing differs.
pub async fn update(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    which: Which,
    update: ProjectUpdate,
) -> Result<Project, ProjectError> {
    let old = seen(tx, which).await?;
    let new = update.apply(&old);
    check(tx, &new).await?;
    let changes = new.differences(&old);
    put(tx, world, actor, "project.updated", old, new, changes).await
}

/// Shows it to everybody, or to nobody any more.
pub async fn publish(tx: &mut Tx, world: &World, actor: &Actor, which: Which, published: bool) -> Result<Project, ProjectError> {
    let old = seen(tx, which).await?;
    let published_at = published.then(|| old.published_at.unwrap_or_else(|| world.now_ms()));
    let new = Project { published_at, ..old.clone() };
    let changes = Changes::default().field("published", old.published_at.is_some(), published);
    put(tx, world, actor, "project.published", old, new, changes).await
}

pub async fn remove(tx: &mut Tx, world: &World, actor: &Actor, which: Which) -> Result<(), ProjectError> {
    let old = seen(tx, which).await?;
    store::delete(tx, &old).await?;
    note(tx, world, actor, "project.deleted", &old, Changes::default().field("title", &old.title, ())).await?;
    Ok(())
}

async fn put(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    old: Project,
    new: Project,
    changes: Changes,
) -> Result<Project, ProjectError> {
    if changes.is_empty() {
        return Ok(old);
    }
    let new = Project { version: old.version + 1, updated_at: world.now_ms(), ..new };
    store::save(tx, &new).await?;
    note(tx, world, actor, action, &new, changes).await?;
    Ok(new)
}

/// An app that is named must be the account's own.
async fn check(tx: &mut Tx, project: &Project) -> Result<(), ProjectError> {
    let Some(app) = project.app_id else { return Ok(()) };
    apps::find(tx, Some(project.account_id), app).await?.map(|_| ()).ok_or(ProjectError::AppNotFound)
}

async fn seen(tx: &mut Tx, (bounds, id, expected): Which) -> Result<Project, ProjectError> {
    let found = store::lock(tx, bounds, id).await?.ok_or(ProjectError::NotFound)?;
    if expected.is_some_and(|expected| found.version != expected) {
        return Err(ProjectError::Changed);
    }
    Ok(found)
}

async fn note(tx: &mut Tx, world: &World, actor: &Actor, action: &'static str, of: &Project, changes: Changes) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "project", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

impl From<ProjectError> for ApiError {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::NotFound => ApiError::not_found(),
            ProjectError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            ProjectError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {PROJECTS_MAX} projects already, which is the most."),
            ),
            ProjectError::AppNotFound => ApiError::invalid(&[issue("app_id", "unknown", "is no app of this account")]),
            ProjectError::Store(error) => error.into(),
        }
    }
}
