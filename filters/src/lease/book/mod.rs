//! The store's rules over plain maps: what the script in Redis does, in Rust.
//!
//! It is what the model test searches, what the script is held against, and an in-memory store for tests of the node's
//! side. Nothing expires here; what has ended counts for nothing.

mod bucket;
mod long;
mod roster;
mod second;
mod slots;

use std::collections::BTreeMap;

use compact_str::CompactString;

use self::{bucket::Bucket, long::LongBook, roster::RosterBook, second::SecondBook, slots::SlotsBook};
use super::{
    Answer, Asks, Beat, Beaten, Caller, Given, Grants, Held, Policy, Restore, Restored, SubjectId, Take,
    call::{Long, bucket_of},
};

/// What all nodes share. The time is an argument of every call, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Book {
    policy: Policy,
    /// Which run of the server this is.
    run: CompactString,
    buckets: BTreeMap<u16, Bucket>,
    longs: BTreeMap<(SubjectId, Long, u32), LongBook>,
    seconds: BTreeMap<SubjectId, SecondBook>,
    slots: BTreeMap<SubjectId, SlotsBook>,
    roster: RosterBook,
    #[cfg(test)]
    pub(super) weakness: Option<Weakness>,
}

/// What a test leaves out, to see that it is missed.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weakness {
    /// Calls are carried out in whatever order they come.
    NoFence,
    /// What is given is not noted.
    GrantedTwice,
    /// A bucket whose data was lost begins anew at once.
    NoRestore,
    /// A server that has started again is taken to have forgotten nothing.
    RunIgnored,
    /// A share that was cut or has ended is free at once.
    NoTail,
}

/// The parts of one subject that a call works on: copies, written back if the call comes to anything.
#[derive(Debug, Default)]
struct Desk {
    second: SecondBook,
    day: LongBook,
    month: LongBook,
    slots: SlotsBook,
}

/// What the rules of one window need to know of the call.
#[derive(Debug, Clone, Copy)]
struct Moment<'a> {
    now_ms: u64,
    caller: &'a Caller,
    policy: &'a Policy,
}

impl Book {
    /// An empty store, on the server's `run`.
    pub fn new(policy: Policy, run: &str) -> Self {
        Self {
            policy,
            run: run.into(),
            buckets: BTreeMap::new(),
            longs: BTreeMap::new(),
            seconds: BTreeMap::new(),
            slots: BTreeMap::new(),
            roster: RosterBook::default(),
            #[cfg(test)]
            weakness: None,
        }
    }

    /// The server has started again with the data it had, or with older data that this book is a copy of.
    pub fn restart(&mut self, run: &str) {
        self.run = run.into();
    }

    /// The server has lost everything.
    pub fn lose(&mut self, run: &str) {
        let fresh = Self::new(self.policy, run);
        #[cfg(test)]
        let fresh = Self { weakness: self.weakness, ..fresh };
        *self = fresh;
    }

    pub fn take(&mut self, now_ms: u64, take: &Take) -> Answer {
        let bucket = self.bucket(now_ms, bucket_of(&take.account));
        if take.incarnation.as_ref() != Some(&bucket.incarnation) {
            return Answer::Lost(bucket.incarnation.clone());
        }
        if bucket.restoring {
            return Answer::Restoring;
        }
        let with_losses = bucket.with_losses;
        let subjects = [
            Some((SubjectId::Account(take.account), take.account_asks)),
            take.key.map(|(key, asks)| (SubjectId::Key(key), asks)),
        ];
        if subjects.iter().flatten().any(|(subject, asks)| self.is_stale(&take.caller, *subject, asks)) {
            return Answer::Stale;
        }
        let (mut done, bare) = self.work(now_ms, &take.caller, subjects, with_losses);
        if bare {
            let content = subjects.map(|subject| subject.map(|(subject, asks)| (subject, asks.wanting_nothing())));
            (done, _) = self.work(now_ms, &take.caller, content, with_losses);
        }
        let [(account_desk, account), (key_desk, key)] = done;
        for (subject, desk) in subjects.into_iter().zip([account_desk, key_desk]) {
            if let Some((subject, asks)) = subject {
                self.write(subject, &asks, desk);
            }
        }
        Answer::Given(Box::new(Grants { now_ms, account, key }))
    }

    /// Carries the asks out on copies; and whether the node is left bare of something.
    fn work(
        &self,
        now_ms: u64,
        caller: &Caller,
        subjects: [Option<(SubjectId, Asks)>; 2],
        with_losses: bool,
    ) -> ([(Desk, Given); 2], bool) {
        let at = Moment { now_ms, caller, policy: &self.policy };
        let mut bare = false;
        let done = subjects.map(|subject| {
            let Some((subject, asks)) = subject else { return (Desk::default(), Given::default()) };
            let mut desk = self.read(subject, &asks);
            #[cfg(test)]
            desk.second.set_tailless(self.weakness == Some(Weakness::NoTail));
            let given = Given {
                second: asks.second.map(|ask| desk.second.take(at, &ask)),
                day: asks.day.map(|ask| desk.day.take(at, Long::Day, &ask, with_losses)),
                month: asks.month.map(|ask| desk.month.take(at, Long::Month, &ask, with_losses)),
                slots: asks.slots.map(|ask| desk.slots.take(at, &ask)),
            };
            bare |= asks.is_left_bare(&given);
            (desk, given)
        });
        (done, bare)
    }

