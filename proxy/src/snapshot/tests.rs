//! The table as the request path sees it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use clearway_config::{KeyHash, sync::v1};

use super::Snapshot;

pub(super) fn hash(n: u64) -> [u8; 32] {
    // Spread as a SHA-256 is: the table takes the first eight bytes as they are.
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    hash[8..16].copy_from_slice(&n.to_le_bytes());
    hash
}

pub(super) fn id(n: u64) -> Vec<u8> {
    u128::from(n).to_be_bytes().to_vec()
}

pub(super) fn plan(name: &str, per_day: u64) -> v1::Plan {
    v1::Plan {
        name: name.into(),
        limits: Some(v1::Limits { per_day: Some(per_day), ..Default::default() }),
        on_quota_store_loss: String::new(),
    }
}

pub(super) fn account(n: u64, plan: &str) -> v1::Account {
    v1::Account { id: id(n), plan: plan.into(), suspended: false, policies: Vec::new() }
}

pub(super) fn credential(n: u64) -> v1::Credential {
    v1::Credential {
        hash: hash(n).to_vec(),
        key_id: id(n),
        account_id: id(n % 10),
        scopes: vec!["read:apps".into()],
        ..Default::default()
    }
}

pub(super) fn begin(revision: u64) -> v1::SnapshotBegin {
    v1::SnapshotBegin { revision, store_id: vec![7; 16], credentials: 0 }
}

/// Plan, ten accounts and the credentials numbered by `keys`.
pub(super) fn rows(keys: impl IntoIterator<Item = u64>) -> v1::Changes {
    v1::Changes {
        plans: vec![plan("starter", 100)],
        accounts: (0..10).map(|n| account(n, "starter")).collect(),
        credentials: keys.into_iter().map(credential).collect(),
        ..Default::default()
    }
}

pub(super) fn full(snapshot: &Snapshot, revision: u64, rows: &v1::Changes) {
    snapshot.begin_full(&begin(revision));
    snapshot.apply_chunk(rows);
    snapshot.end_full(&v1::SnapshotEnd { revision }).unwrap();
}

pub(super) fn delta(revision: u64, changes: v1::Changes) -> v1::Delta {
    v1::Delta { revision, changes: Some(changes) }
}

pub(super) fn credentials(list: Vec<v1::Credential>) -> v1::Changes {
    v1::Changes { credentials: list, ..Default::default() }
}

/// What a request can see of one key.
pub(super) fn seen(snapshot: &Snapshot, n: u64) -> Option<String> {
    let view = snapshot.pin();
    let found = view.find(&KeyHash::from_bytes(hash(n)))?;
    Some(format!(
        "{:?} {:?} {:?} {} {:?}",
        found.key_id(),
        found.held(),
        found.account_limits(),
        found.plan(),
        found.key_limits()
    ))
}

#[test]
fn a_key_is_found_with_its_account_its_plan_and_its_own_limits() {
    let snapshot = Snapshot::new();
    let mut rows = rows([]);
    rows.credentials = vec![v1::Credential {
        expires_at: Some(9),
        allowed_addresses: vec!["10.0.0.0/8".into()],
        limits: Some(v1::Limits { concurrent: Some(3), ..Default::default() }),
        ..credential(4)
    }];
    assert!(!snapshot.is_ready());
    full(&snapshot, 5, &rows);

    assert!(snapshot.is_ready());
    assert_eq!(snapshot.revision(), 5);
    let view = snapshot.pin();
    let found = view.find(&KeyHash::from_bytes(hash(4))).unwrap();
    assert_eq!(found.key_id().to_vec(), id(4));
    assert_eq!(found.account_id().to_vec(), id(4));
    assert_eq!(found.plan(), "starter");
    assert_eq!(found.account_limits().per_day, Some(100));
    assert_eq!(found.key_limits().concurrent, Some(3));
    let held = found.held();
    assert_eq!((held.revoked, held.expires_at, held.suspended), (false, Some(9), false));
    assert_eq!(held.allowed, ["10.0.0.0/8".parse().unwrap()]);
    assert!(held.scopes.contains("read:apps"));
    assert!(view.find(&KeyHash::from_bytes(hash(5))).is_none());
}

#[test]
fn a_full_snapshot_removes_what_vanished_while_readers_go_on() {
    let snapshot = Snapshot::new();
    full(&snapshot, 1, &rows(0..2_000));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for n in 0..1_000 {
                    assert!(seen(&snapshot, n).is_some(), "a key that never vanished must be found at every moment");
                }
            }
        });
        for revision in 2..10 {
            full(&snapshot, revision, &rows(0..1_000 + revision));
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(snapshot.credentials(), 1_009);
    assert!(seen(&snapshot, 1_500).is_none());
}

#[test]
fn accounts_and_plans_that_a_full_snapshot_does_not_name_are_refused() {
    let snapshot = Snapshot::new();
    let mut before = rows([1, 2]);
    before.plans.push(plan("pro", 5));
    before.accounts[2].plan = "pro".into();
    full(&snapshot, 1, &before);
    assert!(seen(&snapshot, 2).unwrap().contains("suspended: false"));

    let mut after = rows([1, 2]);
    after.accounts.remove(1);
    after.accounts[1].plan = "pro".into();
    full(&snapshot, 2, &after);
    assert!(seen(&snapshot, 1).unwrap().contains("suspended: true"), "its account is gone");
    assert!(seen(&snapshot, 2).unwrap().contains("suspended: true"), "its account's plan is gone");
}

