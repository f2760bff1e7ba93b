//! The rule where there are several control processes over one database: against a model of them, of its rows and of
//! proxies that move. Any of them may stall between any two of its steps.

use super::*;

const CONTROLS: usize = 2;
const OTHERS: Others = Others { lag_ms: 600, noted_ms: 1_500 };

fn fleet() -> Terms {
    Terms { others: Some(OTHERS), ..terms(true) }
}

#[derive(Debug, Clone, Copy)]
enum Do {
    Wait(u64),
    /// A revoke is committed by this control process.
    Commit(usize),
    /// Reads changes: asks, and has the answer.
    Ask(usize),
    Publish(usize),
    /// Reads the rows of proxies.
    Look(usize),
    /// Begins to wait for what it has committed.
    Watch(usize),
    /// Notes proxies: what there is to note, and the commit.
    Gather(usize),
    Note(usize),
    /// The proxy leaves its stream and is registered by a control process; then it is attached.
    Register(usize, usize),
    Attach(usize, usize),
    Up(usize),
    Down(usize),
    Heartbeat(usize),
    Flush(usize),
    KillProxy(usize),
    Drop(usize, usize),
    Restart(usize),
}

fn any_step() -> impl Strategy<Value = Do> {
    let (proxy, control) = (0..PROXIES, 0..CONTROLS);
    prop_oneof![
        4 => (1_u64..700).prop_map(Do::Wait),
        1 => (700_u64..4_000).prop_map(Do::Wait),
        4 => control.clone().prop_map(Do::Commit),
        5 => control.clone().prop_map(Do::Ask),
        7 => control.clone().prop_map(Do::Publish),
        6 => control.clone().prop_map(Do::Look),
        6 => control.clone().prop_map(Do::Watch),
        5 => control.clone().prop_map(Do::Gather),
        6 => control.clone().prop_map(Do::Note),
        4 => (proxy.clone(), control.clone()).prop_map(|(p, c)| Do::Register(p, c)),
        6 => (proxy.clone(), control.clone()).prop_map(|(p, c)| Do::Attach(p, c)),
        10 => proxy.clone().prop_map(Do::Up),
        12 => proxy.clone().prop_map(Do::Down),
        10 => proxy.clone().prop_map(Do::Heartbeat),
        6 => proxy.clone().prop_map(Do::Flush),
        1 => proxy.clone().prop_map(Do::KillProxy),
        1 => (proxy, control.clone()).prop_map(|(p, c)| Do::Drop(p, c)),
        1 => control.prop_map(Do::Restart),
    ]
}

struct Control {
    membership: Membership,
    read_ms: u64,
    published: i64,
    asked: Option<(u64, i64)>,
    /// The last revision that was committed when it looked at the rows.
    looked: i64,
    gathered: Vec<(ProxyId, Remembered, u64)>,
    registered: HashMap<usize, Registered>,
    committed: Vec<i64>,
    waiting: Vec<Watch>,
}

struct Fleet {
    now: u64,
    revision: i64,
    sessions: u64,
    writes: i64,
    rows: HashMap<ProxyId, Remembered>,
    controls: Vec<Control>,
    /// With the control process that each is attached to, or means to be.
    proxies: Vec<(Proxy, Option<usize>)>,
    answered: Vec<(i64, BTreeSet<ProxyId>)>,
}

impl Fleet {
    fn new() -> Self {
        let control = || Control {
            membership: Membership::new(fleet()),
            read_ms: 0,
            published: 1,
            asked: None,
            looked: 0,
            gathered: Vec::new(),
            registered: HashMap::new(),
            committed: Vec::new(),
            waiting: Vec::new(),
        };
        Self {
            now: 1_000_000,
            revision: 1,
            sessions: 0,
            writes: 0,
            rows: HashMap::new(),
            controls: (0..CONTROLS).map(|_| control()).collect(),
            proxies: vec![(Proxy::default(), None); PROXIES],
            answered: Vec::new(),
        }
    }

