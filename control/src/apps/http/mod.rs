//! Apps over HTTP: as developers have them, and as reviewers do under `/admin/apps`. What everybody sees of them is the
//! catalogue's.

mod admin;
mod client;
mod developer;
mod forms;

use utoipa_axum::router::OpenApiRouter;

use super::{Whole, view::WholeAppView};
use crate::http::{Answer, Answered, Api, tagged};

pub fn routes() -> OpenApiRouter<Api> {
    developer::routes().merge(client::routes()).merge(admin::routes())
}

fn shown(whole: &Whole) -> Answered {
    Ok(tagged(Answer::ok(&WholeAppView::from(whole))?, whole.app.version))
}
