//! What is brought into force while the proxy runs: changed files, and what control says of routes and upstreams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{gateway::State, routes::RouteFiles, snapshot::Snapshot};

/// How often files are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many times as long as a table took to build nothing more is built, at most [`REST_MAX`].
const REST_AFTER_BUILD: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(250);

/// Looks at the files of routes and certificates every second, and at upstreams' names and certificates now and then.
pub(crate) async fn files(state: Arc<State>) {
    let mut ticks = tokio::time::interval(TICK);
    let mut resolve = tokio::time::interval(crate::upstreams::RESOLVE_EVERY);
    // Both begin with a tick at once, and both have just been done.
    resolve.tick().await;
    loop {
        let resolves = tokio::select! {
            _ = ticks.tick() => false,
            _ = resolve.tick() => true,
        };
        let state = state.clone();
        let work = tokio::task::spawn_blocking(move || {
            if resolves {
                return state.routes.current().refresh();
            }
            read_routes(&state, false);
            if let Some(tls) = &state.tls {
                tls.follow(false);
            }
        });
        if work.await.is_err() {
            tracing::error!("following the files panicked");
        }
    }
}

/// Brings into force what control says of routes and upstreams. What comes while that is being done is done
/// together, and most of the time is left to requests.
pub(crate) async fn objects(state: Arc<State>) {
    let mut changes = state.snapshot.objects().changes();
    // Something may have come since the start.
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        let began = Instant::now();
        let (routes, snapshot) = (state.routes.clone(), state.snapshot.clone());
        if tokio::task::spawn_blocking(move || build_objects(&routes, &snapshot)).await.is_err() {
            tracing::error!("following the control plane's routes panicked");
        }
        tokio::time::sleep((began.elapsed() * REST_AFTER_BUILD).min(REST_MAX)).await;
    }
}

/// Reads the routes files if they changed; `asked` reads them in any case. Blocks while it does.
pub(crate) fn read_routes(state: &State, asked: bool) {
    state.routes.follow(asked);
    // What a file takes or gives back changes what of control's is in force.
    let version = state.snapshot.objects().built().borrow().version;
    tell(&state.routes, &state.snapshot, version);
}

/// Brings what control has said by now into force. For one caller at a time.
pub(crate) fn build_objects(routes: &RouteFiles, snapshot: &Snapshot) {
    let (version, document) = snapshot.objects().document();
    if snapshot.objects().built().borrow().version == version {
        return;
    }
    routes.follow_objects(document);
    // Also where it was refused: it has been decided on, control is told, and revokes behind it do not wait.
    tell(routes, snapshot, version);
}

fn tell(routes: &RouteFiles, snapshot: &Snapshot, version: u64) {
    routes.note_refused(snapshot.objects().set_built(version, || routes.refused()));
}
