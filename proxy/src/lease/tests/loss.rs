//! A store that cannot be reached: what each policy admits.

use super::*;

fn fleet(limit: u64, on_loss: OnQuotaStoreLoss) -> Fleet {
    Fleet::new(per_day(limit), Limits::UNLIMITED, on_loss)
}

#[tokio::test(start_paused = true)]
async fn denying_spends_what_was_granted_and_then_answers_that_the_store_is_away() {
    let fleet = fleet(1_000, OnQuotaStoreLoss::LeaseThenDeny);
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    node.requests(40).await;
    let unspent = node.holding().day_granted - node.counted();
    assert!(unspent > 0);
    fleet.store.set_away(true);
    assert_eq!(node.requests(200).await, unspent);
    assert_eq!(node.request().await.unwrap_err(), Reject::QuotaStoreUnavailable);
    assert!(!node.leases.is_up() && node.leases.excess_max() == 0);
    let began = Instant::now();
    assert!(node.request().await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for a store that is known to be away");
    fleet.store.set_away(false);
    pass(1_500).await;
    assert!(node.leases.is_up());
    assert_eq!(node.requests(1_000).await, 1_000 - 40 - unspent, "it goes on by itself");
}

#[tokio::test(start_paused = true)]
async fn a_local_share_is_taken_once_however_often_the_store_goes_away() {
    let fleet = fleet(1_000, OnQuotaStoreLoss::LeaseThenLocalShare);
    let dirs = dirs::<2>();
    let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
    pass(2_500).await;
    let mut admitted = 0;
    for node in &nodes {
        admitted += node.requests(40).await;
    }
    let mut first = None;
    for _ in 0..5 {
        fleet.store.set_away(true);
        pass(1_500).await;
        for node in &nodes {
            admitted += node.requests(2_000).await;
        }
        assert!(admitted <= 1_000 + nodes.iter().map(|node| node.leases.excess_max()).sum::<u64>());
        first.get_or_insert(admitted);
        fleet.store.set_away(false);
        pass(1_500).await;
    }
    let first = first.unwrap();
    assert!(first > 500, "{first}");
    for _ in 0..30 {
        pass(2_000).await;
        for node in &nodes {
            admitted += node.requests(50).await;
        }
    }
    let excess: u64 = nodes.iter().map(|node| node.leases.excess_max()).sum();
    assert!(excess > 0 && admitted >= 1_000 && admitted <= 1_000 + excess, "{admitted}, at most {excess} more");
}

#[tokio::test(start_paused = true)]
async fn allowing_goes_on_by_the_nodes_own_count_and_says_how_much_that_may_be_too_much() {
    let fleet = fleet(300, OnQuotaStoreLoss::LeaseThenAllow);
    let dirs = dirs::<2>();
    let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
    pass(2_500).await;
    let mut admitted = 0;
    for node in &nodes {
        admitted += node.requests(50).await;
    }
    fleet.store.set_away(true);
    for node in &nodes {
        admitted += node.requests(1_000).await;
    }
    assert_eq!(admitted, 600, "each keeps to the limit by itself");
    let excess: u64 = nodes.iter().map(|node| node.leases.excess_max()).sum();
    assert!(excess >= 300, "{excess}");
    fleet.store.set_away(false);
    pass(3_000).await;
    for node in &nodes {
        assert_eq!(node.requests(20).await, 0, "the store has learned of it");
    }
}
