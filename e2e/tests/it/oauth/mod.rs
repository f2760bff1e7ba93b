//! OAuth as an application meets it: over HTTP, by client libraries that others wrote, at a Clearway that runs.

mod libraries;
mod native;

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    fleet::{binary, word},
    script::{Interpreter, PYTHON},
    up::Up,
};

/// What developers are told to type.
const PAGE: &str = include_str!("../../../../docs/oauth.md");

/// Runs a script of `clients`, which prints a line of JSON, as the application of somebody who can sign in at `up`.
fn run(interpreter: &Interpreter, file: &str, up: &Up, url: &str, env: &[(&str, &Path)]) -> Value {
    say(interpreter.command(&format!("clients/{file}")), up, url, env)
}

/// What such an application prints.
fn say(mut application: Command, up: &Up, url: &str, env: &[(&str, &Path)]) -> Value {
    let ran = application
        .env("NO_PROXY", "*")
        .env("CLEARWAY_URL", url)
        .env("CLEARWAY_API_KEY", word(&up.ready, "admin_key"))
        .env("CLEARWAY_EMAIL", word(&up.ready, "admin_email"))
        .env("CLEARWAY_PASSWORD", word(&up.ready, "admin_password"))
        .envs(env.iter().copied())
        .output()
        .unwrap_or_else(|e| panic!("{application:?}: {e}: make prerequisites"));
    let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}{wrong}\n(make prerequisites installs what is missing)");
    serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{e}: {said}{wrong}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authlib_is_given_tokens_that_the_gateway_takes_until_they_are_revoked() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    let facts =
        run(&PYTHON, "application.py", &up, &word(&up.ready, "gateway"), &[("AUTHLIB_INSECURE_TRANSPORT", Path::new("1"))]);
    assert_eq!(facts["scope"], "read:keys");
    assert_eq!(facts["refreshed"], true);
    assert_eq!(facts["before"], 200);
    assert_eq!((&facts["after"], &facts["after_says"]), (&401.into(), &"token_revoked".into()), "the gateway itself refuses it");
    assert_eq!(facts["introspected_after"], false);
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
    assert!(script.len() > 5, "the page has lost its examples");
    let script = script.join("\n");
    let tools = binary("clearway").parent().map(Path::to_owned).expect("a directory");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let ran = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("CLEARWAY_URL", word(&up.ready, "gateway"))
        .env("CLEARWAY_API_KEY", word(&up.ready, "admin_key"))
        .env("CLEARWAY_EMAIL", word(&up.ready, "admin_email"))
        .env("CLEARWAY_PASSWORD", word(&up.ready, "admin_password"))
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let statuses: Vec<&str> = said.lines().collect();
    assert_eq!(statuses, promised(&script), "{said}");
    up.stop().await;
}
