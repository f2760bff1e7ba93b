//! Both planes as real processes. One file a promise or a journey; `fleet.rs`, `link.rs`, `receiver.rs` and
//! `upstream.rs` are what they stand on.

mod authentication;
mod binary_upgrade;
mod chaos;
mod clients;
mod conservation;
mod controls;
mod corpus;
mod deliveries;
mod deploy;
mod description;
mod differential;
mod fleet;
mod history;
mod issuer;
mod journeys;
mod link;
mod moving_up;
mod oauth;
mod offline;
mod operating;
mod people;
mod quickstarts;
mod quotas;
mod receiver;
mod receivers;
mod reload;
mod restore;
mod revoke;
mod routes;
mod script;
mod signatures;
mod tls;
mod up;
mod upstream;
mod webhooks;
mod windows;

use std::time::{Duration, Instant};

/// An HTTP client. Reqwest comes with TLS here and leaves the provider to the program; a second choice of the
/// same one changes nothing.
fn client_for(timeout: Duration) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(timeout).build().expect("a client")
}

fn client() -> reqwest::Client {
    client_for(Duration::from_secs(60))
}

/// Waits until `condition` answers `Some`, for at most half a minute.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited half a minute for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
