//! Nobody, and another account: what neither may see or change.

use std::collections::BTreeSet;

use clearway_config::scope::{ADMIN, CLEARWAY_SCOPES};
use http::Method;
use serde_json::json;

use super::world::{Owner, Person, Target, World};
use crate::{
    app::{Answer, TestApp, on_both},
    databases::Engine,
    document::{Access, BASE, Operation, operations},
};

const NOBODYS: &str = "0000000000000000000000";

/// What writes nothing that concerns the account when it is tried as it is here, though it is no GET.
const UNCHANGING: &[&str] = &[];

/// What must show something of Ann's to Ann.
const LISTS_OF_HERS: &[&str] = &[
    "GET /audit",
    "GET /deliveries",
    "GET /developer/apps",
    "GET /events",
    "GET /installations",
    "GET /keys",
    "GET /marketplace/keys",
    "GET /marketplace/webhooks",
    "GET /members",
    "GET /members/invitations",
    "GET /oauth/clients",
    "GET /oauth/grants",
    "GET /oauth/registration-tokens",
    "GET /portfolio",
    "GET /portfolio/projects",
    "GET /stores",
    "GET /support/tickets",
    "GET /users/me/export",
    "GET /webhooks",
];

#[tokio::test]
async fn nobody_is_let_in_except_where_the_ledger_says_so() {
    let app = TestApp::new(Engine::Sqlite).await;
    let mut open = BTreeSet::new();
    for operation in operations() {
        let ids = vec![format!("key_{NOBODYS}"); operation.parameters()];
        let answer = app.anyone().send(operation.method.clone(), &operation.at(&ids), "").await;
        if answer.status == 401 && answer.code() == "key_missing" {
            assert_ne!(operation.access, Access::Open, "{}: the document says that it is open", operation.name());
        } else {
            assert_eq!(operation.access, Access::Open, "{}: {:#}", operation.name(), answer.body);
            open.insert(format!("{} {BASE}{}", operation.method, operation.path));
        }
    }
    let ledger: BTreeSet<String> = include_str!("../unauthorized_routes.txt").lines().map(str::to_owned).collect();
    assert_eq!(open, ledger, "unauthorized_routes.txt lists what anyone may call, and may only shrink");
}

#[tokio::test]
async fn each_operation_asks_for_the_scope_that_the_document_names() {
    let app = TestApp::new(Engine::Sqlite).await;
    for operation in operations() {
        let Access::Scope(wanted) = &operation.access else { continue };
        let all_others: Vec<&str> = CLEARWAY_SCOPES.iter().copied().filter(|scope| *scope != ADMIN && scope != wanted).collect();
        let (_, key) = app.account(&all_others).await;
        let ids = vec![format!("key_{NOBODYS}"); operation.parameters()];
        let answer = app.with_key(&key).send(operation.method.clone(), &operation.at(&ids), "").await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "scope_missing"), "{}", operation.name());
        assert_eq!(answer.body["error"]["details"]["scope"], json!(wanted), "{}", operation.name());
    }
}

/// Whose credential is tried on what is Ann's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stranger<'k> {
    /// A key of another account, with every scope but the platform's.
    Key(&'k str),
    /// An owner of another account, in it.
    Owner,
    /// The same, with a header that names Ann's account.
    Posing,
    /// None: an owner of Ann's account. What is tried must then be found to be possible.
    Insider,
}

