use clearway_config::settings::gateway::UpstreamSpec;

use super::*;
use crate::upstreams::{
    status::TargetState,
    target::{EJECTED, UNHEALTHY, WARMING},
};

/// An upstream of targets `127.0.0.1:1`, `:2` and so on, with these further words.
fn upstream(targets: u16, more: &str) -> Arc<Upstream> {
    let addresses: Vec<_> = (1..=targets).map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
    of(&format!("name = \"orders\"\naddresses = [{}]\n{more}", addresses.join(", ")))
}

fn of(toml: &str) -> Arc<Upstream> {
    let spec: UpstreamSpec = toml::from_str(toml).unwrap();
    Upstream::new(&spec.resolve().unwrap(), None, &Arc::new(Metrics::new())).unwrap()
}

fn target(upstream: &Upstream, port: u16) -> Arc<Target> {
    upstream.plan.load().targets.iter().find(|t| t.address.port() == port).unwrap().clone()
}

fn first(upstream: &Upstream) -> Lease {
    upstream.lease(&PickFor::default()).unwrap()
}

/// How many of `n` requests each port got, one after the other.
fn shares(upstream: &Upstream, n: usize) -> Vec<usize> {
    let mut shares = vec![0; upstream.plan.load().targets.len()];
    for _ in 0..n {
        shares[usize::from(first(upstream).target().address.port()) - 1] += 1;
    }
    shares
}

/// Requests until one goes to `port`, each of which then fails.
fn fail_at(upstream: &Upstream, port: u16, times: usize) {
    for _ in 0..times {
        let mut lease = (0..1000).map(|_| first(upstream)).find(|lease| lease.target().address.port() == port).unwrap();
        lease.failed(Failure::Broken);
    }
}

#[test]
fn turns_follow_weights() {
    let orders =
        of("name = \"a\"\ntargets = [{ address = \"http://127.0.0.1:1\", weight = 3 }, { address = \"http://127.0.0.1:2\" }]");
    assert_eq!(shares(&orders, 400), [300, 100]);
}

#[test]
fn the_share_of_an_unavailable_target_is_shared_out_among_the_others() {
    let orders = upstream(4, "");
    orders.pool.set_health(&target(&orders, 2), false, 0);
    let shares = shares(&orders, 12_000);
    assert_eq!(shares[1], 0);
    for share in [shares[0], shares[2], shares[3]] {
        assert!((3_800..=4_200).contains(&share), "{shares:?}");
    }
}

#[test]
fn when_all_are_down_all_are_asked() {
    let orders = upstream(3, "");
    for port in 1..=3 {
        orders.pool.set_health(&target(&orders, port), false, 0);
    }
    assert_eq!(shares(&orders, 300), [100, 100, 100]);
    orders.pool.set_health(&target(&orders, 3), true, 0);
    assert_eq!(shares(&orders, 300), [0, 0, 300]);
}

#[test]
fn the_least_loaded_by_weight_is_asked_and_equals_take_turns() {
    let orders = of("name = \"a\"\nbalance = \"least_connections\"\n\
        targets = [{ address = \"http://127.0.0.1:1\", weight = 2 }, { address = \"http://127.0.0.1:2\" }]");
    let held: Vec<_> = (0..30).map(|_| first(&orders)).collect();
    let at_one = held.iter().filter(|lease| lease.target().address.port() == 1).count();
    assert_eq!(at_one, 20);
    drop(held);
    let even = upstream(4, "balance = \"least_connections\"");
    assert_eq!(shares(&even, 400), [100; 4]);
}

#[test]
fn of_many_targets_the_less_loaded_of_two_is_asked() {
    let many = upstream(60, "balance = \"least_connections\"");
    let held: Vec<_> = (0..6_000).map(|_| first(&many)).collect();
    let most = many.health().targets.iter().map(|t| t.in_flight).max().unwrap();
    assert!(most <= 110, "100 would be even, {most} is the most");
    drop(held);
    assert!(many.health().targets.iter().all(|t| t.in_flight == 0));
}

#[test]
fn the_same_hash_goes_to_the_same_target_and_only_a_lost_targets_keys_move() {
    let orders = upstream(5, "balance = \"hash\"\nhash_by = \"account\"");
    let asked = |key: u64| {
        let wanted = PickFor { hash: hash(&key.to_be_bytes()), ..PickFor::default() };
        orders.lease(&wanted).unwrap().target().address.port()
    };
    let before: Vec<_> = (0..1_000).map(asked).collect();
    assert_eq!((0..1_000).map(asked).collect::<Vec<_>>(), before);
    orders.pool.set_health(&target(&orders, 3), false, 0);
    let after: Vec<_> = (0..1_000).map(asked).collect();
    assert!(before.iter().zip(&after).all(|(was, is)| if *was == 3 { *is != 3 } else { was == is }));
    orders.pool.set_health(&target(&orders, 3), true, 0);
    assert_eq!((0..1_000).map(asked).collect::<Vec<_>>(), before);
}