#[test]
fn a_delta_applied_twice_changes_nothing_more() {
    let snapshot = Snapshot::new();
    full(&snapshot, 1, &rows(0..10));
    let mut changes = credentials(vec![v1::Credential { revoked: true, ..credential(3) }, credential(77)]);
    changes.removed_credentials = vec![hash(4).to_vec()];
    changes.plans = vec![plan("starter", 7)];
    let step = delta(2, changes);

    snapshot.apply(&step);
    let once: Vec<_> = (0..100).map(|n| seen(&snapshot, n)).collect();
    snapshot.apply(&step);
    let twice: Vec<_> = (0..100).map(|n| seen(&snapshot, n)).collect();

    assert_eq!(once, twice);
    assert!(once[3].as_ref().unwrap().contains("revoked: true"));
    assert!(once[4].is_none());
    assert!(once[77].as_ref().unwrap().contains("per_day: Some(7)"));
    assert_eq!((snapshot.revision(), snapshot.credentials()), (2, 10));
}

#[test]
fn a_slot_survives_every_change_of_its_key() {
    let snapshot = Snapshot::new();
    full(&snapshot, 1, &rows([1]));
    let slots = |snapshot: &Snapshot| {
        let view = snapshot.pin();
        let found = view.find(&KeyHash::from_bytes(hash(1))).unwrap();
        (found.key_slot().load(), found.account_slot().load())
    };
    assert_eq!(slots(&snapshot), (None, None));
    {
        let view = snapshot.pin();
        let found = view.find(&KeyHash::from_bytes(hash(1))).unwrap();
        found.key_slot().store(8);
        found.account_slot().store(9);
    }
    snapshot.apply(&delta(2, credentials(vec![v1::Credential { revoked: true, ..credential(1) }])));
    full(&snapshot, 3, &rows([1]));
    assert_eq!(slots(&snapshot), (Some(8), Some(9)));
}

#[test]
fn a_key_in_words_not_known_here_is_refused_not_half_understood() {
    let snapshot = Snapshot::new();
    let mut rows = rows([]);
    rows.credentials = vec![
        v1::Credential { scopes: vec!["everything".into()], ..credential(1) },
        v1::Credential { allowed_addresses: vec!["somewhere".into()], ..credential(2) },
        v1::Credential { limits: Some(v1::Limits { per_day: Some(0), ..Default::default() }), ..credential(3) },
        v1::Credential { hash: vec![1], ..credential(4) },
        v1::Credential { key_id: vec![1], ..credential(5) },
    ];
    snapshot.begin_full(&begin(1));
    let applied = snapshot.apply_chunk(&rows);
    assert_eq!((applied.rows, applied.unreadable), (16, 5));
    for n in 1..=3 {
        assert!(seen(&snapshot, n).unwrap().contains("revoked: true"));
    }
    assert!(seen(&snapshot, 5).is_none());
}

#[test]
fn a_key_whose_account_was_not_described_is_refused() {
    let snapshot = Snapshot::new();
    full(&snapshot, 1, &credentials(vec![credential(1)]));
    assert!(seen(&snapshot, 1).unwrap().contains("suspended: true"));
}

fn route(name: &str, path: &str) -> v1::GatewayObject {
    let spec = format!("{{\"path\":\"{path}\",\"upstream\":\"control\",\"auth\":\"open\"}}").into_bytes();
    v1::GatewayObject { kind: "route".into(), name: name.into(), spec }
}

fn paths(snapshot: &Snapshot) -> Vec<String> {
    let mut paths: Vec<_> = snapshot.objects().document().1.routes.iter().map(|route| route.path.clone()).collect();
    paths.sort();
    paths
}

#[test]
fn a_route_that_a_whole_snapshot_does_not_name_is_gone_and_one_not_understood_does_not_stay_as_it_was() {
    let snapshot = Snapshot::new();
    let routes = |routes: Vec<v1::GatewayObject>| v1::Changes { gateway_objects: routes, ..Default::default() };
    full(&snapshot, 1, &routes(vec![route("a", "/a"), route("b", "/b"), route("c", "/c")]));
    let before = snapshot.objects().version();
    full(&snapshot, 2, &routes(vec![route("a", "/a"), route("c", "/c")]));
    assert_eq!(paths(&snapshot), ["/a", "/c"]);
    assert!(snapshot.objects().version() > before);

    let odd = v1::GatewayObject { spec: b"{\"path\":\"/c\",\"newer\":1}".to_vec(), ..route("c", "") };
    let removed = vec![v1::GatewayObjectName { kind: "route".into(), name: "a".into() }];
    let applied = snapshot
        .apply(&delta(3, v1::Changes { gateway_objects: vec![odd], removed_gateway_objects: removed, ..Default::default() }));
    assert_eq!((applied.rows, applied.unreadable, paths(&snapshot)), (2, 1, Vec::new()));
}

#[test]
fn an_accounts_policies_follow_it_and_are_exported_with_it() {
    let snapshot = Snapshot::new();
    let named = |policies: &[&str]| {
        let policies = policies.iter().map(|name| (*name).to_owned()).collect();
        v1::Changes { accounts: vec![v1::Account { policies, ..account(1, "pro") }], ..Default::default() }
    };
    let held = || {
        let view = snapshot.pin();
        let index = view.account_index(&clearway_config::AccountId::from_slice(&id(1)).unwrap()).unwrap();
        view.account(index).policies().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for names in [&["b", "a"][..], &[], &["a"], &["b", "a"]] {
        snapshot.apply_chunk(&named(names));
        assert_eq!(held(), names);
    }
    let mut exported = Vec::new();
    snapshot
        .export(|changes| {
            exported.extend(changes.accounts);
            Ok::<_, ()>(())
        })
        .unwrap();
    assert_eq!(exported[0].policies, ["b", "a"]);
}
