//! Schemathesis tries out every operation of the document against a real Clearway, with what the document allows and with
//! what it does not: no answer is a fault of the server, and none is one that the document does not say.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use super::seeded::Seeds;
use crate::{
    deploy::{root, said},
    fleet::word,
    up::Up,
};

/// Of the run by an admin's key in `make test`; the others take a sixth of it each. `CLEARWAY_FUZZ_SECONDS` is for longer ones.
const SECONDS: u64 = 60;
/// The same requests each time, as far as they get; `make fuzz-api` takes others.
const SEED: u64 = 1;

/// What could take away from the caller what it calls with, so that all that follows were refused. Tried out last.
const FINAL: [&str; 18] = [
    "accounts_suspend",
    "accounts_change_plan",
    "admin_users_erase",
    "admin_users_suspend",
    "auth_logout",
    "auth_refresh",
    "keys_regenerate",
    "keys_revoke",
    "keys_rotate",
    "keys_update",
    "marketplace_keys_regenerate",
    "marketplace_keys_revoke",
    "marketplace_keys_rotate",
    "marketplace_keys_update",
    "members_remove",
    "profile_erase",
    "sessions_end",
    "sessions_end_others",
];

/// Checks that are left out. The document cannot say all that an act depends on, such as which slugs are taken or when
/// an app may be published, so that not all that it allows is accepted.
const NOT_CHECKED: &str = "positive_data_acceptance";

struct Run<'a> {
    document: &'a Path,
    url: &'a str,
    /// A key, or a session's token.
    token: &'a str,
    seconds: u64,
    seed: u64,
}

impl Run<'_> {
    /// The operations that were tried out, and those of them that did something, or what was wrong.
    fn over(&self, which: &[&str]) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
        let packages = root().join("target/schemathesis");
        assert!(packages.is_dir(), "{} is missing: make prerequisites", packages.display());
        let reports = tempfile::tempdir().expect("a temporary directory");
        let report = reports.path().join("report.ndjson");
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &packages).env("NO_PROXY", "*").current_dir(reports.path());
        command.arg(packages.join("bin/schemathesis")).arg("run").arg(self.document).args(["--url", self.url]);
        command.args(["--header", &format!("Authorization: Bearer {}", self.token), "--phases", "examples,coverage,fuzzing"]);
        command.args(["--seed", &self.seed.to_string(), "--max-time", &self.seconds.to_string()]);
        command.args(["--continue-on-failure", "--suppress-health-check", "all", "--generation-database", "none"]);
        command.args(["--no-color", "--warnings", "off", "--exclude-checks", NOT_CHECKED]);
        command.args(["--report", "ndjson", "--report-ndjson-path"]).arg(&report).args(which);
        said(&mut command)?;
        let report = fs::read_to_string(&report).expect("the report");
        let mut tried = BTreeSet::new();
        let mut did = BTreeSet::new();
        for line in report.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            let recorder = &event["ScenarioFinished"]["recorder"];
            let Some(label) = recorder["label"].as_str() else { continue };
            tried.insert(label.to_owned());
            let mut answers = recorder["interactions"].as_object().into_iter().flatten();
            let done = |answer: &Value| answer["response"]["status_code"].as_u64().is_some_and(|status| status < 400);
            if answers.any(|(_, answer)| done(answer)) {
                did.insert(label.to_owned());
            }
        }
        Ok((tried, did))
    }
}

/// Has each operation ask for the first credential only that it takes, and counts them. Schemathesis would send made-up
/// ones of all the others beside it, and requests with two credentials are refused whatever they ask for.
fn by_one_credential(document: &mut Value) -> usize {
    let items = document["paths"].as_object_mut().expect("paths").values_mut().filter_map(Value::as_object_mut);
    let operations = items.flat_map(|item| item.values_mut());
    let first = |operation: &mut Value| operation["security"].as_array_mut().expect("a list").truncate(1);
    operations.map(first).count()
}

fn seconds() -> u64 {
    std::env::var("CLEARWAY_FUZZ_SECONDS").map_or(SECONDS, |said| said.parse().expect("CLEARWAY_FUZZ_SECONDS: a number"))
}

fn seed() -> u64 {
    match std::env::var("CLEARWAY_TEST_SEED") {
        Ok(said) => said.parse().expect("CLEARWAY_TEST_SEED: a number"),
        Err(_) => SEED,
    }
}

async fn post(up: &Up, path: &str, token: Option<&str>, body: Value) -> Value {
    let request = crate::client().request(Method::POST, format!("{}{path}", word(&up.ready, "control"))).json(&body);
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_finds_a_fault_of_the_server_or_an_answer_that_the_document_does_not_say() {
    let (seed, seconds) = (seed(), seconds());
    println!("CLEARWAY_TEST_SEED={seed} makes the same requests again");
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    // Of the control plane itself: what is judged is the document of its API.
    let (url, key) = (word(&up.ready, "control"), word(&up.ready, "admin_key"));
    let served = data.path().join("openapi.json");
    let answer = crate::client().get(format!("{url}/api/v1/openapi.json")).send().await.expect("the document");
    let mut document: Value = answer.json().await.expect("JSON");
    let operations = by_one_credential(&mut document);
    let seeds = Seeds { url: &url, token: &key, http: crate::client() };
    let sown = seeds.sow(&mut document).await;
    fs::write(&served, document.to_string()).expect("writable");

    let credentials = json!({"email": word(&up.ready, "admin_email"), "password": word(&up.ready, "admin_password")});
    let session = word(&post(&up, "/api/v1/auth/login", None, credentials).await["session"], "token");
    let spare = post(&up, "/api/v1/keys", Some(&key), json!({"name": "spare", "scopes": ["admin:platform"]})).await;
    let spare = word(&spare, "secret");
    let but_the_final: Vec<&str> = FINAL.iter().flat_map(|id| ["--exclude-operation-id", id]).collect();
    let the_final: Vec<&str> = FINAL.iter().flat_map(|id| ["--include-operation-id", id]).collect();
    let of_people: Vec<&str> = ["--include-tag", "people"].into_iter().chain(but_the_final.iter().copied()).collect();

    let with = |token, seconds| Run { document: &served, url: &url, token, seconds, seed };
    let judged = |run: Result<_, String>| run.unwrap_or_else(|why| panic!("CLEARWAY_TEST_SEED={seed}\n{why}"));
    let (tried, did) = judged(with(&*key, seconds).over(&but_the_final));
    assert!(tried.len() * 2 >= operations, "only {} of {operations} were tried out", tried.len());
    println!("{operations} operations, {sown} with an object: {} tried out, {} did something", tried.len(), did.len());
    assert!(did.len() > operations / 3, "hardly anything was done: {did:?}");
    judged(with(&*session, seconds / 6).over(&of_people));
    judged(with(&*spare, seconds / 6).over(&the_final));
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_document_does_not_say_is_noticed() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    let (url, key) = (word(&up.ready, "control"), word(&up.ready, "admin_key"));
    let mut broken = super::document();
    by_one_credential(&mut broken);
    broken["components"]["schemas"]["Success_List_StoreView"]["required"] = json!(["aisle"]);
    let document = data.path().join("openapi.json");
    fs::write(&document, broken.to_string()).expect("writable");
    let run = Run { document: &document, url: &url, token: &key, seconds: 5, seed: seed() };
    let why = run.over(&["--include-operation-id", "stores_list"]).expect_err("a required member is missing");
    assert!(why.contains("\"aisle\" is a required property"), "{why}");
    run.over(&["--include-operation-id", "plans_list"]).expect("nothing else is wrong");
    up.stop().await;
}