#[test]
fn a_full_target_is_passed_over_and_a_full_upstream_refuses() {
    let orders = upstream(2, "connections_max = 3");
    let mut held: Vec<_> = (0..6).map(|_| first(&orders)).collect();
    assert!(orders.health().targets.iter().all(|t| t.in_flight == 3));
    assert_eq!(orders.lease(&PickFor::default()).unwrap_err(), NoTarget::Overloaded);
    let freed = held.pop().unwrap().target().address;
    assert_eq!(first(&orders).target().address, freed);
}

#[test]
fn no_more_than_the_limit_are_in_flight_whoever_asks() {
    let orders = upstream(3, "connections_max = 5\nbalance = \"least_connections\"");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let held: Vec<_> = (0..6).filter_map(|_| orders.lease(&PickFor::default()).ok()).collect();
                    assert!(orders.health().targets.iter().all(|t| t.in_flight <= 5));
                    drop(held);
                }
            });
        }
    });
    assert!(orders.health().targets.iter().all(|t| t.in_flight == 0));
}

#[test]
fn a_target_that_keeps_failing_is_ejected_for_a_while_and_returns_on_probation() {
    let orders = upstream(3, "outliers = { failures = 3, eject_for = \"10s\" }");
    fail_at(&orders, 2, 2);
    first_at(&orders, 2).answered(200);
    fail_at(&orders, 2, 2);
    assert!(!target(&orders, 2).is(EJECTED), "a success in between begins anew");
    first_at(&orders, 2).answered(503);
    assert!(target(&orders, 2).is(EJECTED));
    assert_eq!(shares(&orders, 100)[1], 0);
    let until = target(&orders, 2).ejected_until_ms.load(Relaxed);
    orders.tick(until - 1);
    assert!(target(&orders, 2).is(EJECTED));
    orders.tick(until);
    assert!(shares(&orders, 90)[1] > 0);
    fail_at(&orders, 2, 1);
    assert!(target(&orders, 2).is(EJECTED), "one more failure is enough");
}

fn first_at(upstream: &Upstream, port: u16) -> Lease {
    (0..1000).map(|_| first(upstream)).find(|lease| lease.target().address.port() == port).unwrap()
}

#[test]
fn never_more_than_the_cap_are_ejected() {
    for (targets, percent, most) in [(1, 50, 0), (2, 50, 1), (5, 50, 2), (10, 33, 3), (3, 100, 3)] {
        let orders = upstream(targets, &format!("outliers = {{ failures = 1, ejected_max_percent = {percent} }}"));
        for port in 1..=targets {
            orders.pool.ended(&target(&orders, port), None, None);
        }
        let ejected = orders.plan.load().targets.iter().filter(|t| t.is(EJECTED)).count();
        assert_eq!(ejected, most, "of {targets} at {percent} %");
    }
}

#[test]
fn a_lease_that_is_dropped_untold_says_nothing() {
    let orders = upstream(2, "outliers = { failures = 1 }\nbreaker = { requests_min = 1 }");
    for _ in 0..100 {
        first(&orders);
    }
    assert_eq!(orders.health().breaker, Some(BreakerState::Closed));
    assert!(orders.health().targets.iter().all(|t| t.state == TargetState::Healthy && t.in_flight == 0));
}

#[test]
fn a_target_that_comes_back_gets_its_share_little_by_little() {
    let orders = upstream(2, "slow_start = \"1h\"");
    let second = target(&orders, 2);
    assert!(!second.is(WARMING), "the first targets have nothing to warm up from");
    orders.pool.set_health(&second, false, clock::now_ms());
    orders.pool.set_health(&second, true, clock::now_ms());
    assert!(second.is(WARMING) && !second.is(UNHEALTHY));
    let share = shares(&orders, 10_000)[1];
    assert!((350..=900).contains(&share), "a tenth of every second turn, not {share}");
    orders.tick(clock::now_ms() + 3_600_000);
    assert_eq!(shares(&orders, 100), [50, 50]);
}

