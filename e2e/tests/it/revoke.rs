//! Revoke means revoked: three gateways, strict mode, one of them stopped, killed or cut off.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    history::{Clients, Seen, violations},
    link::Link,
    upstream::Upstream,
};

const STRICT: &str = "[sync]\nmode = \"strict\"\nauth_lease = \"1s\"\n";
const AVAILABLE: &str = "[sync]\nmode = \"available\"\nauth_lease = \"1s\"\n";

struct Scene {
    _fleet: Fleet,
    _upstream: Upstream,
    control: Control,
    /// The third gateway's wire to control.
    link: Link,
    proxies: Vec<Proxy>,
}

impl Scene {
    async fn set(settings: &str) -> Self {
        let fleet = Fleet::new(settings);
        let upstream = Upstream::start().await;
        let control = fleet.control();
        let link = Link::to(&control.sync).await;
        let proxies = vec![
            fleet.proxy("gateway-0", &upstream.routes(), &control, &control.sync),
            fleet.proxy("gateway-1", &upstream.routes(), &control, &control.sync),
            fleet.proxy("gateway-2", &upstream.routes(), &control, &link.url),
        ];
        control.attached(3).await;
        Self { _fleet: fleet, _upstream: upstream, control, link, proxies }
    }

    /// A key that all gateways are seen to accept, and the clients that use it.
    async fn busy_key(&self) -> (String, Clients) {
        let account = self.control.account("history", "enterprise").await;
        let (id, secret) = self.control.key(&account, json!({})).await;
        let gateways: Vec<_> = self.proxies.iter().map(|p| (p.name.clone(), p.url.clone())).collect();
        let clients = Clients::start(&gateways, &secret);
        accepted_by_all(&clients, Instant::now(), &gateways).await;
        (id, clients)
    }

    async fn revoke(&self, id: &str) -> (Value, Instant) {
        let gone = self.control.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
        (gone["propagation"].clone(), Instant::now())
    }
}

async fn accepted_by_all(clients: &Clients, since: Instant, gateways: &[(String, String)]) {
    eventually("every gateway to accept the key", async || {
        let seen = clients.so_far();
        let accepts = |name: &String| seen.iter().any(|s| s.gateway == *name && s.began > since && s.status == Some(200));
        gateways.iter().all(|(name, _)| accepts(name)).then_some(())
    })
    .await;
}

/// Waits until each gateway in `names` has refused the key for a while after `since`.
async fn refused_by(clients: &Clients, since: Instant, names: &[&str]) {
    eventually("the gateways to refuse the key", async || {
        let seen = clients.so_far();
        let refusals = |name: &str| {
            seen.iter().filter(|s| s.gateway == name && s.began > since && s.status.is_some_and(|s| s >= 400)).count()
        };
        names.iter().all(|name| refusals(name) >= 20).then_some(())
    })
    .await;
}

fn assert_clean(history: &[Seen], revoked: Instant) {
    let bad = violations(history, revoked);
    assert!(bad.is_empty(), "{} requests were accepted after the revoke was answered: {:?}", bad.len(), bad[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_is_acknowledged_by_every_gateway_and_none_accepts_the_key_again() {
    let scene = Scene::set(STRICT).await;
    for _ in 0..5 {
        let (id, clients) = scene.busy_key().await;
        let (propagation, revoked) = scene.revoke(&id).await;
        assert_eq!(
            (&propagation["proxies"], &propagation["acknowledged"], &propagation["fenced"]),
            (&json!(3), &json!(3), &json!(0))
        );
        refused_by(&clients, revoked, &["gateway-0", "gateway-1", "gateway-2"]).await;
        assert_clean(&clients.stop().await, revoked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_gateway_is_fenced_and_refuses_when_it_goes_on() {
    let scene = Scene::set(STRICT).await;
    let (id, clients) = scene.busy_key().await;
    scene.proxies[1].process.signal("STOP");
    let (propagation, revoked) = scene.revoke(&id).await;
    assert_eq!((&propagation["acknowledged"], &propagation["fenced"]), (&json!(2), &json!(1)), "{propagation}");
    scene.proxies[1].process.signal("CONT");
    refused_by(&clients, revoked, &["gateway-0", "gateway-1", "gateway-2"]).await;
    assert_clean(&clients.stop().await, revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_comes_back_without_the_key() {
    let mut scene = Scene::set(STRICT).await;
    let (id, clients) = scene.busy_key().await;
    scene.proxies[0].process.kill();
    let (propagation, revoked) = scene.revoke(&id).await;
    assert_eq!(propagation["acknowledged"], json!(2), "{propagation}");
    scene.proxies[0].restart();
    refused_by(&clients, revoked, &["gateway-0", "gateway-1", "gateway-2"]).await;
    assert_clean(&clients.stop().await, revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_is_fenced_by_its_lease() {
    let scene = Scene::set(STRICT).await;
    let (id, clients) = scene.busy_key().await;
    scene.link.hold();
    let (propagation, revoked) = scene.revoke(&id).await;
    assert_eq!((&propagation["acknowledged"], &propagation["fenced"]), (&json!(2), &json!(1)), "{propagation}");
    refused_by(&clients, revoked, &["gateway-2"]).await;
    let fenced = clients.so_far().into_iter().filter(|s| s.gateway == "gateway-2" && s.began > revoked).filter_map(|s| s.status);
    assert!(fenced.clone().all(|status| status == 503), "a fenced gateway answers 503: {:?}", fenced.collect::<Vec<_>>());
    scene.link.release();
    eventually("the gateway to catch up and say 401", async || {
        clients.so_far().iter().any(|s| s.gateway == "gateway-2" && s.status == Some(401)).then_some(())
    })
    .await;
    assert_clean(&clients.stop().await, revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_control_waits_for_leases_it_does_not_remember() {
    let mut scene = Scene::set(STRICT).await;
    let (id, clients) = scene.busy_key().await;
    scene.link.hold();
    scene.control.restart();
    let (propagation, revoked) = scene.revoke(&id).await;
    assert_eq!(propagation["acknowledged"], json!(2), "{propagation}");
    refused_by(&clients, revoked, &["gateway-2"]).await;
    assert_clean(&clients.stop().await, revoked);
}

/// The negative control: without the fence the same partition must show up in the history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_fence_the_checker_sees_the_revoked_key_accepted() {
    let scene = Scene::set(AVAILABLE).await;
    let (id, clients) = scene.busy_key().await;
    scene.link.hold();
    let (propagation, revoked) = scene.revoke(&id).await;
    assert_eq!(propagation["fenced"], json!(0), "{propagation}");
    assert!(
        propagation["acknowledged"].as_u64() < propagation["proxies"].as_u64(),
        "the answer says that one is missing: {propagation}"
    );
    let caught = eventually("the checker to see a violation", async || {
        let seen = clients.so_far();
        violations(&seen, revoked).first().map(|s| s.gateway.clone())
    })
    .await;
    assert_eq!(caught, "gateway-2");
    // The others keep the promise even so.
    let seen = clients.stop().await;
    assert!(violations(&seen, revoked + Duration::ZERO).iter().all(|s| s.gateway == "gateway-2"));
}
