//! The corpus: raw bytes with a verdict each, over both planes as they ship.
//!
//! Every case has a key of its own, by which what arrives and what is counted is told apart; all share
//! one account, one gateway and one upstream, and run side by side. What arrives and belongs to no case
//! is a failure too. `e2e/corpus/README.md` says how a case is written.

pub(crate) mod case;
pub(crate) mod client;
mod frames;
mod judge;
mod recorder;

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    eventually,
    fleet::{Control, Fleet, word},
};
use case::{Case, Secrets, Signs};
use client::Heard;
use judge::Identity;
use recorder::Recorder;

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";
/// Cases that run at a time.
const AT_A_TIME: usize = 16;
/// There are to be so many cases at least, so that none is lost unnoticed.
const CASES_MIN: usize = 400;

/// Everything that asks for a key leads to one recorder; so does what is open, for what slips through.
fn routes(upstream: &str) -> String {
    let mut routes = format!("[[upstreams]]\nname = \"recorder\"\naddresses = [\"{upstream}\"]\n");
    for (name, more) in [
        ("svc", "path = \"/svc\"\nauth = \"key\""),
        ("kept", "path = \"/kept\"\nauth = \"key\"\nkeep_credentials = true"),
        ("posts", "path = \"/posts\"\nauth = \"key\"\nmethods = [\"POST\"]"),
        ("admin", "path = \"/svc/admin\"\nauth = \"key\"\nscopes = [\"admin:all\"]"),
        ("tenant", "host = \"tenant.test\"\npath = \"/\"\nauth = \"key\"\nscopes = [\"admin:all\"]"),
        ("open", "path = \"/open\"\nauth = \"open\""),
    ] {
        write!(routes, "\n[[routes]]\nname = \"{name}\"\nupstream = \"recorder\"\n{more}\n").expect("a String takes everything");
    }
    routes
}

/// A case with the key that it is told apart by.
#[derive(Debug, Clone)]
struct Keyed {
    case: Arc<Case>,
    id: String,
    secret: String,
    /// In base64, where the key requires signatures.
    signing_secret: Option<String>,
}

impl Keyed {
    fn signs(&self) -> Option<Signs<'_>> {
        let secret = self.signing_secret.as_deref()?;
        let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        Some(Signs { key_id: &self.id, secret, now_s })
    }
}

/// A key for every case, and one for the requests in between.
async fn keys(control: &Arc<Control>, account: &str, cases: Vec<Case>) -> (Vec<Keyed>, Keyed) {
    let mut making = JoinSet::new();
    let at_a_time = Arc::new(Semaphore::new(AT_A_TIME));
    for (at, case) in std::iter::once(Case::control()).chain(cases).enumerate() {
        let (control, account, at_a_time) = (control.clone(), account.to_owned(), at_a_time.clone());
        making.spawn(async move {
            let _turn = at_a_time.acquire().await.expect("never closed");
            let made = control.made_key(&account, json!({ "require_signature": case.signs() })).await;
            let signing_secret = made["signing_secret"].as_str().map(str::to_owned);
            let (id, secret) = (word(&made, "id"), word(&made, "secret"));
            (at, Keyed { case: Arc::new(case), id, secret, signing_secret })
        });
    }
    let mut made = making.join_all().await;
    made.sort_by_key(|(at, _)| *at);
    let mut made = made.into_iter().map(|(_, keyed)| keyed);
    let probe = made.next().expect("one more than cases");
    (made.collect(), probe)
}

/// Sends the case, then a plain request on another connection.
async fn run(address: Arc<str>, keyed: Keyed, probe: Arc<Keyed>) -> (Keyed, Heard, Heard) {
    let secrets = Secrets { key: &keyed.secret, other: &probe.secret, signs: keyed.signs() };
    let (bytes, wanted) = (keyed.case.bytes(&secrets), keyed.case.expect.len());
    let heard = match keyed.case.is_h2 {
        true => frames::talk(&address, bytes, wanted).await,
        false => client::talk(&address, bytes, wanted, keyed.case.ends).await,
    };
    let secrets = Secrets { key: &probe.secret, other: &probe.secret, signs: None };
    let after = client::talk(&address, probe.case.bytes(&secrets), 1, false).await;
    (keyed, heard, after)
}

/// What control shows as admitted, by key.
async fn counted(control: &Control, account: &str) -> (u64, HashMap<String, u64>) {
    let mut counts = HashMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/analytics/usage?account_id={account}&limit=100{cursor}");
        let usage = control.admin(Method::GET, &path, None).await;
        for key in usage["keys"].as_array().into_iter().flatten() {
            counts.insert(word(key, "id"), key["admitted"].as_u64().expect("a number"));
        }
        match &usage["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return (usage["total"].as_u64().expect("a number"), counts),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_corpus_is_refused_or_arrives_once_with_one_identity() {
    let cases = case::load();
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    let fleet = Fleet::new(SETTINGS);
    let upstream = Recorder::start().await;
    let control = Arc::new(fleet.control());
    let proxy = fleet.proxy("gateway", &routes(&upstream.url), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("corpus", "enterprise").await;
    let (keyed, probe) = keys(&control, &account, cases).await;
    let (all, probe) = (keyed.len(), Arc::new(probe));

    let address: Arc<str> = proxy.url.strip_prefix("http://").expect("an address").into();
    let at_a_time = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    for keyed in keyed {
        let (address, probe, at_a_time) = (address.clone(), probe.clone(), at_a_time.clone());
        running.spawn(async move {
            let _turn = at_a_time.acquire().await.expect("never closed");
            run(address, keyed, probe).await
        });
    }
    let mut ran = running.join_all().await;
    ran.sort_by(|(a, ..), (b, ..)| a.case.name.cmp(&b.case.name));

    // Everything that was admitted has its line; then what control shows comes to the same.
    let admitted = eventually("the access log to rest", async || {
        let admitted = proxy.admitted_in_access_log().len() as u64;
        let (total, _) = counted(&control, &account).await;
        (total == admitted && admitted >= all as u64).then_some(admitted)
    })
    .await;
    let (total, counts) = counted(&control, &account).await;
    let received = upstream.received();
    let of = |key: &str| received.iter().filter(|request| request.header("x-clearway-key-id").contains(&key)).collect::<Vec<_>>();

    let mut report = String::new();
    for (keyed, heard, after) in &ran {
        let identity = Identity { account: &account, key: &keyed.id };
        let mut faults = judge::judge(&keyed.case, &identity, heard, &of(&keyed.id), counts.get(&keyed.id).copied().unwrap_or(0));
        if after.fault.is_some() || after.answers.iter().map(|answer| answer.status).ne([200]) {
            faults.push(format!("a request on another connection failed afterwards: {after:?}"));
        }
        if !faults.is_empty() {
            write!(report, "\n{} ({})\n  {}\n", keyed.case.name, keyed.case.why, faults.join("\n  ")).expect("a String");
        }
    }
    let known: Vec<_> = ran.iter().map(|(keyed, ..)| keyed.id.as_str()).chain([probe.id.as_str()]).collect();
    for stray in received.iter().filter(|request| !request.header("x-clearway-key-id").iter().any(|id| known.contains(id))) {
        write!(report, "\nreached the upstream and belongs to nobody\n  {}\n", stray.shown()).expect("a String");
    }
    assert_eq!(of(&probe.id).len(), all, "the requests in between arrive once each");
    assert!(report.is_empty(), "of {all} cases:\n{report}");
    assert_eq!((total, counts.values().sum::<u64>()), (admitted, total), "what is counted is what was admitted");
}
