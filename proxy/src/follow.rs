//! What is brought into force while the proxy runs: changed files, and what control says of routes, upstreams and certificates.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{gateway::State, routes::RouteFiles, snapshot::Snapshot, tls::Tls};

/// How often files are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many times as long as a table took to build nothing more is built, at most [`REST_MAX`]: so that of a hundred
/// requests fewer than one meet a build, however much changes.
const REST_AFTER_BUILD: u32 = 100;
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
            read_files(&state, false);
        });
        if work.await.is_err() {
            tracing::error!("following the files panicked");
        }
    }
}

/// Brings into force what control says of them. What comes while that is being done is done
/// together, and most of the time is left to requests.
pub(crate) async fn objects(state: Arc<State>) {
    let mut changes = state.snapshot.objects().changes();
    // Something may have come since the start.
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        let began = Instant::now();
        let state = state.clone();
        let work = move || build_objects(&state.routes, &state.snapshot, state.tls.as_ref());
        if tokio::task::spawn_blocking(work).await.is_err() {
            tracing::error!("following the control plane's routes panicked");
        }
        tokio::time::sleep((began.elapsed() * REST_AFTER_BUILD).min(REST_MAX)).await;
    }
}

/// Reads the files of routes and certificates that changed; `asked` reads them in any case. Blocks while it does.
pub(crate) fn read_files(state: &State, asked: bool) {
    state.routes.follow(asked);
    if let Some(tls) = &state.tls {
        tls.follow(asked);
    }
    // What a file takes or gives back changes what of control's is in force.
    let version = state.snapshot.objects().built().borrow().version;
    tell(&state.routes, &state.snapshot, state.tls.as_ref(), version);
}

/// Brings what control has said by now into force. For one caller at a time.
pub(crate) fn build_objects(routes: &RouteFiles, snapshot: &Snapshot, tls: Option<&Tls>) {
    let (version, document) = snapshot.objects().document();
    if snapshot.objects().built().borrow().version == version {
        return;
    }
    routes.follow_objects(document);
    if let Some(tls) = tls {
        tls.follow_control(snapshot.objects().certificates());
    }
    // Also where it was refused: it has been decided on, control is told, and revokes behind it do not wait.
    tell(routes, snapshot, tls, version);
}

fn tell(routes: &RouteFiles, snapshot: &Snapshot, tls: Option<&Tls>, version: u64) {
    let refused = || routes.refused().into_iter().chain(tls.map(Tls::refused).unwrap_or_default()).collect();
    routes.note_refused(snapshot.objects().set_built(version, refused));
}
