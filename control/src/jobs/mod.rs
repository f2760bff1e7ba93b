//! What is done without being asked: sweeping away what time has made useless.

use std::{future::Future, time::Duration};

use tokio::sync::watch;

use crate::{
    auth, catalogue, db, factors,
    http::{Api, chain, idempotency},
    identities, keys, mail, members, oauth, proxies, sessions, usage, webhooks,
};

/// Between two sweeps, and after one that failed.
const PAUSE: Duration = Duration::from_secs(60);

/// Of [`db::Db::alone`].
const SWEEPING: i64 = 4_991_386_027_318_862_450;

/// Sweeps until `stop` says true. A sweep is bounded and small; while it finds as much as it may take it goes on.
pub async fn sweep_until(api: Api, mut stop: watch::Receiver<bool>) {
    loop {
        sweep_once(&api).await;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Everything whose time is over now.
pub async fn sweep_once(api: &Api) {
    // Each statement takes what it removes; that one process does it at a time saves the others the work.
    let _alone = match api.db.alone(SWEEPING).await {
        Ok(Some(alone)) => alone,
        Ok(None) => return,
        Err(error) => return tracing::warn!(error.cause = chain(&error), "nothing swept"),
    };
    let before = api.world.now_ms() - idempotency::KEPT_MS;
    drain(api, "idempotency_key", || idempotency::sweep(&api.db, before)).await;
    drain(api, "key_expiry", || keys::tell_expired(&api.db, &api.world)).await;
    drain(api, "quota_notice", || usage::sweep(&api.db, &api.world)).await;
    drain(api, "proxy", || proxies::sweep(&api.db, api.forget_proxies_after)).await;
    drain(api, "secret", || keys::sweep(&api.db, &api.world)).await;
    drain(api, "session", || sessions::sweep(&api.db, before)).await;
    drain(api, "sign_in", || auth::sweep(&api.db, &api.world)).await;
    drain(api, "passkey_challenge", || factors::passkeys::sweep(&api.db, api.world.now_ms())).await;
    drain(api, "provider_request", || identities::sweep(&api.db, api.world.now_ms())).await;
    drain(api, "invitation", || members::sweep(&api.db, api.world.now_ms())).await;
    drain(api, "mailbox", || mail::sweep(&api.db, api.world.now_ms())).await;
    drain(api, "app_trend", || catalogue::sweep(&api.db, &api.world)).await;
    drain(api, "oauth", || oauth::sweep(&api.db, &api.world, &api.secrets)).await;
    drain(api, "webhook_secret", || webhooks::sweep(&api.db, &api.world)).await;
}

async fn drain<F: Future<Output = db::Result<u64>>>(api: &Api, kind: &'static str, sweep: impl Fn() -> F) {
    loop {
        match sweep().await {
            Ok(0) => return,
            Ok(rows) => {
                api.metrics.swept(kind, rows);
                tracing::info!(kind, rows, "swept");
            }
            Err(error) => {
                tracing::warn!(kind, error.cause = chain(&error), "sweep failed");
                return;
            }
        }
    }
}
