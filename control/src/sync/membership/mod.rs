//! Which proxies count, how far each has come, and until when each may act without hearing more: pure
//! state, with the time as an argument (`docs/decisions/revoke-and-lease.md` says why the rule is safe).

use std::collections::HashMap;

use clearway_config::ProxyId;

use super::refused::{Objects, Refused};

/// What every proxy is told, and what this process may assume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Without a lease a proxy refuses. Otherwise it serves on, and nobody can be fenced.
    pub(super) strict: bool,
    pub(super) lease_ms: u64,
    /// For clocks that do not run equally fast.
    pub(super) margin_ms: u64,
    /// A proxy not seen for so long no longer counts.
    pub(super) forget_ms: u64,
    /// How long a call waits for proxies that nothing fences.
    pub(super) patience_ms: u64,
    /// Other control processes may grant leases for so long before they have read a commit made here; `None` when
    /// there can be no other.
    pub(super) others_lag_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Membership {
    terms: Terms,
    members: HashMap<ProxyId, Member>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    /// It has applied everything through this revision and has it on disk.
    pub(super) acked: i64,
    /// No lease granted so far is valid at this moment or later.
    lease_until: u64,
    /// It may serve without any lease: it was told so, or has not yet said that it knows better.
    pub(super) unbounded: bool,
    pub(super) session: Option<u64>,
    /// Attached to another control process.
    elsewhere: bool,
    pub(super) seen_ms: u64,
    pub(super) refused: Refused,
}

/// What `proxies` remembers of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) id: ProxyId,
    pub(super) acked: i64,
    /// The lease it was last granted; `None` for one that may serve without.
    pub(super) lease_ms: Option<u64>,
    pub(super) seen_ms: u64,
}

/// The proxies that matter to one revision, taken when it was in every queue.
#[derive(Debug)]
pub(super) struct Watch {
    revision: i64,
    /// What of the gateway's objects it is about.
    objects: Objects,
    since: u64,
    fences: Vec<(ProxyId, Fence)>,
}

#[derive(Debug, Clone, Copy)]
struct Fence {
    /// When every lease that could be used without the revision has run out.
    at: u64,
    /// It may serve without a lease, so that nothing is known from then on either.
    unbounded: bool,
}

/// How far a watched revision has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) proxies: u32,
    pub(super) acknowledged: u32,
    pub(super) refused: u32,
    pub(super) fenced: u32,
    /// Those still to be waited for.
    pub(super) waiting: u32,
    /// When to look again even if nobody acknowledges.
    pub(super) look_again: Option<u64>,
}

