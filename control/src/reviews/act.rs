//! Writing, changing, replying to, reporting and hiding reviews. The listing of the app is locked throughout, because every
//! one of them may change its counts.

use clearway_config::{AppId, ErrorCode, ReviewId};

use super::{model::Review, store};
use crate::{
    audit::{self, Actor, Changes, Event},
    catalogue::{self, Day, Listing},
    db::{self, Tx},
    http::{ApiError, Caller, Principal},
    installations,
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("no such app or review")]
    NotFound,
    #[error("the account does not have the app")]
    NotInstalled,
    #[error("the app is the account's own")]
    OwnApp,
    #[error("the account has written one")]
    Already,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the review could not be stored")]
    Store(#[from] db::Error),
}

/// What somebody thinks of an app.
#[derive(Debug, Clone)]
pub struct Opinion {
    pub rating: i64,
    pub comment: String,
}

/// Writes the caller's account's review of an app that it has.
pub async fn write(tx: &mut Tx, world: &World, caller: &Caller, app: AppId, opinion: Opinion) -> Result<Review, ReviewError> {
    let listing = catalogue::lock(tx, app).await?.ok_or(ReviewError::NotFound)?;
    if listing.account_id == caller.account_id {
        return Err(ReviewError::OwnApp);
    }
    if !installations::is_installed(tx, app, caller.account_id).await? {
        return Err(ReviewError::NotInstalled);
    }
    let now_ms = world.now_ms();
    let review = Review {
        id: world.id(ReviewId::new),
        app_id: app,
        account_id: caller.account_id,
        account_name: String::new(),
        author: author(caller),
        rating: opinion.rating,
        comment: opinion.comment,
        reply: None,
        replied_at: None,
        reports: 0,
        hidden_at: None,
        version: 1,
        created_at: now_ms,
        updated_at: now_ms,
    };
    store::insert(tx, &review).await.map_err(|error| {
        if error.is_conflict("app_reviews_app_id_account_id_key") { ReviewError::Already } else { error.into() }
    })?;
    catalogue::rated(tx, app, 1, review.rating).await?;
    catalogue::note(tx, app, now_ms, Day { reviews: 1, rating_sum: review.rating, ..Day::default() }).await?;
    note(tx, world, caller, "review.created", &review, Changes::default().field("rating", (), review.rating)).await?;
    found(tx, app, review.id).await
}

/// Changes one's own.
pub async fn change(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    (app, id): (AppId, ReviewId),
    opinion: Opinion,
    expected: Option<i64>,
) -> Result<Review, ReviewError> {
    let (_, old) = seen(tx, app, id, expected).await?;
    own(caller, &old)?;
    let new = Review { rating: opinion.rating, comment: opinion.comment, author: author(caller), ..old.clone() };
    let changes = Changes::default().field("rating", old.rating, new.rating).field("comment", &old.comment, &new.comment);
    put(tx, world, caller, "review.updated", (&old, new), changes).await
}

/// Takes one's own back.
pub async fn remove(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    (app, id): (AppId, ReviewId),
    expected: Option<i64>,
) -> Result<(), ReviewError> {
    let (_, old) = seen(tx, app, id, expected).await?;
    own(caller, &old)?;
    let (count, sum) = old.weight();
    store::delete(tx, &old).await?;
    catalogue::rated(tx, app, -count, -sum).await?;
    note(tx, world, caller, "review.deleted", &old, Changes::default().field("rating", old.rating, ())).await?;
    Ok(())
}

/// The developer's answer; `None` takes it back.
pub async fn reply(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    (app, id): (AppId, ReviewId),
    text: Option<String>,
    expected: Option<i64>,
) -> Result<Review, ReviewError> {
    let (listing, old) = seen(tx, app, id, expected).await?;
    if caller.bounds().is_some_and(|account| account != listing.account_id) || old.hidden_at.is_some() {
        return Err(ReviewError::NotFound);
    }
    let replied_at = text.is_some().then(|| world.now_ms());
    let changes = Changes::default().field("reply", &old.reply, &text);
    let new = Review { reply: text, replied_at, ..old.clone() };
    put(tx, world, caller, "review.replied", (&old, new), changes).await
}

