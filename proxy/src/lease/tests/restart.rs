//! Nodes that die, stall and come again.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_is_killed_spends_on_from_its_file_what_it_was_granted() {
    let fleet = Fleet::of_account(per_day(1_000));
    let [dir, other] = dirs();
    let mut admitted = 0;
    for _ in 0..8 {
        let node = fleet.node(dir.path());
        admitted += node.requests(100).await;
        // What is under way comes in.
        pass(10).await;
        let held = node.holding();
        let unspent = held.day_granted - node.counted();
        node.die().await;
        let again = fleet.node(dir.path());
        assert_eq!(again.holding(), held, "nothing is lost, nothing is had twice");
        // Before it has called anybody.
        fleet.store.set_away(true);
        assert_eq!(again.requests(unspent).await, unspent);
        admitted += unspent;
        fleet.store.set_away(false);
        again.die().await;
    }
    let others = fleet.node(other.path());
    pass(2_000).await;
    for _ in 0..60 {
        admitted += others.requests(20).await;
        let node = fleet.node(dir.path());
        pass(1_500).await;
        admitted += node.requests(5).await;
        pass(3_000).await;
        node.die().await;
    }
    assert_eq!(admitted, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_silent_for_too_long_spends_nothing_of_what_it_held() {
    let fleet = Fleet::of_account(per_day(1_000));
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    node.requests(30).await;
    let counted = node.counted();
    assert!(node.holding().day_granted > counted);
    fleet.store.set_away(true);
    pass(fleet.policy.forget_after_ms).await;
    assert_eq!(node.requests(50).await, 0, "others may have it by now");
    fleet.store.set_away(false);
    pass(2_000).await;
    assert_eq!(node.holding().day_granted, counted, "it was given up");
    assert_eq!(node.requests(50).await, 50);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_went_down_takes_its_count_for_what_it_holds() {
    let fleet = Fleet::of_account(per_day(1_000));
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    let admitted = node.requests(30).await;
    node.die().await;
    let node = fleet.node_of_boot(dir.path(), [8; 16]);
    assert_eq!(node.holding(), Holding::default());
    pass(1_500).await;
    assert_eq!(admitted + node.requests(1_000).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_returns_all_that_it_has_not_spent() {
    let fleet = Fleet::of_account(per_day(1_000));
    let [dir, other] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    let admitted = node.requests(100).await;
    node.leases.leave(Duration::from_secs(2)).await;
    assert_eq!(node.holding().day_granted, 100);
    let others = fleet.node(other.path());
    pass(1_500).await;
    assert_eq!(admitted + others.requests(1_000).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_cost_nothing_and_give_nothing_twice() {
    let fleet = Fleet::of_account(per_day(500));
    let dirs = dirs::<2>();
    let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
    pass(1_500).await;
    let mut admitted = 0;
    for round in 0..60 {
        fleet.store.set_losing_answers(round % 3 == 1);
        for node in &nodes {
            admitted += node.requests(7).await;
        }
        pass(700).await;
        assert!(admitted <= 500, "{admitted} in round {round}");
    }
    fleet.store.set_losing_answers(false);
    for _ in 0..40 {
        pass(2_000).await;
        for node in &nodes {
            admitted += node.requests(7).await;
        }
    }
    assert_eq!(admitted, 500);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_lost_its_data_is_told_what_was_counted_and_reopens_nothing() {
    for empty in [true, false] {
        let fleet = Fleet::new(per_day(600), per_day(500), OnQuotaStoreLoss::default());
        let dirs = dirs::<3>();
        let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
        pass(2_500).await;
        let mut admitted = 0;
        for _ in 0..12 {
            for node in &nodes {
                admitted += node.requests(15).await;
            }
            fleet.store.restart(empty);
            for node in &nodes {
                admitted += node.requests(5).await;
            }
            assert!(admitted <= 500, "{admitted}");
            pass(2_500).await;
        }
        for _ in 0..40 {
            pass(2_000).await;
            for node in &nodes {
                admitted += node.requests(5).await;
            }
        }
        assert_eq!(admitted, 500, "empty: {empty}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_waited_for_after_a_loss_and_then_what_others_knew_counts() {
    let fleet = Fleet::of_account(per_day(300));
    let [dir, dead] = dirs();
    let (node, dying) = (fleet.node(dir.path()), fleet.node(dead.path()));
    pass(2_500).await;
    let mut admitted = dying.requests(100).await;
    admitted += node.requests(20).await;
    drop(dying);
    fleet.store.restart(true);
    // It spends what it holds, and then there is nothing until the dead one is forgotten.
    admitted += node.requests(300).await;
    assert!(admitted < 300);
    pass(fleet.policy.forget_after_ms + 5_000).await;
    admitted += node.requests(300).await;
    assert!((200..=300).contains(&admitted), "{admitted}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stands_still_while_the_store_forgets_it_is_waited_for_by_those_who_remember_it() {
    let fleet = Fleet::of_account(Limits { concurrent: Some(3), per_second: Some(3), ..Limits::UNLIMITED });
    let [dir, stalled] = dirs();
    let (node, stalls) = (fleet.node(dir.path()), fleet.node(stalled.path()));
    pass(2_500).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(stalls.request().await.unwrap());
        pass(400).await;
    }
    stalls.run.abort();
    fleet.store.set_away(true);
    // The other one notices, and beats before it asks for anything.
    pass(1_500).await;
    fleet.store.restart(true);
    fleet.store.set_away(false);
    pass(2_500).await;
    assert!(node.request().await.is_err(), "all of it is in use");
    drop(served);
    pass(fleet.policy.forget_after_ms).await;
    assert!(node.request().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_counted_that_has_left_is_not_had_again_when_the_store_forgets_it() {
    let fleet = Fleet::of_account(per_day(300));
    let [dir, left] = dirs();
    let (node, leaves) = (fleet.node(dir.path()), fleet.node(left.path()));
    pass(2_500).await;
    let mut admitted = leaves.requests(200).await;
    leaves.leases.leave(Duration::from_secs(2)).await;
    leaves.die().await;
    pass(1_500).await;
    admitted += node.requests(10).await;
    fleet.store.restart(true);
    admitted += node.requests(300).await;
    pass(fleet.policy.forget_after_ms).await;
    for _ in 0..20 {
        admitted += node.requests(30).await;
        pass(2_000).await;
    }
    assert_eq!(admitted, 300);
}

/// Two nodes; the first has found the store again and looks at every bucket, slowly. What comes of `granted` there before
/// it is done, while the store starts again.
async fn found_again_and_lost_again(fleet: &Fleet, [dir, other]: &[TempDir; 2], granted: u64) -> (Node, Vec<Admission>, Node) {
    let (node, others) = (fleet.node(dir.path()), fleet.node(other.path()));
    pass(2_500).await;
    drop(node.request().await.unwrap());
    // What was to spare of it is returned.
    pass(40_000).await;
    fleet.store.set_away(true);
    pass(1_500).await;
    fleet.store.set_way_of_restores(node.leases.node, Duration::from_millis(200));
    fleet.store.set_away(false);
    while !node.leases.is_up() || !others.leases.is_up() {
        pass(1).await;
    }
    pass(20).await;
    let mut served = Vec::new();
    for _ in 0..granted {
        served.push(node.request().await.unwrap());
    }
    // What is under way comes in: nobody asks for this account before the buckets have been looked at.
    pass(50).await;
    fleet.store.restart(false);
    (node, served, others)
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_loss_is_what_is_held_when_it_is_found() {
    let fleet = Fleet::of_account(per_day(300));
    let dirs = dirs::<2>();
    let (node, served, others) = found_again_and_lost_again(&fleet, &dirs, 120).await;
    let mut admitted = 1 + served.len() as u64;
    for _ in 0..600 {
        admitted += others.requests(1).await;
        pass(10).await;
    }
    for _ in 0..30 {
        admitted += node.requests(20).await + others.requests(20).await;
        pass(2_000).await;
    }
    assert_eq!(admitted, 300);
}

#[tokio::test(start_paused = true)]
async fn slots_in_use_are_told_as_they_are_when_a_loss_is_found() {
    let fleet = Fleet::of_account(Limits { concurrent: Some(3), ..Limits::UNLIMITED });
    let dirs = dirs::<2>();
    let (node, served, others) = found_again_and_lost_again(&fleet, &dirs, 3).await;
    let mut admitted = Vec::new();
    for _ in 0..300 {
        admitted.extend(others.request().await.ok());
        pass(10).await;
        assert_eq!(admitted.len(), 0, "all of it is in use");
    }
    drop((node, served));
}

#[tokio::test(start_paused = true)]
async fn what_was_admitted_by_slots_counts_after_they_have_ended_for_as_long_as_a_silent_node_is_remembered() {
    let fleet = Fleet::of_account(Limits { concurrent: Some(3), ..Limits::UNLIMITED });
    let [dir, silent] = dirs();
    let (node, falls_silent) = (fleet.node(dir.path()), fleet.node(silent.path()));
    pass(2_500).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(falls_silent.request().await.unwrap());
    }
    falls_silent.run.abort();
    pass(fleet.policy.slots_lease_ms + 1_000).await;
    assert!(node.request().await.is_err(), "all of it is in use");
    drop(served);
    pass(fleet.policy.forget_after_ms).await;
    assert!(node.request().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_told_what_it_holds_does_not_tell_it_again_after_it_was_granted_more() {
    let three = Limits { concurrent: Some(3), ..Limits::UNLIMITED };
    // Of those that are looked at last.
    let fleet = Fleet::in_bucket(240..256, three, Limits::UNLIMITED, OnQuotaStoreLoss::default());
    let dirs = dirs::<2>();
    let (node, others) = (fleet.node(dirs[0].path()), fleet.node(dirs[1].path()));
    let way = |of: &Node, ms: u64| fleet.store.set_way_of_restores(of.leases.node, Duration::from_millis(ms));
    pass(2_500).await;
    drop(node.request().await.unwrap());
    pass(5_000).await;
    way(&others, 60_000);
    fleet.store.restart(false);
    assert!(node.request().await.is_err(), "the other one is waited for");
    pass(2_500).await;
    // It loses sight of the store for a moment, and finds it still waiting.
    fleet.store.set_away(true);
    pass(1_500).await;
    way(&node, 1_000);
    way(&others, 0);
    fleet.store.set_away(false);
    while !node.leases.is_up() || !others.leases.is_up() {
        pass(1).await;
    }
    pass(1_000).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(node.request().await.unwrap());
    }
    for _ in 0..150 {
        pass(100).await;
        assert!(others.request().await.is_err(), "all of it is in use");
    }
}
