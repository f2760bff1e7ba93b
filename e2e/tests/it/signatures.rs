//! A key that requires signatures, made by the API, and signed for by another language: the example of the documentation.

use std::{path::Path, process::Command};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Fleet, word},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";

/// What the example prints for a request.
fn python(key: Option<&str>, made: &Value, method: &str, url: &str, body: Option<&str>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/signed_request.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(method).arg(url).args(body);
    command.env("CLEARWAY_KEY_ID", word(made, "id")).env_remove("CLEARWAY_KEY");
    command.env("CLEARWAY_SIGNING_SECRET", word(made, "signing_secret"));
    command.envs(key.map(|key| ("CLEARWAY_KEY", key)));
    let output = command.output().expect("python3 is there");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_example_signs_passes_with_the_key_and_in_its_place_until_it_is_rotated_out() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let signed = "\n[[routes]]\nname = \"signed\"\npath = \"/signed\"\nupstream = \"svc\"\nauth = [\"signature\"]\n";
    let proxy = fleet.proxy("gateway", &format!("{}{signed}", upstream.routes()), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("signs", "enterprise").await;
    let made = control.made_key(&account, json!({"require_signature": true})).await;
    let key = word(&made, "secret");
    let url = |path: &str| format!("{}{path}", proxy.url);

    let unsigned = crate::client().get(url("/svc/a")).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    // What was signed in the second in which the gateway started is refused.
    eventually("a signed request to pass", async || {
        python(Some(&key), &made, "GET", &url("/svc/a?b=c"), None).starts_with("200").then_some(())
    })
    .await;
    let said = python(Some(&key), &made, "POST", &url("/svc/a"), Some(r#"{"item": 7}"#));
    assert!(said.starts_with("200"), "{said}");
    assert!(upstream.last().to_ascii_lowercase().contains("content-digest: sha-256=:"), "{}", upstream.last());
    let said = python(None, &made, "PUT", &url("/signed/a"), Some("x"));
    assert!(said.starts_with("200"), "{said}");
    assert!(upstream.last().to_ascii_lowercase().contains("x-clearway-key-id: key_"));

    let id = word(&made, "id");
    let rotated = control.admin(Method::POST, &format!("/api/v1/keys/{id}/regenerate"), Some(json!({}))).await;
    let said = python(None, &made, "GET", &url("/signed/a"), None);
    assert!(said.contains("key_revoked"), "{said}");
    let said = python(None, &rotated, "GET", &url("/signed/a"), None);
    assert!(said.starts_with("200"), "{said}");
}