/// Tells whoever runs the catalogue that it is out of place; again by the same account changes nothing.
pub async fn report(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    (app, id): (AppId, ReviewId),
    reason: String,
) -> Result<(), ReviewError> {
    let (_, old) = seen(tx, app, id, None).await?;
    if old.hidden_at.is_some() {
        return Err(ReviewError::NotFound);
    }
    if store::insert_report(tx, id, caller.account_id, reason.clone(), world.now_ms()).await? {
        store::save(tx, &Review { reports: old.reports + 1, ..old.clone() }).await?;
        note(tx, world, caller, "review.reported", &old, Changes::default().field("reason", (), reason)).await?;
    }
    Ok(())
}

/// Hides it, or shows it again. For whoever runs the catalogue.
pub async fn hide(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    id: ReviewId,
    hidden: bool,
    expected: Option<i64>,
) -> Result<Review, ReviewError> {
    let app = store::app_of(&mut *tx, id).await?.ok_or(ReviewError::NotFound)?;
    let (_, old) = seen(tx, app, id, expected).await?;
    let hidden_at = hidden.then(|| old.hidden_at.unwrap_or_else(|| world.now_ms()));
    let new = Review { hidden_at, ..old.clone() };
    let action = if hidden { "review.hidden" } else { "review.shown" };
    put(tx, world, caller, action, (&old, new), Changes::default().field("hidden", old.hidden_at.is_some(), hidden)).await
}

async fn put(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    action: &'static str,
    (old, new): (&Review, Review),
    changes: Changes,
) -> Result<Review, ReviewError> {
    if changes.is_empty() {
        return Ok(new);
    }
    let new = Review { version: old.version + 1, updated_at: world.now_ms(), ..new };
    store::save(tx, &new).await?;
    let ((old_count, old_sum), (count, sum)) = (old.weight(), new.weight());
    if (old_count, old_sum) != (count, sum) {
        catalogue::rated(tx, new.app_id, count - old_count, sum - old_sum).await?;
    }
    note(tx, world, caller, action, &new, changes).await?;
    Ok(new)
}

async fn seen(tx: &mut Tx, app: AppId, id: ReviewId, expected: Option<i64>) -> Result<(Listing, Review), ReviewError> {
    let listing = catalogue::lock(tx, app).await?.ok_or(ReviewError::NotFound)?;
    let review = found(tx, app, id).await?;
    if expected.is_some_and(|expected| review.version != expected) {
        return Err(ReviewError::Changed);
    }
    Ok((listing, review))
}

async fn found(tx: &mut Tx, app: AppId, id: ReviewId) -> Result<Review, ReviewError> {
    store::find(tx, app, id).await?.ok_or(ReviewError::NotFound)
}

/// Another's is not found, even by an admin: they hide, and put words in nobody's mouth.
fn own(caller: &Caller, review: &Review) -> Result<(), ReviewError> {
    if review.account_id == caller.account_id { Ok(()) } else { Err(ReviewError::NotFound) }
}

fn author(caller: &Caller) -> String {
    match caller.principal {
        Principal::Key(id) => id.to_string(),
        Principal::User { id, .. } => id.to_string(),
        Principal::App { client_id, .. } => client_id.to_string(),
    }
}

async fn note(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    action: &'static str,
    of: &Review,
    changes: Changes,
) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "review", object_id: &object_id, changes };
    audit::record(tx, world, &Actor::from(caller), event).await
}

impl From<ReviewError> for ApiError {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::NotFound => ApiError::not_found(),
            ReviewError::NotInstalled => {
                ApiError::saying(ErrorCode::Conflict, "Only an account that has the app installed may review it.")
            }
            ReviewError::OwnApp => ApiError::saying(ErrorCode::Conflict, "An account cannot review its own app."),
            ReviewError::Already => {
                ApiError::saying(ErrorCode::Conflict, "The account has reviewed this app already; change that review.")
            }
            ReviewError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            ReviewError::Store(error) => error.into(),
        }
    }
}
