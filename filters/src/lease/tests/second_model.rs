//! Every order in which two nodes can get and spend shares and tokens of a second while time goes on in halves of a
//! second, answers are lost, calls come late or twice, and a node stands still for longer than its share lasts.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::book::Weakness,
    search::{World, is_deep, search, states_max},
    size::{ends_at, second_limit},
    *,
};
use crate::quota::Now;

const LIMIT: u32 = 2;
const STEP_MS: u64 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fleet {
    book: Book,
    incarnation: Incarnation,
    /// Steps of half a second since the start.
    steps: u64,
    steps_max: u64,
    nodes: [Node; 2],
    calls: BTreeSet<Call>,
    calls_left: [u8; 2],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Node {
    seq: u64,
    share: u32,
    /// By its steady clock.
    share_ends_ms: u64,
    tokens: u32,
    tokens_of: u32,
    /// Admitted in each second.
    admitted: BTreeMap<u32, u32>,
    /// When its newest call, not answered yet, was sent.
    sent_ms: Option<u64>,
    answer: Option<(u64, SecondGiven)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Call {
    node: usize,
    seq: u64,
    share: u32,
    want_share: u32,
    want_tokens: u32,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "read by the derived Debug, which prints the way to a fault")]
enum Event {
    TimeGoesOn,
    Asks(usize, u32, u32),
    Lowers(usize),
    CarriedOut(usize, u64),
    Hears(usize),
    Admits(usize),
}

impl Fleet {
    fn new(calls_left: [u8; 2], steps_max: u64, weakness: Option<Weakness>) -> Self {
        let mut book = Book::new(Policy { share_lease_ms: 1_000, ..Policy::default() }, "run");
        let incarnation = ready(&mut book, NOON_MS, &[0, 1]);
        book.weakness = weakness;
        let nodes = [Node { seq: 1, ..Node::default() }, Node { seq: 1, ..Node::default() }];
        Self { book, incarnation, steps: 0, steps_max, nodes, calls: BTreeSet::new(), calls_left }
    }

    fn now_ms(&self) -> u64 {
        NOON_MS + self.steps * STEP_MS
    }

    fn send(&mut self, n: usize, want_share: u32, want_tokens: u32) {
        let now_ms = self.now_ms();
        self.calls_left[n] -= 1;
        let node = &mut self.nodes[n];
        node.seq += 1;
        node.sent_ms = Some(now_ms);
        node.answer = None;
        let share = node.share_at(now_ms);
        self.calls.insert(Call { node: n, seq: node.seq, share, want_share, want_tokens });
    }

    fn carry_out(&mut self, call: &Call) {
        let Call { share, want_share, want_tokens, .. } = *call;
        let second = SecondAsk { limit: LIMIT, share, want_share, want_tokens, bare: false };
        let take = Take {
            caller: caller(u8::try_from(call.node).unwrap(), 1, call.seq),
            incarnation: Some(self.incarnation.clone()),
            account: account(),
            account_asks: Asks { second: Some(second), ..Asks::default() },
            key: None,
        };
        let now_ms = self.now_ms();
        let answer = self.book.take(now_ms, &take);
        // One that would change nothing when it came again is not kept.
        let mut again = self.book.clone();
        again.take(now_ms, &take);
        if again == self.book {
            self.calls.remove(call);
        }
        let node = &mut self.nodes[call.node];
        let is_awaited = node.sent_ms.is_some() && node.seq == call.seq && node.answer.is_none();
        if is_awaited && let Answer::Given(grants) = answer {
            node.answer = Some((grants.now_ms, grants.account.second.unwrap()));
        }
    }

    fn hear(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let (said_ms, given) = node.answer.take().unwrap();
        let sent_ms = node.sent_ms.take().unwrap();
        node.share = given.share;
        node.share_ends_ms = ends_at(sent_ms, said_ms, given.until_ms);
        if given.second != node.tokens_of {
            (node.tokens, node.tokens_of) = (0, given.second);
        }
        node.tokens += given.tokens;
    }
}

impl Node {
    fn share_at(&self, now_ms: u64) -> u32 {
        if now_ms < self.share_ends_ms { self.share } else { 0 }
    }

    /// As the ledger decides.
    fn may_admit(&self, now: &Now) -> bool {
        let in_second = |second: u32| self.admitted.get(&second).copied().unwrap_or(0);
        let (count, before) = (in_second(now.second), in_second(now.second - 1));
        let tokens = if self.tokens_of == now.second { self.tokens } else { 0 };
        let limit = second_limit(now, self.share_at(now.ms), tokens, before);
        count + weight(now, before) < limit
    }
}

fn weight(now: &Now, before: u32) -> u32 {
    before * (999 - now.milli) / 1_000
}

impl World for Fleet {
    type Event = Event;

    fn next(&self) -> Vec<(Event, Self)> {
        let mut next = Vec::new();
        let mut happens = |event, change: &dyn Fn(&mut Self)| {
            let mut after = self.clone();
            change(&mut after);
            next.push((event, after));
        };
        let now = Now::at(self.now_ms());
        for n in [0, 1] {
            let node = &self.nodes[n];
            if node.may_admit(&now) {
                // All that it may: what less would lead to is a part of it.
                happens(Event::Admits(n), &|after| {
                    while after.nodes[n].may_admit(&now) {
                        *after.nodes[n].admitted.entry(now.second).or_default() += 1;
                    }
                });
            }
            if node.answer.is_some() {
                happens(Event::Hears(n), &|after| after.hear(n));
            }
            if self.calls_left[n] > 0 {
                for (share, tokens) in [(2, 0), (0, 1)] {
                    happens(Event::Asks(n, share, tokens), &|after| after.send(n, share, tokens));
                }
                if node.share_at(now.ms) > 0 {
                    happens(Event::Lowers(n), &|after| {
                        after.nodes[n].share -= 1;
                        after.send(n, 0, 0);
                    });
                }
            }
        }
        for call in &self.calls {
            happens(Event::CarriedOut(call.node, call.seq), &|after| after.carry_out(call));
        }
        if self.steps < self.steps_max {
            happens(Event::TimeGoesOn, &|after| {
                after.steps += 1;
                // What is older weighs nothing any more.
                let oldest = now.second.saturating_sub(1);
                after.nodes.iter_mut().for_each(|node| node.admitted.retain(|second, _| *second >= oldest));
            });
        }
        next
    }

    fn check(&self) -> Result<(), String> {
        let now = Now::at(self.now_ms());
        let sum = |of: &dyn Fn(&Node) -> u32| self.nodes.iter().map(of).sum::<u32>();
        let admitted = |node: &Node, second: u32| node.admitted.get(&second).copied().unwrap_or(0);
        let in_second = sum(&|node| admitted(node, now.second));
        let sliding = in_second + sum(&|node| weight(&now, admitted(node, now.second - 1)));
        // Of the sliding second only where something was admitted now: it only falls while nothing is.
        if in_second > LIMIT || (in_second > 0 && sliding > LIMIT) {
            return Err(format!("{in_second} admitted in a second, {sliding} in a sliding one, of {LIMIT}"));
        }
        Ok(())
    }
}

fn states_of(calls: [u8; 2], steps: u64, weakness: Option<Weakness>) -> Result<usize, String> {
    search(Fleet::new(calls, steps, weakness), states_max())
}

#[test]
fn a_second_is_never_admitted_twice_by_shares_and_tokens() {
    let deeper: &[_] = if is_deep() { &[([2, 1], 4), ([2, 2], 3), ([1, 1], 8)] } else { &[] };
    for (calls, steps) in [([2, 1], 3), ([1, 1], 6)].iter().chain(deeper).copied() {
        let states = states_of(calls, steps, None).unwrap();
        assert!(states > 1_000, "{states} states are hardly a search");
    }
}

#[test]
fn the_search_finds_shares_that_are_free_too_soon_and_given_twice() {
    for weakness in [Weakness::NoTail, Weakness::GrantedTwice] {
        let why = states_of([1, 1], 5, Some(weakness)).expect_err("a rule is missing");
        assert!(why.contains("admitted in a second"), "{weakness:?}: {why}");
    }
}
