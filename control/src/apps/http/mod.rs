//! Apps over HTTP: as developers have them, and as reviewers do under `/admin/apps`. What everybody sees of them is the
//! catalogue's.

mod admin;
mod client;
mod developer;
mod forms;

use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;

use super::{Act, Which, Whole, act, view::WholeAppView};
use crate::{
    audit::Actor,
    http::{Answer, Answered, Api, Caller, Turn, tagged},
};

pub fn routes() -> OpenApiRouter<Api> {
    developer::routes().merge(client::routes()).merge(admin::routes())
}

/// Below `/marketplace` as well.
pub fn aliases() -> OpenApiRouter<Api> {
    developer::aliases()
}

fn shown(whole: &Whole) -> Answered {
    Ok(tagged(Answer::ok(&WholeAppView::from(whole))?, whole.app.version))
}

/// Takes an app from one state into another, with what is said of it.
async fn stepped(api: &Api, caller: &Caller, turn: Turn, which: Which, (what, reason): (Act, Option<String>)) -> Answered {
    let (mut tx, ticket) = match turn {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let new = act::step(&mut tx, &api.world, &Actor::from(caller), which, what, reason).await?;
    ticket.keep(&mut tx, StatusCode::OK, &WholeAppView::from(&new), api.world.now_ms()).await?;
    tx.commit().await?;
    shown(&new)
}
