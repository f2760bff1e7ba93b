//! Routes told by the control plane: in force when the call has returned, on every gateway, and after a
//! restart without control.

use std::{path::PathBuf, process::Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fleet::{Control, Fleet, Proxy, binary},
    upstream::Upstream,
};

const ROUTES: &str = "/api/v1/admin/routes";

async fn status(proxy: &Proxy, path: &str) -> u16 {
    let answer = crate::client().get(format!("{}{path}", proxy.url)).send().await.expect("the gateway answers");
    answer.status().as_u16()
}

async fn with_upstream(control: &Control, upstream: &Upstream) {
    control.admin(Method::PUT, "/api/v1/admin/upstreams/told", Some(json!({ "addresses": [upstream.url] }))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_in_force_everywhere_when_its_change_has_been_answered() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let (one, mut other) = (
        fleet.proxy("one", &upstream.routes(), &control, &control.sync),
        fleet.proxy("other", &upstream.routes(), &control, &control.sync),
    );
    control.attached(2).await;
    with_upstream(&control, &upstream).await;
    let route = json!({ "path": "/told", "upstream": "told", "auth": "open" });
    for round in 0..20 {
        let made: Value = control.admin(Method::PUT, &format!("{ROUTES}/told"), Some(route.clone())).await;
        assert_eq!(made["propagation"]["acknowledged"], 2, "{made}");
        assert_eq!((status(&one, "/told/x").await, status(&other, "/told/x").await), (200, 200), "round {round}");
        if round < 19 {
            control.admin(Method::DELETE, &format!("{ROUTES}/told"), None).await;
            assert_eq!((status(&one, "/told/x").await, status(&other, "/told/x").await), (404, 404), "round {round}");
        }
    }

    control.process.kill();
    other.restart();
    assert_eq!(status(&other, "/told/x").await, 200, "from the disk snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_says_comes_before_what_control_says() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    with_upstream(&control, &upstream).await;
    // The name of the file's route, its place, and one that is free.
    for (name, path) in [("svc", "/elsewhere"), ("other", "/svc"), ("free", "/free")] {
        let route = json!({ "path": path, "upstream": "told", "auth": "open" });
        let put = control.admin(Method::PUT, &format!("{ROUTES}/{name}"), Some(route)).await;
        let counts = (&put["propagation"]["acknowledged"], &put["propagation"]["refused"]);
        let expected = if name == "free" { (1, 0) } else { (0, 1) };
        assert_eq!(counts, (&json!(expected.0), &json!(expected.1)), "{put}");
    }
    let listed = control.admin(Method::GET, "/api/v1/admin/proxies", None).await;
    let refused = &listed["items"][0]["refused"];
    assert_eq!(
        (&listed["items"][0]["refused_count"], &refused[0]["object"], &refused[1]["object"]),
        (&json!(2), &json!("route/svc"), &json!("route/other")),
        "{listed}"
    );
    let seen = [status(&proxy, "/elsewhere").await, status(&proxy, "/svc/x").await, status(&proxy, "/free").await];
    assert_eq!(seen, [404, 401, 200]);

    // Whoever applies a document is told, and so is who started the command.
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("wanted.toml");
    let wanted = "[[upstreams]]\nname = \"told\"\naddresses = [\"http://127.0.0.1:7000\"]\n\n\
                  [[routes]]\nname = \"another\"\npath = \"/svc\"\nupstream = \"told\"\nauth = \"open\"\n";
    std::fs::write(&file, wanted).expect("written");
    let mut command = tokio::process::Command::new(binary("clearway"));
    command.args(["apply", "--yes", "--url", &control.url, "-f"]).arg(&file).env("CLEARWAY_API_KEY", &control.admin_key);
    let output = command.output().await.expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("0 of 1 gateways acknowledged, 1 refused") && said.contains("gateway refuses route/another: "),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_applies_again_and_changes_nothing() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let control = fleet.control();
    let dir = tempfile::tempdir().expect("a directory");
    let clearway = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(binary("clearway"));
        command.args(args).args(["--url", &control.url]).env("CLEARWAY_API_KEY", &control.admin_key).stdin(Stdio::null());
        let output = command.output().await.expect("the command runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let document = "[[upstreams]]\nname = \"orders\"\naddresses = [\"http://127.0.0.1:7000\"]\nread_timeout = \"10s\"\n\n\
                    [[routes]]\nname = \"orders\"\nhost = \"api.example.com\"\npath = \"/orders\"\nmethods = [\"GET\"]\n\
                    upstream = \"orders\"\nauth = \"key\"\nscopes = [\"read:orders\"]\n";
    std::fs::write(file("wanted.toml"), document).expect("written");
    let wanted = file("wanted.toml").display().to_string();

    let (code, shown, _) = clearway(&["apply", "-f", &wanted, "--dry-run"]).await;
    assert_eq!((code, shown.as_str()), (Some(2), "+ upstream orders\n+ route orders\n"));
    let (code, _, said) = clearway(&["apply", "-f", &wanted]).await;
    assert_eq!(code, Some(1), "{said}: nobody was asked");
    let (code, shown, said) = clearway(&["apply", "-f", &wanted, "--yes"]).await;
    assert_eq!((code, shown.as_str()), (Some(0), "+ upstream orders\n+ route orders\n"), "{said}");

    let exported = file("exported.toml").display().to_string();
    assert_eq!(clearway(&["export", "-o", &exported]).await.0, Some(0));
    let (code, shown, said) = clearway(&["apply", "-f", &exported, "--dry-run"]).await;
    assert_eq!((code, shown.as_str()), (Some(0), "nothing differs\n"), "{said}");

    std::fs::write(file("wanted.toml"), document.replace("/orders", "orders")).expect("written");
    let (code, _, said) = clearway(&["apply", "-f", &wanted, "--yes"]).await;
    assert!(code == Some(1) && said.contains("wanted.toml:9: routes.path: must start with /"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accounts_policies_hold_when_the_call_has_returned_and_after_a_restart() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    with_upstream(&control, &upstream).await;
    let route = json!({ "path": "/told", "upstream": "told", "auth": "key" });
    control.admin(Method::PUT, &format!("{ROUTES}/told"), Some(route)).await;
    let closed = json!({ "addresses": { "deny": ["127.0.0.0/8"] } });
    control.admin(Method::PUT, "/api/v1/admin/policies/elsewhere", Some(closed)).await;
    let account = control.account("narrowed", "starter").await;
    let (_, secret) = control.key(&account, json!({})).await;
    let asked = async |proxy: &Proxy| {
        let asked = crate::client().get(format!("{}/told", proxy.url)).bearer_auth(&secret).send().await;
        asked.expect("the gateway answers").status().as_u16()
    };
    let path = format!("/api/v1/admin/accounts/{account}");
    for (policies, expected) in [(json!([]), 200), (json!(["elsewhere"]), 403), (json!([]), 200), (json!(["elsewhere"]), 403)] {
        let changed = control.admin(Method::PATCH, &path, Some(json!({ "policies": policies }))).await;
        assert_eq!(changed["propagation"]["acknowledged"], 1, "{changed}");
        assert_eq!(asked(&proxy).await, expected, "{policies}");
    }
    control.process.kill();
    proxy.restart();
    assert_eq!(asked(&proxy).await, 403, "from the disk snapshot");
}
