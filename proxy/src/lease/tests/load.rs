//! Nodes under load: never more than the limits, and by the end all of it.

use std::{cell::Cell, collections::HashMap, rc::Rc};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::LocalSet;

use super::*;

/// Requests at the same time on each node.
const CLIENTS: u64 = 4;

/// Offers `offered` requests to each node, and says how many each admitted. `pause_ms` is how long clients think.
async fn offer(nodes: &[Rc<Node>], offered: &[u64], pause_ms: u64, seed: u64) -> Vec<u64> {
    let local = LocalSet::new();
    let admitted: Vec<_> = nodes.iter().map(|_| Rc::new(Cell::new(0))).collect();
    for (n, node) in nodes.iter().enumerate() {
        let left = Rc::new(Cell::new(offered[n]));
        for client in 0..CLIENTS {
            let (node, left, admitted) = (node.clone(), left.clone(), admitted[n].clone());
            let mut random = StdRng::seed_from_u64(seed << 8 | (n as u64) << 4 | client);
            local.spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let served = node.request().await;
                    admitted.set(admitted.get() + u64::from(served.is_ok()));
                    pass(random.random_range(0..=pause_ms)).await;
                }
            });
        }
    }
    local.await;
    admitted.iter().map(|admitted| admitted.get()).collect()
}

fn sum(of: &[u64]) -> u64 {
    of.iter().sum()
}