    fn read(&self, subject: SubjectId, asks: &Asks) -> Desk {
        let long = |long, window| self.longs.get(&(subject, long, window)).cloned().unwrap_or_default();
        Desk {
            second: self.seconds.get(&subject).cloned().unwrap_or_default(),
            day: asks.day.map(|ask| long(Long::Day, ask.window)).unwrap_or_default(),
            month: asks.month.map(|ask| long(Long::Month, ask.window)).unwrap_or_default(),
            slots: self.slots.get(&subject).cloned().unwrap_or_default(),
        }
    }

    fn write(&mut self, subject: SubjectId, asks: &Asks, desk: Desk) {
        #[cfg(test)]
        if self.weakness == Some(Weakness::GrantedTwice) {
            return;
        }
        if asks.second.is_some() {
            self.seconds.insert(subject, desk.second);
        }
        if let Some(ask) = asks.day {
            self.longs.insert((subject, Long::Day, ask.window), desk.day);
        }
        if let Some(ask) = asks.month {
            self.longs.insert((subject, Long::Month, ask.window), desk.month);
        }
        if asks.slots.is_some() {
            self.slots.insert(subject, desk.slots);
        }
    }

    /// Whether some window that is asked about has seen a call of this node that is not older.
    fn is_stale(&self, caller: &Caller, subject: SubjectId, asks: &Asks) -> bool {
        #[cfg(test)]
        if self.weakness == Some(Weakness::NoFence) {
            return false;
        }
        let desk = self.read(subject, asks);
        let seen = [
            asks.second.and_then(|_| desk.second.seen(&caller.node)),
            asks.day.and_then(|_| desk.day.seen(&caller.node)),
            asks.month.and_then(|_| desk.month.seen(&caller.node)),
            asks.slots.and_then(|_| desk.slots.seen(&caller.node)),
        ];
        seen.into_iter().flatten().any(|seen| seen >= caller.order())
    }

    pub fn restore(&mut self, now_ms: u64, restore: &Restore) -> Restored {
        let caller = &restore.caller;
        let forget_after_ms = self.policy.forget_after_ms;
        let bucket = self.bucket(now_ms, restore.bucket).clone();
        if restore.incarnation.as_ref() != Some(&bucket.incarnation) {
            return bucket.answer(now_ms, caller.node, forget_after_ms);
        }
        if restore.held.iter().any(|held| self.is_stale(caller, held.subject, &held.as_asks())) {
            return Restored::Stale;
        }
        let (is_first, restoring) = (!bucket.done.contains(&caller.node), bucket.restoring);
        for held in &restore.held {
            self.restore_held(now_ms, caller, held, is_first, restoring);
        }
        let bucket = self.bucket(now_ms, restore.bucket);
        bucket.restored(now_ms, restore, forget_after_ms);
        bucket.answer(now_ms, caller.node, forget_after_ms)
    }

    fn restore_held(&mut self, now_ms: u64, caller: &Caller, held: &Held, is_first: bool, restoring: bool) {
        let at = Moment { now_ms, caller, policy: &self.policy };
        let asks = held.as_asks();
        let mut desk = self.read(held.subject, &asks);
        if let Some(second) = &held.second {
            desk.second.restore(at, second, is_first);
        }
        if let Some(day) = &held.day {
            desk.day.restore(at, day, restoring);
        }
        if let Some(month) = &held.month {
            desk.month.restore(at, month, restoring);
        }
        if let Some(slots) = &held.slots {
            desk.slots.restore(at, slots);
        }
        self.write(held.subject, &asks, desk);
    }

    /// The bucket, begun anew where its data is not of this run.
    fn bucket(&mut self, now_ms: u64, bucket: u16) -> &mut Bucket {
        let run = &self.run;
        let begun = self.buckets.entry(bucket).or_insert_with(|| Bucket::beginning(run, now_ms, true));
        #[cfg(test)]
        match self.weakness {
            Some(Weakness::NoRestore) => begun.restoring = false,
            Some(Weakness::RunIgnored) => return begun,
            _ => {}
        }
        if begun.run != *run {
            *begun = Bucket::beginning(run, now_ms, false);
        }
        begun
    }

    pub fn beat(&mut self, now_ms: u64, beat: &Beat) -> Beaten {
        self.roster.beat(now_ms, beat, &self.run, self.policy.forget_after_ms)
    }
}