    fn step(&mut self, step: Do) {
        let now = self.now;
        match step {
            Do::Wait(ms) => self.now += ms,
            Do::Commit(c) => {
                self.revision += 1;
                self.controls[c].committed.push(self.revision);
            }
            Do::Ask(c) => self.controls[c].asked = Some((now, self.revision)),
            Do::Publish(c) => self.publish(c),
            Do::Look(c) => self.look(c),
            Do::Watch(c) => {
                let control = &mut self.controls[c];
                let ready = control.published.min(control.looked);
                for revision in control.committed.extract_if(.., |revision| *revision <= ready) {
                    control.waiting.push(control.membership.watch(revision, Objects::new(), true, now));
                }
            }
            Do::Gather(c) => self.gather(c),
            Do::Note(c) => self.note(c),
            Do::Register(n, c) => self.register(n, c),
            Do::Attach(n, c) => self.attach(n, c),
            Do::Up(n) => self.up(n),
            Do::Down(n) => {
                let proxy = &mut self.proxies[n].0;
                match proxy.down.pop_front() {
                    None => {}
                    Some(Down::Revision(revision)) => {
                        proxy.applied = proxy.applied.max(revision);
                        proxy.ready = true;
                    }
                    Some(Down::Reply { sent, .. }) => proxy.lease_until = proxy.lease_until.max(sent + LEASE_MS),
                }
            }
            Do::Heartbeat(n) => self.proxies[n].0.up.push_back(Up::Heartbeat { sent: now, strict_on_disk: true }),
            Do::Flush(n) => {
                let proxy = &mut self.proxies[n].0;
                proxy.on_disk = proxy.applied;
                proxy.up.push_back(Up::Ack(proxy.on_disk));
            }
            Do::KillProxy(n) => {
                let on_disk = self.proxies[n].0.on_disk;
                self.proxies[n] = (Proxy { applied: on_disk, on_disk, ready: on_disk > 0, ..Proxy::default() }, None);
            }
            Do::Drop(n, c) => {
                let membership = &mut self.controls[c].membership;
                if let Some(session) = membership.session(&id(n)) {
                    membership.detach(&id(n), session);
                }
            }
            Do::Restart(c) => {
                let (revision, control) = (self.revision, &mut self.controls[c]);
                control.membership = Membership::new(fleet());
                (control.read_ms, control.published, control.asked, control.looked) = (now, revision, None, 0);
                control.gathered.clear();
                control.registered.clear();
                control.committed.clear();
                control.waiting.clear();
                self.look(c);
            }
        }
        self.answer();
        self.check();
    }

    /// What a control process puts into the queue of a session arrives if the proxy still reads that one.
    fn send(proxies: &mut [(Proxy, Option<usize>)], n: usize, session: u64, what: Down) {
        if session > 0 && proxies[n].0.session == session {
            proxies[n].0.down.push_back(what);
        }
    }

    fn publish(&mut self, c: usize) {
        let control = &mut self.controls[c];
        let Some((began, through)) = control.asked.take() else { return };
        for n in 0..PROXIES {
            let session = control.membership.session(&id(n)).unwrap_or(0);
            for revision in control.published + 1..=through {
                Self::send(&mut self.proxies, n, session, Down::Revision(revision));
            }
        }
        control.published = control.published.max(through);
        control.read_ms = began;
    }

    fn look(&mut self, c: usize) {
        let control = &mut self.controls[c];
        for (id, row) in &self.rows {
            if let Some(session) = control.membership.refresh(row, self.now) {
                control.membership.detach(id, session);
            }
        }
        control.looked = self.revision;
    }

    fn gather(&mut self, c: usize) {
        let (control, now) = (&mut self.controls[c], self.now);
        control.gathered.clear();
        for (id, member) in control.membership.iter().filter(|(_, member)| member.session.is_some()) {
            let lease_ms = (!member.unbounded).then(|| member.lease_ms(&fleet(), now));
            let noted = Noted { epoch: member.epoch(), ..Noted::default() };
            let row = Remembered { id: *id, acked: member.acked, lease_ms, seen_ms: member.seen_ms, noted };
            control.gathered.push((*id, row, now));
        }
    }

    fn note(&mut self, c: usize) {
        let control = &mut self.controls[c];
        for (id, mut note, began) in std::mem::take(&mut control.gathered) {
            let row = self.rows.get_mut(&id).expect("who is held is registered");
            if row.noted.epoch == note.noted.epoch {
                self.writes += 1;
                note.noted = Noted { beats: row.noted.beats + 1, seen_at: self.writes, ..row.noted };
                *row = note;
                control.membership.noted(&id, row.noted, Some(began), self.now);
            } else if let Some(session) = control.membership.superseded(&id, note.noted.epoch) {
                control.membership.detach(&id, session);
            }
        }
    }

    fn register(&mut self, n: usize, c: usize) {
        let (proxy, at) = &mut self.proxies[n];
        (proxy.session, *at) = (0, Some(c));
        proxy.up.clear();
        proxy.down.clear();
        self.writes += 1;
        let (acked, seen_at) = (proxy.on_disk, self.writes);
        let new = Remembered { id: id(n), acked, lease_ms: None, seen_ms: self.now, noted: Noted::default() };
        let row = self.rows.entry(id(n)).or_insert(new);
        row.noted = Noted { epoch: row.noted.epoch + 1, beats: row.noted.beats + 1, seen_at };
        (row.acked, row.seen_ms) = (acked, self.now);
        let registered = Registered { resumed_at: acked, lease_ms: row.lease_ms, noted: row.noted, began: self.now };
        self.controls[c].registered.insert(n, registered);
    }