#[tokio::test(start_paused = true)]
async fn three_nodes_under_skewed_load_use_all_of_a_limit_and_no_more() {
    for (seed, limit) in [(1, 5_000), (2, 1_000), (3, 40), (4, 3)] {
        let fleet = Fleet::of_account(per_day(limit));
        let dirs = dirs::<3>();
        let nodes: Vec<_> = dirs.iter().map(|dir| Rc::new(fleet.node(dir.path()))).collect();
        let offered = [limit, limit / 3 + 3, limit / 6 + 3];
        let mut admitted = sum(&offer(&nodes, &offered, 20, seed).await);
        assert!(admitted <= limit, "{admitted} of {limit}");
        // Whoever has nothing to do returns what it holds; what is exhausted is asked about again after a while.
        for _ in 0..40 {
            pass(2_000).await;
            admitted += sum(&offer(&nodes, &[5, 5, 5], 5, seed).await);
        }
        assert_eq!(admitted, limit, "all of it, with seed {seed}");
        assert_eq!(nodes.iter().map(|node| node.counted()).sum::<u64>(), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_keys_own_limit_holds_beside_its_accounts() {
    let fleet = Fleet::new(per_day(900), per_day(300), OnQuotaStoreLoss::default());
    let dirs = dirs::<3>();
    let nodes: Vec<_> = dirs.iter().map(|dir| Rc::new(fleet.node(dir.path()))).collect();
    let mut admitted = sum(&offer(&nodes, &[200, 200, 200], 10, 5).await);
    for _ in 0..40 {
        pass(2_000).await;
        admitted += sum(&offer(&nodes, &[5, 5, 5], 5, 5).await);
    }
    assert_eq!(admitted, 300);
}

#[tokio::test(start_paused = true)]
async fn calls_are_few_where_requests_are_many() {
    let fleet = Fleet::of_account(per_day(100_000));
    let dirs = dirs::<3>();
    let nodes: Vec<_> = dirs.iter().map(|dir| Rc::new(fleet.node(dir.path()))).collect();
    pass(1_500).await;
    // What a start says of its buckets.
    let before = fleet.store.calls();
    let admitted = sum(&offer(&nodes, &[70_000, 20_000, 10_000], 2, 6).await);
    let calls = fleet.store.calls() - before;
    assert!(admitted <= 100_000 && admitted > 99_900, "{admitted}");
    println!("{calls} calls for {admitted} requests");
    assert!(calls * 1_000 <= admitted * 5, "{calls} calls for {admitted} requests");
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_store_is_asked_about_others_waits_for_its_own_answer() {
    // Few enough for tokens: each request has to ask.
    let fleet = Fleet::of_account(Limits { per_second: Some(40), ..per_day(1_000) });
    let dirs = dirs::<1>();
    let node = Rc::new(fleet.node(dirs[0].path()));
    pass(1_500).await;
    fleet.store.set_delay(Duration::from_millis(20));
    let local = LocalSet::new();
    for n in 0..5 {
        let node = node.clone();
        local.spawn_local(async move {
            pass(7 * n).await;
            assert!(node.request().await.is_ok(), "request {n}");
        });
    }
    local.await;
    assert_eq!(node.counted(), 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_while_demand_grows_far_below_the_limits() {
    let limits = Limits::new(Some(1_000_000), Some(1_000_000_000), Some(1_000_000_000), Some(10_000), false).unwrap();
    let fleet = Fleet::of_account(limits);
    let dirs = dirs::<2>();
    let nodes = dirs.each_ref().map(|dir| Rc::new(fleet.node(dir.path())));
    pass(1_500).await;
    fleet.store.set_delay(Duration::from_millis(2));
    let offered = [20_000, 3_000];
    assert_eq!(offer(&nodes, &offered, 3, 10).await, offered);
    pass(700).await;
    assert_eq!(offer(&nodes, &[3_000, 20_000], 0, 11).await, [3_000, 20_000]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_asks_no_more_than_it_has_to() {
    let day = per_day(100_000);
    // What is leased until a time ends between requests.
    for (limits, most) in [(day, 10), (Limits { per_second: Some(100), concurrent: Some(5), ..day }, 135)] {
        let fleet = Fleet::of_account(limits);
        let dirs = dirs::<2>();
        let nodes = dirs.each_ref().map(|dir| fleet.node(dir.path()));
        pass(1_500).await;
        let before = fleet.store.calls();
        for turn in 0..120 {
            assert!(nodes[turn % 2].request().await.is_ok(), "request {turn}");
            pass(700).await;
        }
        let calls = fleet.store.calls() - before;
        println!("{calls} calls for 120 requests");
        assert!(calls <= most, "{calls} calls for 120 requests");
    }
}

#[tokio::test(start_paused = true)]
async fn no_second_admits_more_than_its_limit_by_shares_or_by_tokens() {
    for (seed, limit, pause_ms) in [(7, 90, 10), (8, 6, 200), (9, 2, 300)] {
        let limits = Limits { per_second: Some(limit), ..Limits::UNLIMITED };
        let fleet = Fleet::of_account(limits);
        let dirs = dirs::<3>();
        let nodes: Vec<_> = dirs.iter().map(|dir| Rc::new(fleet.node(dir.path()))).collect();
        pass(1_500).await;
        let seconds: Rc<std::cell::RefCell<HashMap<u64, u32>>> = Rc::default();
        let local = LocalSet::new();
        for (n, node) in nodes.iter().enumerate() {
            for client in 0..CLIENTS {
                let (node, seconds) = (node.clone(), seconds.clone());
                let mut random = StdRng::seed_from_u64(seed << 8 | (n as u64) << 4 | client);
                local.spawn_local(async move {
                    let until = Instant::now() + Duration::from_secs(20);
                    while Instant::now() < until {
                        if node.request().await.is_ok() {
                            *seconds.borrow_mut().entry(node.leases.now().ms / 1_000).or_default() += 1;
                        }
                        // One node has most of the load.
                        pass(random.random_range(1..=pause_ms * (1 + 3 * n as u64))).await;
                    }
                });
            }
        }
        local.await;
        let seconds = seconds.borrow();
        assert!(seconds.values().all(|admitted| *admitted <= limit), "{limit} a second: {seconds:?}");
        let admitted: u32 = seconds.values().sum();
        assert!(admitted * 2 > limit * 20, "{admitted} in twenty seconds of {limit} each, with seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_shared_and_comes_back() {
    let limits = Limits { concurrent: Some(6), ..Limits::UNLIMITED };
    let fleet = Fleet::of_account(limits);
    let dirs = dirs::<3>();
    let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
    pass(1_500).await;
    for round in 0..3 {
        let mut serving = Vec::new();
        for turn in 0..60 {
            if let Ok(admission) = nodes[(turn + round) % 3].request().await {
                serving.push(admission);
            }
            assert!(serving.len() <= 6);
            pass(100).await;
        }
        assert_eq!(serving.len(), 6, "all of it is in use, in round {round}");
        drop(serving);
        pass(3_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_told_as_it_is_for_the_whole_fleet() {
    let fleet = Fleet::of_account(per_day(100));
    let dirs = dirs::<2>();
    let nodes: Vec<_> = dirs.iter().map(|dir| fleet.node(dir.path())).collect();
    pass(1_500).await;
    let left = |admission: &Admission| {
        let left = admission.standing().iter().next().unwrap();
        (left.limit, left.remaining)
    };
    let first = nodes[0].request().await.unwrap();
    assert_eq!(left(&first), (100, 99));
    pass(5_000).await;
    let second = nodes[1].request().await.unwrap();
    assert_eq!(left(&second), (100, 98), "what the other has spent is gone");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_long_refuses_nobody_for_what_comes_after_it() {
    let fleet = Fleet::of_account(Limits { per_second: Some(40), concurrent: Some(40), ..Limits::UNLIMITED });
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    fleet.store.set_delay(Duration::from_millis(3_000));
    assert_eq!(node.request().await.unwrap_err(), Reject::QuotaStoreUnavailable);
    pass(4_000).await;
    fleet.store.set_delay(Duration::ZERO);
    assert_eq!(node.requests(5).await, 5);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_granted_since_the_stores_clock_was_set_no_limit_is_said_to_be_met() {
    let fleet = Fleet::of_account(Limits { per_second: Some(40), ..Limits::UNLIMITED });
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    assert_eq!(node.requests(2).await, 2);
    fleet.ahead_ms.store(3_600_000, Ordering::Relaxed);
    pass(1_500).await;
    assert_eq!(node.request().await.unwrap_err(), Reject::QuotaStoreUnavailable);
    pass(size::step_wait_ms(&fleet.policy)).await;
    assert_eq!(node.requests(2).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_by_a_clock_that_was_set_is_not_spent_whoever_hears_of_it_first() {
    let fleet = Fleet::of_account(Limits { per_second: Some(40), concurrent: Some(40), ..Limits::UNLIMITED });
    let [dir] = dirs();
    let node = fleet.node(dir.path());
    pass(1_500).await;
    let before = node.leases.now().ms;
    fleet.ahead_ms.store(86_400_000, Ordering::Relaxed);
    fleet.store.set_delay(Duration::from_millis(200));
    let (asked, ()) = tokio::join!(node.request(), async {
        pass(50).await;
        // The answer to a beat, which overtakes that one.
        node.leases.hear_time(node.leases.now().uptime_ms - 10, before + 86_400_040);
    });
    assert_eq!(asked.map(drop).unwrap_err(), Reject::QuotaStoreUnavailable);
    let (now, holding) = (node.leases.now(), node.holding());
    assert!(!holding.has_share(&now) && !holding.has_slots(&now), "{holding:?}");
}

/// Asks for `rate` requests a second at one node, evenly, and says how many were admitted.
async fn steadily(node: Rc<Node>, rate: u64, seconds: u64) -> u64 {
    let mut admitted = 0;
    let began = Instant::now();
    for n in 0..rate * seconds {
        tokio::time::sleep_until(began + Duration::from_micros(n * 1_000_000 / rate)).await;
        admitted += u64::from(node.request().await.is_ok());
    }
    admitted
}

#[tokio::test(start_paused = true)]
async fn a_second_that_is_offered_more_than_its_limit_at_three_nodes_admits_all_but_one() {
    const SECONDS: u64 = 20;
    for (limit, rates) in [(4, [8, 1, 1]), (4, [3, 3, 3]), (10, [12, 4, 2]), (40, [60, 10, 10]), (400, [500, 100, 50])] {
        let fleet = Fleet::of_account(Limits { per_second: Some(limit), ..Limits::UNLIMITED });
        let dirs = dirs::<3>();
        let nodes: Vec<_> = dirs.iter().map(|dir| Rc::new(fleet.node(dir.path()))).collect();
        pass(1_500).await;
        fleet.store.set_delay(Duration::from_millis(2));
        let local = LocalSet::new();
        let all: Vec<_> =
            nodes.iter().zip(rates).map(|(node, rate)| local.spawn_local(steadily(node.clone(), rate, SECONDS))).collect();
        local.await;
        let mut admitted = 0;
        for one in all {
            admitted += one.await.unwrap();
        }
        let limit = u64::from(limit);
        assert!(admitted >= (limit - 1) * SECONDS, "{admitted} in {SECONDS} seconds of {limit} each, asked for at {rates:?}");
        // They begin and end within a second.
        assert!(admitted <= limit * (SECONDS + 1), "{admitted} in {SECONDS} seconds of {limit} each, asked for at {rates:?}");
    }
}
