//! The OAuth client by which an app asks people for access. From then on installing the app bounds what they can let it do,
//! and uninstalling it ends that; without one an app has keys only.

use clearway_config::ClientId;

use super::{
    act::{Which, counted, note, seen},
    error::AppError,
    model::App,
    state::State,
    store,
};
use crate::{
    audit::{Actor, Changes},
    db::Tx,
    oauth,
    sync::Revision,
    world::World,
};

/// An app and its client now, and what proxies are to be told, if it is anything.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) app: App,
    pub(super) client: Option<ClientId>,
    pub(super) revision: Option<Revision>,
}

/// Gives an app a client of its own account, or none. Whatever was issued for that client or the one before ends: it was let
/// do what it did as something else.
pub(super) async fn link(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    which: Which,
    client: Option<ClientId>,
) -> Result<Linked, AppError> {
    let old = seen(tx, which).await?.app;
    let before = store::client_of(&mut *tx, old.id).await?.map(|(client, _)| client);
    if before == client {
        return Ok(Linked { app: old, client, revision: None });
    }
    if old.state == State::Removed && client.is_some() {
        return Err(AppError::NotFound);
    }
    // In the order of their ids, as everybody who locks two.
    let mut changed: Vec<ClientId> = before.into_iter().chain(client).collect();
    changed.sort_unstable();
    let mut revision = None;
    for id in changed {
        let ended = oauth::begin_anew(tx, world, old.account_id, id).await?;
        let ended = if before == Some(id) { ended.unwrap_or_default() } else { ended.ok_or(AppError::NoClient)? };
        revision = ended.revision.or(revision);
    }
    store::unlink(tx, old.id).await?;
    if let Some(client) = client {
        let linked = store::link(tx, old.id, client, world.now_ms()).await;
        linked
            .map_err(|error| if error.is_conflict("app_clients_client_id_key") { AppError::ClientTaken } else { error.into() })?;
    }
    let app = counted(&old, old.state, world);
    store::save(tx, &app).await?;
    note(tx, world, actor, "app.linked", &app, Changes::default().field("client_id", before, client)).await?;
    Ok(Linked { app, client, revision })
}
