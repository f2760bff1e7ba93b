//! People at the gateway that ships: who they are is for the control plane to say, wrong keys are not.

use std::{path::Path, process::Command};

use clearway_config::SessionToken;
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::{
    fleet::{binary, word},
    up::Up,
};

/// What people are told to type.
const PAGE: &str = include_str!("../../../docs/people.md");

async fn refused(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("the gateway answers");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, word(&body["error"], "type"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_no_credential_at_all_reach_the_control_plane_and_a_wrong_key_does_not() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    let client = crate::client();
    let (keys, open) = (format!("{}/api/v1/keys", word(&up.ready, "gateway")), "/api/v1/openapi.json");

    let document = client.get(format!("{}{open}", word(&up.ready, "gateway"))).send().await.expect("an answer");
    assert_eq!(document.status(), 200, "what is open to anyone is so behind the gateway too");
    // To its end: the gateway does not stop in the middle of an answer.
    assert!(!document.bytes().await.expect("the whole document").is_empty());
    assert_eq!(refused(client.get(&keys)).await, (401, "key_missing".into()));
    let session = SessionToken::mint([7; 32]);
    // Only the control plane knows sessions, so that it is who says this.
    assert_eq!(refused(client.get(&keys).bearer_auth(session.reveal())).await, (401, "session_unknown".into()));
    let cookie = format!("__Host-clearway_session={}", session.reveal());
    assert_eq!(refused(client.get(&keys).header("cookie", cookie)).await, (401, "session_unknown".into()));

    for key in ["clw_live_short", &session.reveal()[..30]] {
        assert_eq!(refused(client.get(&keys).bearer_auth(key)).await, (401, "key_malformed".into()), "{key}");
    }
    let metrics = client.get(format!("{}/metrics", word(&up.ready, "metrics"))).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("clearway_rejects_total{code=\"key_malformed\"} 2"), "the gateway itself refused them: {metrics}");
    assert!(!metrics.contains("clearway_rejects_total{code=\"key_missing\"} 1"), "and nothing else");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_behind_one_that_control_refuses_before_it_has_read_it() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    let (client, keys) = (crate::client(), format!("{}/api/v1/keys", word(&up.ready, "gateway")));
    let session = SessionToken::mint([7; 32]);
    for bytes in [200_000, 20, 60_000, 20].into_iter().cycle().take(200) {
        let body = format!("{{\"name\": \"{}\"}}", "n".repeat(bytes));
        let asked = client.post(&keys).bearer_auth(session.reveal()).header("content-type", "application/json").body(body);
        let (status, code) = refused(asked).await;
        // There is a rate for whoever has not shown who they are.
        assert!(["session_unknown", "rate_limit_exceeded"].contains(&code.as_str()), "{status} {code} with {bytes} bytes");
    }
    up.stop().await;
}

/// The statuses that the page's examples say, in order: those of the last column, behind `# `.
fn promised(script: &str) -> Vec<&str> {
    let comments = script.lines().filter_map(|line| line.rsplit_once(" # ")).map(|(_, comment)| comment);
    comments.filter(|comment| comment.len() == 3 && comment.bytes().all(|b| b.is_ascii_digit())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_the_page_do_what_it_says() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    let blocks = PAGE.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").expect("an end of the block").0);
    let script: Vec<&str> = ["set -euo pipefail", "export NO_PROXY='*'"].into_iter().chain(blocks).collect();
    assert!(script.len() > 6, "the page has lost its examples");
    let script = script.join("\n");
    let tools = binary("clearway").parent().map(Path::to_owned).expect("a directory");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let ran = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("CLEARWAY_URL", word(&up.ready, "gateway"))
        .env("CLEARWAY_API_KEY", word(&up.ready, "admin_key"))
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    // An answer of curl's ends without a newline, so that a status may stand right behind one.
    let statuses: Vec<&str> = said.lines().filter_map(|line| line.get(line.len().checked_sub(3)?..)).collect();
    let statuses: Vec<&str> = statuses.into_iter().filter(|end| end.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(statuses, promised(&script), "{said}");
    up.stop().await;
}