    fn attach(&mut self, n: usize, c: usize) {
        let control = &mut self.controls[c];
        let Some(registered) = control.registered.remove(&n) else { return };
        self.sessions += 1;
        if control.membership.attach(id(n), self.sessions, registered, self.now) && self.proxies[n].1 == Some(c) {
            let proxy = &mut self.proxies[n].0;
            proxy.session = self.sessions;
            // What it lacks, read after it subscribed.
            proxy.down.push_back(Down::Revision(self.revision));
        }
    }

    fn up(&mut self, n: usize) {
        let (proxy, Some(c)) = &mut self.proxies[n] else { return };
        let control = &mut self.controls[*c];
        let Some(message) = proxy.up.pop_front() else { return };
        let session = proxy.session;
        match message {
            Up::Heartbeat { sent, .. } => {
                if control.membership.heartbeat(&id(n), session, true, control.read_ms, self.now) {
                    Self::send(&mut self.proxies, n, session, Down::Reply { sent, strict: true });
                }
            }
            Up::Ack(revision) => control.membership.acknowledge(&id(n), session, revision, self.now),
        }
    }

    fn answer(&mut self) {
        for Control { membership, waiting, .. } in &mut self.controls {
            for watch in waiting.extract_if(.., |watch| membership.standing(watch, self.now).waiting == 0) {
                let unbounded = watch.fences.iter().filter(|(_, fence)| fence.unbounded).map(|(id, _)| *id);
                self.answered.push((watch.revision, unbounded.collect()));
            }
        }
    }

