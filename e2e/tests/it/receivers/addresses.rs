//! A name that leads to one address when it is looked at, and to another later.
//!
//! The gateway asks the system's resolver, which asks name servers that no test can be. So the system's resolver is what is
//! replaced, in the process as it ships, by a library that knows one more name; nothing of the gateway is. A network of
//! one's own stands for the internet: of the addresses here one is allowed, the other is not.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tokio::net::TcpListener;

use super::{Stand, settings};
use crate::{
    fleet::Fleet,
    receiver::{Does, Receiver},
};

const NAME: &str = "moving.example";
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// The library, compiled by the C compiler that building the gateway takes.
fn library(dir: &Path) -> PathBuf {
    let (source, library) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers/names.c"), dir.join("names.so"));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc does not compile a library");
    library
}

/// A stand whose gateway is told these addresses of [`NAME`], one a look, and the last one from then on.
async fn told(addresses: &[Ipv4Addr]) -> Stand {
    let fleet = Fleet::new(&settings(&format!("{ALLOWED}/32"), ""));
    let library = library(fleet.dir.path()).display().to_string();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let env = vec![("LD_PRELOAD", library), ("NAMES_NAME", NAME.to_owned()), ("NAMES_ADDRESSES", addresses.join(" "))];
    Stand::of(fleet.with(env)).await
}

/// Two receivers at the same port, one of them at an address that is private.
async fn receivers(does: &Does) -> (Receiver, Receiver) {
    loop {
        let does = does.clone();
        let allowed = Receiver::at(ALLOWED.into(), 0, move |_, _| does.clone()).await;
        let free = TcpListener::bind((PRIVATE, allowed.port)).await.is_ok();
        if free {
            return (allowed.clone(), Receiver::at(PRIVATE.into(), allowed.port, |_, _| Does::takes()).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_to_a_private_address_is_not_connected_to_any_more() {
    let stand = told(&[ALLOWED, PRIVATE]).await;
    // The connection is closed, so that the next attempt looks again.
    let (allowed, private) = receivers(&Does::answers(500, &["Connection: close"])).await;
    let twice = json!({"retry_policy": {"initial_delay_ms": 100, "max_retries": 2}});
    let webhook = stand.webhook(&format!("http://{NAME}:{}/hook", allowed.port), twice).await;
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["last_failure"]), (&json!("failed"), &json!("address_refused")), "{ended:?}");
    let attempts = stand.attempts(&ended[0]).await;
    let met: Vec<_> = attempts.iter().map(|it| (it["address"].as_str().unwrap_or_default(), &it["status_code"])).collect();
    let (reached, refused) = (ALLOWED.to_string(), PRIVATE.to_string());
    let (answered, none) = (json!(500), json!(null));
    assert_eq!(met, [(reached.as_str(), &answered), (refused.as_str(), &none), (refused.as_str(), &none)], "{attempts:?}");
    assert_eq!(attempts[1]["reason"], "the address is loopback");
    assert_eq!((allowed.connections(), private.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_that_was_vetted_is_the_one_that_is_connected_to() {
    // Whoever looked once more before connecting would be told the other.
    let stand = told(&[ALLOWED, PRIVATE]).await;
    let (allowed, private) = receivers(&Does::takes()).await;
    let webhook = stand.webhook(&format!("http://{NAME}:{}/hook", allowed.port), json!({})).await;
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["attempts"]), (&json!("succeeded"), &json!(1)), "{ended:?}");
    assert_eq!((allowed.messages().len(), private.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_a_private_address_is_never_connected_to() {
    let stand = told(&[PRIVATE]).await;
    let (allowed, private) = receivers(&Does::takes()).await;
    let once = json!({"retry_policy": {"delays": []}});
    let webhook = stand.webhook(&format!("http://{NAME}:{}/hook", allowed.port), once).await;
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["last_failure"]), (&json!("failed"), &json!("address_refused")), "{ended:?}");
    assert_eq!((allowed.connections(), private.connections()), (0, 0));
}
