//! The service over a real connection, with a proxy that does exactly what a test says.

mod stand;

use std::time::Duration;

use clearway_config::sync::v1::{self, from_control::Message as ToProxy, from_proxy::Message as ToControl};
use tonic::Code;

use super::{ChangeKind, Objects, Propagation, Revision, Wait, removed_secret_id, store};
use crate::db::testing::{TestDb, on_both};
use stand::{FakeProxy, Mode, Stand, TOKEN, hash};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_then_deltas_arrive_in_commit_order_under_concurrent_writers() {
    on_both(async |db| {
        let stand = Stand::on(db, Mode::Available).await;
        for n in 0..20 {
            stand.commit(n, false).await;
        }
        stand.published(20).await;
        let mut proxy = stand.attach(1, None).await;
        assert_eq!(proxy.receive_snapshot().await, (20, 20));

        let writers: Vec<_> = (0..4)
            .map(|w| {
                let writer = stand.writer();
                tokio::spawn(async move {
                    for n in 0..25 {
                        writer.commit(w * 25 + n, true).await;
                    }
                })
            })
            .collect();
        let mut last = 20;
        while last < 120 {
            let delta = proxy.receive_delta().await;
            assert!(delta.revision > last, "{} after {last}", delta.revision);
            last = delta.revision;
            // As every proxy does: one that says nothing for long is taken to be gone, and commits may be slow.
            proxy.acknowledge(last).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(proxy.held.len(), 100);
        assert!(proxy.held.values().all(|credential| credential.revoked));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_comes_back_is_sent_only_what_it_lacks() {
    on_both(async |db| {
        let stand = Stand::on(db, Mode::Available).await;
        for n in 0..5 {
            stand.commit(n, false).await;
        }
        stand.published(5).await;
        let mut proxy = stand.attach(1, None).await;
        proxy.receive_snapshot().await;
        let store_id = proxy.store_id.clone();
        drop(proxy);

        stand.commit(3, true).await;
        stand.remove(4).await;
        let mut proxy = stand.attach(1, Some((5, store_id.clone()))).await;
        let mut revision = 5;
        let mut sent = v1::Changes::default();
        while revision < 7 {
            let delta = proxy.receive_delta().await;
            revision = delta.revision;
            let changes = delta.changes.unwrap();
            sent.credentials.extend(changes.credentials);
            sent.removed_credentials.extend(changes.removed_credentials);
        }
        assert_eq!(sent.credentials.iter().map(|c| c.hash.clone()).collect::<Vec<_>>(), [hash(3)]);
        assert_eq!(sent.removed_credentials, [hash(4)]);

        // From another store, and from before what is still kept: the whole.
        store::trim(&stand.test_db.db, 6).await.unwrap();
        for from in [(7, b"another store".to_vec()), (5, store_id.clone())] {
            let mut proxy = stand.attach(1, Some(from)).await;
            assert_eq!(proxy.receive_snapshot().await, (7, 4));
        }
        let mut proxy = stand.attach(1, Some((6, store_id))).await;
        assert_eq!(proxy.receive_delta().await.revision, 7, "what is still kept suffices");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_of_a_history_that_was_undone_are_believed_of_nobody() {
    on_both(async |db| {
        let stand = Stand::on(db, Mode::Available).await;
        for n in 0..5 {
            stand.commit(n, false).await;
        }
        stand.published(5).await;
        let mut ahead = stand.attach(1, None).await;
        assert_eq!(ahead.receive_snapshot().await, (5, 5));
        let undone = ahead.store_id.clone();
        let mut other = stand.attach(2, None).await;
        other.receive_snapshot().await;
        other.acknowledge(5).await;

        // The first says that it holds what there is no more; the other's acknowledgement may be of that, too.
        let mut ahead = stand.attach(1, Some((6, undone.clone()))).await;
        assert_eq!(ahead.receive_snapshot().await, (5, 5));
        assert_ne!(ahead.store_id, undone);
        assert_eq!(other.receive().await.unwrap_err().code(), Code::Unavailable, "it is to begin anew");
        let revision = stand.commit(3, true).await;
        let mut other = stand.attach(2, Some((6, undone))).await;
        assert_eq!(other.receive_snapshot().await, (6, 5), "the same number is another change now");
        let propagated = stand.propagated(revision, Wait::Enforced);
        ahead.receive_delta().await;
        ahead.acknowledge(6).await;
        other.acknowledge(6).await;
        assert_eq!(propagated.await.unwrap().acknowledged, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_the_token_learns_and_leaves_nothing() {
    let stand = Stand::new(Mode::Strict).await;
    stand.commit(1, false).await;
    let mut stranger = FakeProxy::connect(stand.addr, 9).await;
    stranger.shake_hands([9; 32], None).await;
    assert_eq!(stranger.receive().await.unwrap_err().code(), Code::Unauthenticated);

    let mut hasty = FakeProxy::connect(stand.addr, 9).await;
    hasty.send(ToControl::Heartbeat(v1::Heartbeat { sequence: 1, strict: true, report: None })).await;
    assert_eq!(hasty.receive().await.unwrap_err().code(), Code::InvalidArgument);

    assert!(store::proxies(&stand.test_db.db).await.unwrap().is_empty());
    assert_eq!(stand.hub.status().proxies, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_proves_itself_before_the_proxy_says_anything_more() {
    let stand = Stand::new(Mode::Strict).await;
    let mut proxy = FakeProxy::connect(stand.addr, 1).await;
    let challenge = proxy.hello(None).await;
    assert!(clearway_config::sync::verify_control(&TOKEN, &proxy.nonce, &challenge.nonce, &challenge.mac));
    assert!(!clearway_config::sync::verify_control(&[9; 32], &proxy.nonce, &challenge.nonce, &challenge.mac));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_waits_for_a_slow_proxy_and_says_how_many_acknowledged() {
    on_both(async |db| {
        let stand = Stand::on(db, Mode::Strict).await;
        let (mut quick, mut slow) = (stand.attach(1, None).await, stand.attach(2, None).await);
        for proxy in [&mut quick, &mut slow] {
            proxy.receive_snapshot().await;
            proxy.lease().await;
        }
        let revision = stand.commit(7, true).await;
        let waiting = stand.propagated(revision, Wait::Enforced);
        assert_eq!(quick.receive_delta().await.revision, 1);
        quick.acknowledge(1).await;
        assert_eq!(slow.receive_delta().await.revision, 1);
        stand.until(|status| status.proxies[0].acknowledged == Revision(1)).await;
        assert!(!waiting.is_finished());
        slow.acknowledge(1).await;
        let Propagation { proxies, acknowledged, fenced, .. } = waiting.await.unwrap();
        assert_eq!((proxies, acknowledged, fenced), (2, 2, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_proxy_that_acknowledges_nothing_is_fenced_when_its_lease_ends() {
    let stand = Stand::new(Mode::Strict).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    proxy.lease().await;
    stand.until(|status| !status.proxies[0].unbounded).await;
    let revision = stand.commit(7, true).await;
    let waiting = stand.propagated(revision, Wait::Enforced);
    stand.published(1).await;
    stand.clock.advance(Duration::from_secs(9));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the lease of ten seconds still runs");
    stand.clock.advance(Duration::from_secs(2));
    let Propagation { proxies, acknowledged, fenced, ms, .. } = waiting.await.unwrap();
    assert_eq!((proxies, acknowledged, fenced), (1, 0, 1));
    assert!(ms >= 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_control_unknown_leases_are_waited_for() {
    let stand = Stand::new(Mode::Strict).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    proxy.lease().await;
    stand.noted(|row| row.lease_ms.is_some()).await;

    let stand = stand.restarted().await;
    let revision = stand.commit(7, true).await;
    let waiting = stand.propagated(revision, Wait::Enforced);
    stand.published(1).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    stand.clock.advance(Duration::from_secs(11));
    let Propagation { proxies, acknowledged, fenced, .. } = waiting.await.unwrap();
    assert_eq!((proxies, acknowledged, fenced), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_available_proxy_that_is_gone_counts_as_neither() {
    let stand = Stand::new(Mode::Available).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    proxy.lease().await;
    drop(proxy);
    stand.until(|status| status.connected == 0).await;
    let revision = stand.commit(7, true).await;
    let Propagation { proxies, acknowledged, fenced, .. } = stand.hub.propagated(revision, Wait::Enforced).await;
    assert_eq!((proxies, acknowledged, fenced), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_changes_are_waited_for_briefly() {
    let stand = Stand::new(Mode::Strict).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    proxy.lease().await;
    let revision = stand.commit(7, false).await;
    let waiting = stand.propagated(revision, Wait::Briefly);
    stand.published(1).await;
    stand.clock.advance(Duration::from_secs(2));
    let Propagation { proxies, acknowledged, fenced, .. } = waiting.await.unwrap();
    assert_eq!((proxies, acknowledged, fenced), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_granted_after_a_revision_is_behind_it_in_the_stream() {
    let stand = Stand::new(Mode::Strict).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    for n in 1..50 {
        stand.commit(n, true).await;
        stand.hub.inner().want();
        stand.published(n as i64).await;
        proxy.heartbeat().await;
        let mut held = 0;
        loop {
            match proxy.receive().await.unwrap() {
                ToProxy::Delta(delta) => held = delta.revision,
                ToProxy::HeartbeatReply(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(held, n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_refuses_is_said_in_the_answer_and_remembered_by_the_next_process() {
    let refused = |name: &str| {
        let object = v1::RefusedObject { kind: "route".into(), name: name.into(), reason: "its place is taken".into() };
        Some(v1::Refused { count: 1, objects: vec![object] })
    };
    let objects = |name: &str| Objects::from([format!("route/{name}")]);
    let stand = Stand::new(Mode::Available).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    let waiting = stand.objects_propagated(stand.commit(7, true).await, objects("orders"));
    proxy.receive_delta().await;
    proxy.send(ToControl::Ack(v1::Ack { revision: 1, refused: refused("orders") })).await;
    let Propagation { proxies, acknowledged, refused: refusing, .. } = waiting.await.unwrap();
    assert_eq!((proxies, acknowledged, refusing), (1, 0, 1));

    // It stays so until the proxy says otherwise, and does not matter to what is not about it.
    let waiting = stand.objects_propagated(stand.commit(8, true).await, objects("other"));
    proxy.receive_delta().await;
    proxy.acknowledge(2).await;
    assert_eq!(waiting.await.unwrap().acknowledged, 1);
    let waiting = stand.propagated(stand.commit(9, true).await, Wait::Enforced);
    proxy.receive_delta().await;
    proxy.acknowledge(3).await;
    assert_eq!(waiting.await.unwrap().acknowledged, 1, "a key is no object");

    stand.noted(|row| !row.refused.is_empty()).await;
    let stand = stand.restarted().await;
    assert_eq!(stand.hub.status().proxies[0].refused.objects[0].object.as_deref(), Some("route/orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_acknowledged_after_it_was_stored() {
    let stand = Stand::new(Mode::Available).await;
    let mut proxy = stand.attach(1, None).await;
    proxy.receive_snapshot().await;
    let batch = v1::UsageBatch { sequence: 3, ledger_id: vec![1; 16], totals: vec![v1::UsageTotal::default()] };
    proxy.send(ToControl::Usage(batch.clone())).await;
    let ToProxy::UsageAck(ack) = proxy.receive().await.unwrap() else { panic!("an acknowledgement was due") };
    assert_eq!(ack.sequence, 3);
    assert_eq!(*stand.usage.stored.lock().unwrap(), [batch]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_are_numbered_without_gaps_even_where_transactions_are_given_up() {
    on_both(async |TestDb { db, .. }: TestDb| {
        for n in 1..=20 {
            let mut tx = db.begin().await.unwrap();
            let id = removed_secret_id(&clearway_config::KeyHash::from_bytes([n; 32]));
            let revision = super::record(&mut tx, ChangeKind::SecretRemoved, &id, 5).await.unwrap();
            assert_eq!(revision, Revision(i64::from(n.div_ceil(2))));
            if n % 2 == 0 {
                tx.commit().await.unwrap();
            }
        }
    })
    .await;
}