impl Membership {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, members: HashMap::new() }
    }

    /// A proxy that an earlier process, or another one, has granted leases. Those may still run.
    pub(super) fn recall(&mut self, proxy: &Remembered, now: u64) {
        let lease_ms = proxy.lease_ms.unwrap_or_default().max(self.terms.lease_ms);
        self.members.entry(proxy.id).or_insert_with(|| Member {
            acked: proxy.acked,
            lease_until: now + lease_ms + self.terms.margin_ms,
            unbounded: proxy.lease_ms.is_none(),
            session: None,
            elsewhere: false,
            seen_ms: proxy.seen_ms,
            refused: Refused::default(),
        });
    }

    /// What the database says now of a proxy that another process may hold.
    pub(super) fn refresh(&mut self, proxy: &Remembered, now: u64) {
        self.recall(proxy, now);
        let Some(member) = self.members.get_mut(&proxy.id).filter(|member| member.session.is_none()) else { return };
        member.acked = proxy.acked;
        member.unbounded = proxy.lease_ms.is_none();
        member.elsewhere =
            self.terms.others_lag_ms.is_some() && now.saturating_sub(proxy.seen_ms) < self.terms.lease_ms.max(ELSEWHERE_MS);
        member.seen_ms = member.seen_ms.max(proxy.seen_ms);
    }

    /// `resumed_at` is what it holds on disk, or 0 when a whole snapshot is on its way. The caller has put
    /// the session's queue in place, so that every later revision is in it.
    pub(super) fn attach(&mut self, proxy: ProxyId, session: u64, resumed_at: i64, now: u64) {
        let member = self.members.entry(proxy).or_insert(Member {
            acked: 0,
            lease_until: now,
            unbounded: true,
            session: None,
            elsewhere: false,
            seen_ms: now,
            refused: Refused::default(),
        });
        // What it acknowledged earlier may have been lost with its disk.
        member.acked = resumed_at;
        member.session = Some(session);
        member.elsewhere = false;
        member.seen_ms = now;
        member.unbounded |= !self.terms.strict;
    }

    /// Whether the lease is granted; its reply must go into the queue before anything else does. The proxy says
    /// whether, started anew from its disk, it would refuse without a lease.
    pub(super) fn heartbeat(&mut self, proxy: &ProxyId, session: u64, strict_on_disk: bool, now: u64) -> bool {
        let Some(member) = self.members.get_mut(proxy).filter(|member| member.session == Some(session)) else {
            return false;
        };
        member.seen_ms = now;
        member.unbounded = !(self.terms.strict && strict_on_disk);
        member.lease_until = member.lease_until.max(now + self.terms.lease_ms + self.terms.margin_ms);
        true
    }

    pub(super) fn acknowledge(&mut self, proxy: &ProxyId, session: u64, revision: i64, now: u64) {
        if let Some(member) = self.members.get_mut(proxy).filter(|member| member.session == Some(session)) {
            member.acked = member.acked.max(revision);
            member.seen_ms = now;
        }
    }

    /// What a proxy refuses, as `said` of what it refused before; before the acknowledgement that it came with.
    pub(super) fn refuses(&mut self, proxy: &ProxyId, session: Option<u64>, said: impl FnOnce(&Refused) -> Refused) {
        if let Some(member) = self.members.get_mut(proxy).filter(|member| member.session == session) {
            member.refused = said(&member.refused);
        }
    }

    pub(super) fn detach(&mut self, proxy: &ProxyId, session: u64) {
        if let Some(member) = self.members.get_mut(proxy).filter(|member| member.session == Some(session)) {
            member.session = None;
        }
    }

    /// The revisions that were acknowledged are others now. Sessions are over, too.
    pub(super) fn forget_acknowledgements(&mut self) {
        for member in self.members.values_mut() {
            (member.acked, member.session) = (0, None);
        }
    }

    pub(super) fn session(&self, proxy: &ProxyId) -> Option<u64> {
        self.members.get(proxy)?.session
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ProxyId, &Member)> {
        self.members.iter()
    }

    /// Call it when `revision` is in the queue of every session: a lease granted after this is behind it.
    /// `objects` is what it changed of the gateway's.
    pub(super) fn watch(&mut self, revision: i64, objects: Objects, now: u64) -> Watch {
        let Terms { forget_ms, lease_ms, margin_ms, others_lag_ms, .. } = self.terms;
        self.members.retain(|_, member| member.session.is_some() || now < member.seen_ms.saturating_add(forget_ms));
        // Until then another process may have granted a lease without having read the revision.
        let others = others_lag_ms.map_or(0, |lag| now + lag + lease_ms + margin_ms);
        let fence = |member: &Member| Fence { at: member.lease_until.max(others), unbounded: member.unbounded };
        Watch { revision, objects, since: now, fences: self.members.iter().map(|(id, member)| (*id, fence(member))).collect() }
    }

    pub(super) fn standing(&self, watch: &Watch, now: u64) -> Standing {
        let mut standing = Standing::default();
        let patient_until = watch.since + self.terms.patience_ms;
        for (id, fence) in &watch.fences {
            let member = self.members.get(id);
            standing.proxies += 1;
            let look_again = match fence {
                _ if member.is_some_and(|member| member.acked >= watch.revision) => {
                    let refuses = !watch.objects.is_empty()
                        && member.is_some_and(|member| member.refused.concerns(&watch.objects, watch.revision));
                    *if refuses { &mut standing.refused } else { &mut standing.acknowledged } += 1;
                    continue;
                }
                Fence { at, unbounded: false } if *at <= now => {
                    standing.fenced += 1;
                    continue;
                }
                Fence { at, unbounded: false } => *at,
                // Perhaps nothing ends its serving; then it counts as neither. It is waited for while it can hear, and
                // in strict mode until the lease's end besides: it may well be one that refuses then, and has not said so.
                Fence { at, unbounded: true } => {
                    let patient = member.is_some_and(Member::is_connected).then_some(patient_until);
                    let until = patient.max(self.terms.strict.then_some(*at)).unwrap_or_default();
                    if until <= now {
                        continue;
                    }
                    until
                }
            };
            standing.waiting += 1;
            standing.look_again = Some(standing.look_again.map_or(look_again, |soonest| soonest.min(look_again)));
        }
        standing
    }
}

impl Member {
    pub(super) fn is_connected(&self) -> bool {
        self.session.is_some() || self.elsewhere
    }

    pub(super) fn lease_left_ms(&self, now: u64) -> u64 {
        self.lease_until.saturating_sub(now)
    }
}

/// Another process notes every few seconds whom it hears.
const ELSEWHERE_MS: u64 = 15_000;

#[cfg(test)]
mod tests;
