//! The fence rule against a model of control, its proxies and what is between them.

mod several;

use std::collections::{BTreeSet, HashMap, VecDeque};

use proptest::prelude::*;

use super::*;

const LEASE_MS: u64 = 1_000;
const PROXIES: usize = 3;

fn terms(strict: bool) -> Terms {
    Terms { strict, lease_ms: LEASE_MS, margin_ms: 50, forget_ms: 900_000, patience_ms: 2_000, others: None }
}

fn id(n: usize) -> ProxyId {
    ProxyId::from_bytes([u8::try_from(n).unwrap() + 1; 16])
}

fn registered(resumed_at: i64) -> Registered {
    Registered { resumed_at, lease_ms: None, noted: Noted::default(), began: 0 }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    /// Commits a revision, puts it into every queue and begins to wait for it.
    Revoke,
    /// The proxy's next message reaches control, or control's the proxy.
    Up(usize),
    Down(usize),
    Heartbeat(usize),
    /// What the proxy holds reaches its disk, and it says so.
    Flush(usize),
    /// Control notices that the stream is gone; the proxy may still read what was sent.
    Drop(usize),
    Attach(usize),
    KillProxy(usize),
    LoseDisk(usize),
    /// Control notes proxies in its database.
    Note,
    RestartControl {
        strict: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let proxy = 0..PROXIES;
    prop_oneof![
        4 => (1_u64..700).prop_map(Step::Wait),
        4 => Just(Step::Revoke),
        8 => proxy.clone().prop_map(Step::Up),
        12 => proxy.clone().prop_map(Step::Down),
        8 => proxy.clone().prop_map(Step::Heartbeat),
        6 => proxy.clone().prop_map(Step::Flush),
        2 => proxy.clone().prop_map(Step::Drop),
        4 => proxy.clone().prop_map(Step::Attach),
        1 => proxy.clone().prop_map(Step::KillProxy),
        1 => proxy.prop_map(Step::LoseDisk),
        3 => Just(Step::Note),
        1 => prop::bool::weighted(0.8).prop_map(|strict| Step::RestartControl { strict }),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Up {
    Heartbeat { sent: u64, strict_on_disk: bool },
    Ack(i64),
}

#[derive(Debug, Clone, Copy)]
enum Down {
    Revision(i64),
    Reply { sent: u64, strict: bool },
}

#[derive(Debug, Clone, Default)]
struct Proxy {
    applied: i64,
    on_disk: i64,
    /// It has a whole snapshot at all.
    ready: bool,
    available: bool,
    available_on_disk: bool,
    lease_until: u64,
    session: u64,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
}

impl Proxy {
    fn serves(&self, now: u64) -> bool {
        self.ready && (self.available || now < self.lease_until)
    }
}

struct World {
    now: u64,
    membership: Membership,
    sessions: u64,
    revision: i64,
    rows: HashMap<ProxyId, Remembered>,
    proxies: Vec<Proxy>,
    waiting: Vec<Watch>,
    /// Revisions whose call was answered, with the proxies that the answer did not vouch for.
    answered: Vec<(i64, BTreeSet<ProxyId>)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: 1_000_000,
            membership: Membership::new(terms(true)),
            sessions: 0,
            revision: 1,
            rows: HashMap::new(),
            proxies: vec![Proxy::default(); PROXIES],
            waiting: Vec::new(),
            answered: Vec::new(),
        }
    }

    fn attached(&self, n: usize) -> bool {
        self.membership.session(&id(n)) == Some(self.proxies[n].session) && self.proxies[n].session > 0
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(ms) => self.now += ms,
            Step::Revoke => {
                self.revision += 1;
                for n in 0..PROXIES {
                    if self.attached(n) {
                        self.proxies[n].down.push_back(Down::Revision(self.revision));
                    }
                }
                self.waiting.push(self.membership.watch(self.revision, Objects::new(), true, self.now));
            }
            Step::Up(n) => self.up(n),
            Step::Down(n) => self.down(n),
            Step::Heartbeat(n) => {
                let proxy = &self.proxies[n];
                let strict_on_disk = !(proxy.available_on_disk || proxy.available);
                self.proxies[n].up.push_back(Up::Heartbeat { sent: self.now, strict_on_disk });
            }
            Step::Flush(n) => {
                let proxy = &mut self.proxies[n];
                proxy.on_disk = proxy.applied;
                proxy.available_on_disk = proxy.available;
                proxy.up.push_back(Up::Ack(proxy.on_disk));
            }
            Step::Drop(n) => {
                if let Some(session) = self.membership.session(&id(n)) {
                    self.membership.detach(&id(n), session);
                }
            }
            Step::Attach(n) => self.attach(n),
            Step::KillProxy(n) => {
                let proxy = &mut self.proxies[n];
                *proxy = Proxy {
                    applied: proxy.on_disk,
                    on_disk: proxy.on_disk,
                    ready: proxy.on_disk > 0,
                    available: proxy.available_on_disk,
                    available_on_disk: proxy.available_on_disk,
                    ..Proxy::default()
                };
            }
            Step::LoseDisk(n) => self.proxies[n] = Proxy::default(),
            Step::Note => {
                for (id, member) in self.membership.iter() {
                    let lease_ms = (!member.unbounded).then_some(LEASE_MS);
                    self.rows.insert(
                        *id,
                        Remembered { id: *id, acked: member.acked, lease_ms, seen_ms: member.seen_ms, noted: Noted::default() },
                    );
                }
            }
            Step::RestartControl { strict } => {
                self.membership = Membership::new(terms(strict));
                for row in self.rows.values() {
                    self.membership.refresh(row, self.now);
                }
                self.waiting.clear();
            }
        }
        self.answer();
        self.check();
    }

    fn up(&mut self, n: usize) {
        let attached = self.attached(n);
        let Some(message) = self.proxies[n].up.pop_front().filter(|_| attached) else { return };
        let session = self.proxies[n].session;
        match message {
            Up::Heartbeat { sent, strict_on_disk } => {
                if self.membership.heartbeat(&id(n), session, strict_on_disk, self.now, self.now) {
                    let strict = self.membership.terms.strict;
                    self.proxies[n].down.push_back(Down::Reply { sent, strict });
                }
            }
            Up::Ack(revision) => self.membership.acknowledge(&id(n), session, revision, self.now),
        }
    }

    fn down(&mut self, n: usize) {
        let proxy = &mut self.proxies[n];
        match proxy.down.pop_front() {
            None => {}
            Some(Down::Revision(revision)) => {
                proxy.applied = proxy.applied.max(revision);
                proxy.ready = true;
            }
            Some(Down::Reply { sent, strict }) => {
                proxy.lease_until = proxy.lease_until.max(sent + LEASE_MS);
                proxy.available = !strict;
            }
        }
    }

    fn attach(&mut self, n: usize) {
        self.sessions += 1;
        let proxy = &mut self.proxies[n];
        proxy.session = self.sessions;
        proxy.up.clear();
        proxy.down.clear();
        let row = Remembered { id: id(n), acked: proxy.on_disk, lease_ms: None, seen_ms: self.now, noted: Noted::default() };
        let row = self.rows.entry(id(n)).or_insert(row);
        if !self.membership.terms.strict {
            row.lease_ms = None;
        }
        self.membership.attach(id(n), self.sessions, registered(proxy.on_disk), self.now);
        // What it lacks, read after it subscribed.
        proxy.down.push_back(Down::Revision(self.revision));
    }

    fn answer(&mut self) {
        let (membership, now) = (&self.membership, self.now);
        let done = |watch: &Watch| membership.standing(watch, now).waiting == 0;
        for watch in self.waiting.extract_if(.., |watch| done(watch)) {
            let unbounded = watch.fences.iter().filter(|(_, fence)| fence.unbounded).map(|(id, _)| *id);
            self.answered.push((watch.revision, unbounded.collect()));
        }
    }

    /// No proxy serves without a revision whose call was answered, unless the answer said so.
    fn check(&self) {
        for (n, proxy) in self.proxies.iter().enumerate().filter(|(_, proxy)| proxy.serves(self.now)) {
            for (revision, unbounded) in &self.answered {
                assert!(
                    proxy.applied >= *revision || unbounded.contains(&id(n)),
                    "proxy {n} serves with {} after {revision} was answered: {proxy:?}",
                    proxy.applied,
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_proxy_serves_without_a_revision_that_was_answered(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }

    #[test]
    fn every_strict_call_is_answered_within_a_lease(steps in prop::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Revoke);
        // Nobody acknowledges anything any more; patience is longer than lease and margin.
        world.step(Step::Wait(2_001));
        prop_assert!(world.waiting.is_empty());
    }
}

#[test]
fn a_proxy_whose_disk_would_let_it_serve_after_a_restart_is_not_called_fenced() {
    let mut world = World::new();
    for step in [
        Step::RestartControl { strict: false },
        Step::Attach(0),
        Step::Down(0),
        Step::Heartbeat(0),
        Step::Up(0),
        Step::Down(0),
        Step::Flush(0),
        Step::RestartControl { strict: true },
        Step::Attach(0),
        Step::Down(0),
        Step::Heartbeat(0),
        Step::Up(0),
        // It has been granted a lease, but what it was told has not reached its disk.
        Step::KillProxy(0),
        Step::Drop(0),
        Step::Revoke,
        Step::Wait(3_000),
    ] {
        world.step(step);
    }
    assert!(world.proxies[0].serves(world.now));
    assert_eq!(world.answered, [(2, BTreeSet::from([id(0)]))]);
}

fn grown() -> Membership {
    let mut membership = Membership::new(terms(true));
    for n in 0..2 {
        membership.attach(id(n), n as u64 + 1, registered(5), 1_000);
        assert!(membership.heartbeat(&id(n), n as u64 + 1, true, 1_000, 1_000));
    }
    membership
}

#[test]
fn a_revoke_waits_for_acknowledgements_and_says_how_many_there_were() {
    let mut membership = grown();
    let watch = membership.watch(6, Objects::new(), true, 1_100);
    let waiting = membership.standing(&watch, 1_100);
    assert_eq!((waiting.proxies, waiting.acknowledged, waiting.waiting), (2, 0, 2));
    assert_eq!(waiting.look_again, Some(2_050));
    membership.acknowledge(&id(0), 1, 6, 1_200);
    membership.acknowledge(&id(1), 99, 6, 1_200);
    let waiting = membership.standing(&watch, 1_200);
    assert_eq!((waiting.acknowledged, waiting.waiting), (1, 1), "another session's word does not count");
    let done = membership.standing(&watch, 2_050);
    assert_eq!(done, Standing { proxies: 2, acknowledged: 1, fenced: 1, ..Standing::default() });
}

#[test]
fn a_lease_granted_after_the_watch_does_not_lengthen_it() {
    let mut membership = grown();
    let watch = membership.watch(6, Objects::new(), true, 1_100);
    assert!(membership.heartbeat(&id(0), 1, true, 1_900, 1_900));
    assert_eq!(membership.standing(&watch, 2_050).fenced, 2, "the later lease is behind the revision in its queue");
    let next = membership.watch(7, Objects::new(), true, 2_050);
    assert_eq!(membership.standing(&next, 2_050).look_again, Some(2_950), "but not behind the next one");
}

#[test]
fn after_a_restart_leases_that_nobody_remembers_are_waited_for() {
    let mut membership = Membership::new(terms(true));
    membership.refresh(&Remembered { id: id(0), acked: 3, lease_ms: Some(5_000), seen_ms: 900, noted: Noted::default() }, 1_000);
    let watch = membership.watch(4, Objects::new(), true, 1_000);
    assert_eq!(membership.standing(&watch, 6_049).waiting, 1, "the lease it was granted, not today's shorter one");
    assert_eq!(membership.standing(&watch, 6_050).fenced, 1);
}

#[test]
fn a_proxy_that_may_serve_without_a_lease_is_waited_for_while_it_can_hear_and_never_fenced() {
    let mut membership = Membership::new(terms(false));
    membership.attach(id(0), 1, registered(5), 1_000);
    membership.attach(id(1), 2, registered(5), 1_000);
    assert!(membership.heartbeat(&id(0), 1, true, 1_000, 1_000));
    membership.detach(&id(1), 2);
    let watch = membership.watch(6, Objects::new(), true, 1_100);
    let standing = membership.standing(&watch, 1_100);
    assert_eq!(standing, Standing { proxies: 2, waiting: 1, look_again: Some(3_100), ..Standing::default() });
    assert_eq!(membership.standing(&watch, 3_100), Standing { proxies: 2, ..Standing::default() });
}

#[test]
fn a_strict_call_waits_for_the_lease_of_a_proxy_that_has_not_said_what_is_on_its_disk() {
    let mut membership = Membership::new(terms(true));
    membership.refresh(&Remembered { id: id(0), acked: 3, lease_ms: None, seen_ms: 900, noted: Noted::default() }, 1_000);
    let watch = membership.watch(4, Objects::new(), true, 1_000);
    assert_eq!(membership.standing(&watch, 2_049).waiting, 1);
    assert_eq!(membership.standing(&watch, 2_050), Standing { proxies: 1, ..Standing::default() });
}

#[test]
fn a_proxy_not_seen_for_long_no_longer_counts() {
    let mut membership = grown();
    membership.detach(&id(0), 1);
    let watch = membership.watch(6, Objects::new(), true, 1_000 + 900_000);
    assert_eq!(membership.standing(&watch, 901_000).proxies, 1);
}

#[test]
fn the_only_control_process_waits_for_a_proxy_that_it_does_not_hold_no_longer_than_its_lease() {
    let mut membership = Membership::new(terms(true));
    membership.refresh(&Remembered { id: id(0), acked: 1, lease_ms: None, seen_ms: 0, noted: Noted::default() }, 0);
    let watch = membership.watch(2, Objects::new(), true, 0);
    assert_eq!(membership.standing(&watch, LEASE_MS + 49).waiting, 1);
    assert_eq!(membership.standing(&watch, LEASE_MS + 50).waiting, 0);
}

#[test]
fn a_proxy_that_holds_a_change_and_refuses_it_has_not_acknowledged_it() {
    let mut membership = grown();
    let objects = |name: &str| Objects::from([format!("route/{name}")]);
    let watch = membership.watch(6, objects("orders"), true, 1_100);
    let refused =
        clearway_config::sync::v1::RefusedObject { kind: "route".into(), name: "orders".into(), reason: "taken".into() };
    let said = clearway_config::sync::v1::Refused { count: 1, objects: vec![refused] };
    membership.refuses(&id(0), Some(1), |before| before.followed_by(said, 6));
    for n in 0..2 {
        membership.acknowledge(&id(n), n as u64 + 1, 6, 1_200);
    }
    let standing = membership.standing(&watch, 1_200);
    assert_eq!(standing, Standing { proxies: 2, acknowledged: 1, refused: 1, ..Standing::default() });
    // A key that is revoked meanwhile is none of it, nor is another route later on.
    for objects in [Objects::new(), objects("other")] {
        let watch = membership.watch(7, objects, true, 1_200);
        for n in 0..2 {
            membership.acknowledge(&id(n), n as u64 + 1, 7, 1_200);
        }
        assert_eq!(membership.standing(&watch, 1_200).acknowledged, 2);
    }
}