    fn check(&self) {
        for (n, (proxy, at)) in self.proxies.iter().enumerate().filter(|(_, (proxy, _))| proxy.serves(self.now)) {
            for (revision, unbounded) in &self.answered {
                assert!(
                    proxy.applied >= *revision || unbounded.contains(&id(n)),
                    "proxy {n} at {at:?} serves with {} after {revision} was answered",
                    proxy.applied,
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_proxy_of_any_control_process_serves_without_a_revision_that_was_answered(
        steps in prop::collection::vec(any_step(), 1..200)
    ) {
        let mut fleet = Fleet::new();
        for step in steps {
            fleet.step(step);
        }
    }
}

/// A proxy that is attached to the first of two control processes and has a lease; both have seen it.
fn settled() -> Fleet {
    let mut fleet = Fleet::new();
    for step in [
        Do::Register(0, 0),
        Do::Attach(0, 0),
        Do::Down(0),
        Do::Ask(0),
        Do::Publish(0),
        Do::Heartbeat(0),
        Do::Up(0),
        Do::Down(0),
        Do::Flush(0),
        Do::Up(0),
        Do::Gather(0),
        Do::Note(0),
        Do::Look(0),
        Do::Look(1),
        Do::Ask(1),
        Do::Publish(1),
    ] {
        fleet.step(step);
    }
    assert!(fleet.proxies[0].0.serves(fleet.now));
    fleet
}

impl Fleet {
    fn steps(&mut self, steps: impl IntoIterator<Item = Do>) {
        steps.into_iter().for_each(|step| self.step(step));
    }

    /// The second control process commits a revoke and begins to wait for it.
    fn revoke_by_the_second(&mut self) {
        self.steps([Do::Commit(1), Do::Ask(1), Do::Publish(1), Do::Look(1), Do::Watch(1)]);
    }
}

#[test]
fn a_revoke_on_one_is_answered_when_the_other_has_noted_the_acknowledgement() {
    let mut fleet = settled();
    fleet.revoke_by_the_second();
    fleet.steps([Do::Ask(0), Do::Publish(0), Do::Down(0), Do::Flush(0), Do::Up(0), Do::Look(1)]);
    assert_eq!(fleet.answered, [], "it has not been noted");
    fleet.steps([Do::Gather(0), Do::Note(0), Do::Look(1)]);
    assert_eq!(fleet.answered, [(2, BTreeSet::new())]);
}

#[test]
fn one_that_stalls_and_goes_on_grants_nothing_until_it_has_read_what_was_committed() {
    let mut fleet = settled();
    // It was stopped; the proxy's heartbeats wait for it.
    fleet.steps([Do::Heartbeat(0), Do::Wait(OTHERS.lag_ms + 1)]);
    fleet.revoke_by_the_second();
    fleet.steps([Do::Up(0), Do::Heartbeat(0), Do::Up(0)]);
    assert!(fleet.proxies[0].0.down.is_empty(), "it does not know what was committed meanwhile");
    fleet.steps([Do::Ask(0), Do::Publish(0), Do::Heartbeat(0), Do::Up(0)]);
    assert!(matches!(fleet.proxies[0].0.down.front(), Some(Down::Revision(2))), "the lease is behind it");
}

#[test]
fn a_proxy_that_nobody_has_noted_for_long_is_fenced_at_once() {
    let mut fleet = settled();
    // It attached a moment ago: whoever held it before may not have noticed yet.
    fleet.step(Do::Wait(2 * OTHERS.noted_ms + LEASE_MS + 50));
    fleet.revoke_by_the_second();
    assert_eq!(fleet.answered, [(2, BTreeSet::new())], "its lease has run out, whoever granted it");
    // The first goes on. It may not grant by what it has read before it noted the proxy anew.
    fleet.steps([Do::Ask(0), Do::Wait(1), Do::Gather(0), Do::Note(0), Do::Heartbeat(0), Do::Up(0)]);
    assert!(fleet.proxies[0].0.down.is_empty());
    fleet.steps([Do::Publish(0), Do::Heartbeat(0), Do::Up(0), Do::Down(0)]);
    assert_eq!(fleet.proxies[0].0.applied, 2, "what it read is passed on");
    assert!(fleet.proxies[0].0.down.is_empty(), "but was asked for before it noted the proxy");
    fleet.steps([Do::Wait(1), Do::Ask(0), Do::Publish(0), Do::Heartbeat(0), Do::Up(0), Do::Down(0)]);
    assert!(fleet.proxies[0].0.serves(fleet.now));
}

#[test]
fn a_proxy_that_moved_is_waited_for_where_it_is_and_the_old_session_ends() {
    let mut fleet = settled();
    // The first control process still takes its session to be alive.
    fleet.steps([Do::Register(0, 1), Do::Attach(0, 1), Do::Down(0), Do::Heartbeat(0), Do::Up(0), Do::Down(0)]);
    fleet.steps([Do::Commit(0), Do::Ask(0), Do::Publish(0), Do::Look(0), Do::Watch(0)]);
    assert_eq!(fleet.controls[0].membership.session(&id(0)), None, "it has seen that another holds it");
    fleet.steps([Do::Wait(100), Do::Ask(1), Do::Publish(1), Do::Down(0), Do::Flush(0), Do::Up(0), Do::Gather(1), Do::Note(1)]);
    assert_eq!(fleet.answered, []);
    fleet.step(Do::Look(0));
    assert_eq!(fleet.answered.len(), 1);
}

#[test]
fn of_two_that_hold_one_proxy_only_the_later_one_notes_it() {
    let mut fleet = settled();
    fleet.step(Do::Gather(0));
    fleet.steps([Do::Register(0, 1), Do::Attach(0, 1), Do::Down(0), Do::Flush(0), Do::Up(0), Do::Gather(1), Do::Note(1)]);
    let row = fleet.rows[&id(0)];
    fleet.step(Do::Note(0));
    assert_eq!(fleet.rows[&id(0)].noted, row.noted, "what it gathered before is of no use");
    assert_eq!(fleet.controls[0].membership.session(&id(0)), None);
    assert!(fleet.controls[1].membership.session(&id(0)).is_some());
}

#[test]
fn a_longer_lease_that_another_process_grants_is_waited_for() {
    let mut membership = Membership::new(fleet());
    let noted = Noted { epoch: 7, beats: 1, seen_at: 1 };
    let row = Remembered { id: id(0), acked: 5, lease_ms: Some(30_000), seen_ms: 10_000, noted };
    assert_eq!(membership.refresh(&row, 10_000), None);
    let watch = membership.watch(6, Objects::new(), true, 10_000);
    assert_eq!(membership.standing(&watch, 10_600 + 30_000 + 49).waiting, 1);
    assert_eq!(membership.standing(&watch, 10_600 + 30_000 + 50).fenced, 1);
}

#[test]
fn where_the_database_could_not_be_asked_what_it_said_before_is_not_relied_on() {
    let mut membership = Membership::new(fleet());
    let noted = Noted { epoch: 7, beats: 1, seen_at: 1 };
    let row = Remembered { id: id(0), acked: 5, lease_ms: Some(LEASE_MS), seen_ms: 10_000, noted };
    assert_eq!(membership.refresh(&row, 10_000), None);
    let later = 20_000;
    let watch = membership.watch(6, Objects::new(), true, later);
    assert_eq!(membership.standing(&watch, later).fenced, 1, "nobody has noted it since");
    let watch = membership.watch(6, Objects::new(), false, later);
    assert_eq!(membership.standing(&watch, later + OTHERS.lag_ms + LEASE_MS + 49).waiting, 1);
}