#[test]
fn a_request_is_tried_again_at_another_target_as_often_as_the_settings_say() {
    let orders = upstream(5, "retries = { attempts = 2 }");
    let mut wanted = PickFor::default();
    let mut ports = Vec::new();
    loop {
        let mut lease = orders.lease(&wanted).unwrap();
        ports.push(lease.target().address.port());
        wanted.tried.push(&lease);
        lease.failed(Failure::Connect);
        if !orders.may_retry(&wanted.tried, Again::Elsewhere) {
            break;
        }
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
}

#[test]
fn without_another_target_only_a_connection_that_had_been_closed_is_tried_again() {
    let orders = upstream(1, "");
    let mut wanted = PickFor::default();
    let lease = orders.lease(&wanted).unwrap();
    wanted.tried.push(&lease);
    assert!(!orders.may_retry(&wanted.tried, Again::Elsewhere));
    assert!(orders.may_retry(&wanted.tried, Again::Anywhere));
    assert_eq!(orders.lease(&wanted).unwrap().target().address, lease.target().address);
}

#[test]
fn retries_end_with_their_budget() {
    let orders = upstream(3, "retries = { budget_percent = 10 }");
    let mut retried = 0;
    for _ in 0..1_000 {
        let mut wanted = PickFor::default();
        wanted.tried.push(&orders.lease(&wanted).unwrap());
        retried += usize::from(orders.may_retry(&wanted.tried, Again::Elsewhere));
    }
    assert!((100..=115).contains(&retried), "{retried}");
}

#[test]
fn an_open_breaker_refuses_and_says_for_how_long() {
    let orders = upstream(2, "breaker = { requests_min = 4, open_for = \"1h\" }");
    for _ in 0..4 {
        first(&orders).answered(500);
    }
    let NoTarget::CircuitOpen(wait) = orders.lease(&PickFor::default()).unwrap_err() else { panic!("it is closed") };
    assert!(wait > Duration::from_secs(3_590) && wait <= Duration::from_secs(3_600));
    assert!(orders.health().targets.iter().all(|t| t.in_flight == 0));
}

#[test]
fn an_upstream_of_unchanged_settings_keeps_what_it_knows() {
    let orders = upstream(2, "outliers = { failures = 1 }");
    fail_at(&orders, 1, 1);
    let metrics = Arc::new(Metrics::new());
    let same = Upstream::new(&orders.settings, Some(&orders), &metrics).unwrap();
    assert!(Arc::ptr_eq(&orders, &same));
    let mut changed = orders.settings.clone();
    changed.connections_max = 9;
    let other = Upstream::new(&changed, Some(&orders), &metrics).unwrap();
    assert!(!Arc::ptr_eq(&orders, &other));
}

#[test]
fn names_that_resolve_to_the_same_addresses_keep_their_targets_and_lost_ones_are_let_go() {
    let orders = upstream(3, "outliers = { failures = 1 }");
    fail_at(&orders, 1, 1);
    let held = first_at(&orders, 2);
    let before = orders.plan.load_full();
    let kept: Vec<_> = before.targets.iter().filter(|t| t.address.port() != 2).cloned().collect();
    let plan = Plan::new(kept, &orders.settings.balance);
    orders.pool.replace(&before.targets, &plan.targets, 0);
    orders.plan.store(Arc::new(plan));
    assert!(target(&orders, 1).is(EJECTED));
    let mut held = held;
    held.failed(Failure::Broken);
    assert!(!held.target().is(EJECTED), "it is no longer counted among the targets");
    drop(held);
    orders.resolve();
    assert_eq!(orders.plan.load().targets.len(), 3);
    assert!(target(&orders, 1).is(EJECTED));
    assert_ne!(target(&orders, 2).id, before.targets[1].id);
}

#[test]
fn an_upstream_without_an_address_yet_refuses_and_does_not_panic() {
    let nowhere = of("name = \"a\"\naddresses = [\"http://does-not-exist.invalid:1\"]");
    assert_eq!(nowhere.lease(&PickFor::default()).unwrap_err(), NoTarget::Unresolved);
    assert!(!nowhere.may_retry(&Tried::default(), Again::Elsewhere));
}

#[test]
fn https_asks_for_and_verifies_the_name_in_the_settings() {
    let orders = of("name = \"a\"\naddresses = [\"https://127.0.0.1\"]\nread_timeout = \"2s\"");
    let peer = orders.peer(first(&orders).target(), false);
    assert!(peer.is_tls() && peer.options.verify_cert && peer.options.verify_hostname);
    assert_eq!((peer.sni.as_str(), peer.options.read_timeout), ("127.0.0.1", Some(Duration::from_secs(2))));
}

#[test]
fn a_protocol_is_what_connections_offer_but_upgrades_are_http_1() {
    use pingora::protocols::ALPN;
    for (protocol, scheme, wanted) in [
        ("http1", "https", ALPN::H1),
        ("h2", "http", ALPN::H2),
        ("h2", "https", ALPN::H2),
        ("auto", "http", ALPN::H1),
        ("auto", "https", ALPN::H2H1),
    ] {
        let upstream = of(&format!("name = \"a\"\naddresses = [\"{scheme}://127.0.0.1:1\"]\nprotocol = \"{protocol}\""));
        let lease = first(&upstream);
        assert_eq!(upstream.peer(lease.target(), false).options.alpn, wanted);
        assert_eq!(upstream.peer(lease.target(), true).options.alpn, ALPN::H1);
        assert_eq!(upstream.is_plain(), scheme == "http" && protocol != "h2");
    }
}