/// Tries every operation on what is Ann's; what is let out, or may be changed.
pub(super) async fn faults(world: &World, strangers: &[Stranger<'_>]) -> Vec<String> {
    let mut faults = Vec::new();
    // So that there is something in every list: of what can be read, and of what can only be ended.
    for operation in operations().iter().filter(|operation| operation.reads() || operation.method == Method::DELETE) {
        world.refused_on(operation, &world.ann, &world.ann).await;
    }
    for operation in operations() {
        let theirs = world.tried_on(&operation, &world.ann, &world.ann).await;
        let objects = if theirs.owner == Owner::Public { &[] } else { theirs.ids.as_slice() };
        // Those that only read are asked most, and are looked at less.
        let before = if operation.reads() { BTreeSet::new() } else { world.rows_of_ann(objects).await };
        for stranger in strangers {
            let found = tried(world, &operation, &theirs, *stranger).await;
            faults.extend(found.into_iter().map(|what| format!("{} by {stranger:?}: {what}", operation.name())));
        }
        let after = if operation.reads() { BTreeSet::new() } else { world.rows_of_ann(objects).await };
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        if !changed.is_empty() {
            faults.push(format!("{} changes {changed:#?}", operation.name()));
        }
    }
    faults
}

async fn tried(world: &World, operation: &Operation, theirs: &Target, stranger: Stranger<'_>) -> Vec<String> {
    // Somebody new each time: what people do to themselves ends sessions.
    let person = match stranger {
        Stranger::Key(_) => world.carl.clone(),
        Stranger::Owner | Stranger::Posing => world.person("eve").await,
        Stranger::Insider => world.member("owner").await,
    };
    let client = || match stranger {
        Stranger::Key(key) => world.app.with_key(key),
        Stranger::Owner | Stranger::Insider => world.by(&person),
        Stranger::Posing => world.app.with_key(&person.session).header("x-clearway-account", &world.ann.account),
    };
    let is_private = !theirs.ids.is_empty() && matches!(theirs.owner, Owner::Account | Owner::Person);
    let mut targets = vec![theirs.clone()];
    let mut expected = if is_private { Expected::NotFound } else { Expected::Nothing };
    match (stranger, &operation.access) {
        (Stranger::Key(_), Access::Session) => return Vec::new(),
        (Stranger::Posing, Access::Open) => {}
        (Stranger::Posing, _) => expected = Expected::NotFound,
        (_, Access::Scope(scope)) if scope == ADMIN => expected = Expected::Forbidden,
        (Stranger::Insider, _) => {}
        _ if operation.parameters() == 0 => targets = vec![world.tried_on(operation, &person, &person).await],
        _ if operation.parameters() == 2 && is_private => {
            // Something of Ann's, as if it were in something of their own.
            let own = world.tried_on(operation, &person, &person).await;
            targets.push(Target { ids: vec![own.ids[0].clone(), theirs.ids[1].clone()], ..theirs.clone() });
        }
        _ => {}
    }
    let mut faults = Vec::new();
    for target in targets {
        let answer = world.try_on(client(), operation, &target).await;
        let mut found: Vec<String> = fault(world, operation, expected, &answer).into_iter().collect();
        if expected == Expected::NotFound && found.is_empty() {
            let ids = target.ids.iter().map(|id| nobodys(id)).collect();
            let nothing = world.try_on(client(), operation, &Target { ids, ..target }).await;
            if nothing.body["error"] != answer.body["error"] {
                found.push("answers otherwise than for what does not exist".into());
            }
        }
        faults.extend(found);
    }
    faults
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// As if it did not exist.
    NotFound,
    /// What only those may do who run Clearway.
    Forbidden,
    /// Whatever it answers, nothing of Ann's.
    Nothing,
}

fn fault(world: &World, operation: &Operation, expected: Expected, answer: &Answer) -> Option<String> {
    let (status, code) = (answer.status.as_u16(), answer.code());
    let leaks = world.leaks(operation, answer);
    let as_expected = match expected {
        Expected::NotFound => (status, code) == (404, "not_found"),
        Expected::Forbidden => (status, code) == (403, "scope_missing"),
        Expected::Nothing => status < 500,
    };
    if !leaks.is_empty() {
        return Some(format!("answers {status} and shows {leaks:?}"));
    }
    (!as_expected).then(|| format!("answers {status} {code} where {expected:?} is right"))
}

/// The same kind of id, of nothing.
fn nobodys(id: &str) -> String {
    id.split_once('_').map_or_else(|| format!("{id}-of-nobody"), |(kind, _)| format!("{kind}_{NOBODYS}"))
}

/// A key of somebody's account that may do whatever keys may.
pub(super) async fn key_of(world: &World, person: &Person) -> String {
    let scopes: Vec<&str> = CLEARWAY_SCOPES.iter().copied().filter(|scope| *scope != ADMIN).collect();
    let body = json!({"name": "all", "scopes": scopes}).to_string();
    world.by(person).post("/api/v1/keys", &body).await.secret().to_owned()
}

#[tokio::test]
async fn what_is_anothers_is_not_found_and_not_changed() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let key = key_of(&world, &world.carl).await;
        let faults = faults(&world, &[Stranger::Key(&key), Stranger::Owner, Stranger::Posing]).await;
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}

/// The same eyes see what there is to be seen: tried by an owner of Ann's account, every operation on something of hers is
/// found to let them, and to change what it changes.
#[tokio::test]
async fn what_may_be_seen_and_changed_is_noticed() {
    let world = World::new(TestApp::new(Engine::Sqlite).await).await;
    let faults = faults(&world, &[Stranger::Insider]).await;
    let noticed = |what: &str, name: &str| faults.iter().any(|fault| fault.starts_with(&format!("{name}{what}")));
    for operation in operations() {
        let name = operation.name();
        let target = world.tried_on(&operation, &world.ann, &world.ann).await;
        if target.owner == Owner::Account && !target.ids.is_empty() {
            assert!(noticed(" by Insider", &name), "{name}: nobody notices that it answers");
        }
        if target.owner == Owner::Account && !operation.reads() && !UNCHANGING.contains(&name.as_str()) {
            assert!(noticed(" changes", &name), "{name}: nobody notices that it changes something");
        }
    }
    for list in LISTS_OF_HERS {
        assert!(noticed(" by Insider: answers 200 and shows", list), "{list} shows nothing of hers even to her");
    }
}
