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
    /// What control processes over one database rely on of one another; `None` when there can be no other.
    pub(super) others: Option<Others>,
}

/// When a control process grants no lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// Where it last read all changes longer ago.
    pub(super) lag_ms: u64,
    /// Where it last noted the proxy in the database longer ago.
    pub(super) noted_ms: u64,
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
    /// No lease granted by this process so far is valid at this moment or later.
    lease_until: u64,
    /// Until when another process may grant one, as far as the database said when it was last looked at: if nobody has
    /// noted the proxy since.
    others_until: u64,
    /// The longest lease that another process may grant, or have granted.
    others_lease_ms: u64,
    /// Who last noted the proxy, and how often it has been: as the database said.
    noted: Noted,
    /// When it was last noted by this process, as of the moment before.
    noted_ms: u64,
    /// Changes must have been read since: it was not noted for so long that other processes no longer waited for it.
    read_after: u64,
    /// It may serve without any lease: it was told so, or has not yet said that it knows better.
    pub(super) unbounded: bool,
    pub(super) session: Option<u64>,
    /// Attached to another control process.
    elsewhere: bool,
    pub(super) seen_ms: u64,
    pub(super) refused: Refused,
}

/// One row of the database at two moments: where nothing of this has changed, nobody has noted the proxy in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Of the registration: the highest holds the proxy.
    pub(super) epoch: i64,
    pub(super) beats: i64,
    pub(super) seen_at: i64,
}

/// What `proxies` remembers of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) id: ProxyId,
    pub(super) acked: i64,
    /// The lease it was last granted; `None` for one that may serve without.
    pub(super) lease_ms: Option<u64>,
    pub(super) seen_ms: u64,
    pub(super) noted: Noted,
}

/// How a proxy was registered that attaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registered {
    pub(super) resumed_at: i64,
    /// As in [`Remembered`], of those who held it before.
    pub(super) lease_ms: Option<u64>,
    pub(super) noted: Noted,
    /// Before it was.
    pub(super) began: u64,
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

    /// What the database says of a proxy, as of `now` or earlier: it may have been granted leases by an earlier process, or
    /// be held by another. The session of this process that the other's comes after, if there is one: it has to end.
    pub(super) fn refresh(&mut self, proxy: &Remembered, now: u64) -> Option<u64> {
        let Terms { lease_ms, margin_ms, others, .. } = self.terms;
        let granted_ms = proxy.lease_ms.unwrap_or_default().max(lease_ms);
        let until = |from: u64| others.map_or(0, |others| from.saturating_add(others.noted_ms));
        let member = self.members.entry(proxy.id).or_insert_with(|| Member {
            acked: proxy.acked,
            lease_until: now + granted_ms + margin_ms,
            others_until: until(now),
            others_lease_ms: granted_ms,
            noted: proxy.noted,
            noted_ms: 0,
            read_after: u64::MAX,
            unbounded: proxy.lease_ms.is_none(),
            session: None,
            elsewhere: false,
            seen_ms: proxy.seen_ms,
            refused: Refused::default(),
        });
        if proxy.noted != member.noted {
            // Not by this process, or not when that was last said here: someone else may hold it.
            member.others_until = until(now);
        }
        if member.session.is_some() && proxy.noted.epoch <= member.noted.epoch {
            // What this process has noted itself, or what was read before it attached.
            return None;
        }
        member.noted = proxy.noted;
        member.others_lease_ms = granted_ms;
        member.acked = proxy.acked;
        member.unbounded = proxy.lease_ms.is_none();
        member.elsewhere = others.is_some() && now.saturating_sub(proxy.seen_ms) < lease_ms.max(ELSEWHERE_MS);
        member.seen_ms = member.seen_ms.max(proxy.seen_ms);
        member.session
    }

    /// Takes out whoever the database has forgotten.
    pub(super) fn keep_only(&mut self, known: impl Fn(&ProxyId) -> bool) {
        self.members.retain(|id, member| member.session.is_some() || known(id));
    }

    /// `registered.resumed_at` is what it holds on disk, or 0 when a whole snapshot is on its way. The caller has put the
    /// session's queue in place, so that every later revision is in it. False: another process has registered it since, so
    /// that the session is over.
    pub(super) fn attach(&mut self, proxy: ProxyId, session: u64, registered: Registered, now: u64) -> bool {
        let Terms { lease_ms, strict, others, .. } = self.terms;
        let Registered { resumed_at, lease_ms: granted_ms, noted, began } = registered;
        let member = self.members.entry(proxy).or_insert(Member {
            acked: 0,
            lease_until: now,
            others_until: now,
            others_lease_ms: lease_ms,
            noted: Noted::default(),
            noted_ms: 0,
            read_after: 0,
            unbounded: true,
            session: None,
            elsewhere: false,
            seen_ms: now,
            refused: Refused::default(),
        });
        if noted.epoch < member.noted.epoch {
            return false;
        }
        // What it acknowledged earlier may have been lost with its disk.
        member.acked = resumed_at;
        member.session = Some(session);
        member.elsewhere = false;
        member.seen_ms = now;
        member.unbounded |= !strict;
        member.noted = noted;
        member.others_lease_ms = member.others_lease_ms.max(granted_ms.unwrap_or_default());
        // Whoever held it may not have noticed yet.
        member.others_until = others.map_or(0, |others| now + others.noted_ms);
        member.noted_ms = began;
        // What it lacks is read after this, and comes before any lease.
        member.read_after = 0;
        true
    }

    /// Whether the lease is granted; its reply must go into the queue before anything else does. The proxy says
    /// whether, started anew from its disk, it would refuse without a lease. Changes were all read at `read_ms`.
    pub(super) fn heartbeat(&mut self, proxy: &ProxyId, session: u64, strict_on_disk: bool, read_ms: u64, now: u64) -> bool {
        let Terms { strict, lease_ms, margin_ms, others, .. } = self.terms;
        let Some(member) = self.members.get_mut(proxy).filter(|member| member.session == Some(session)) else {
            return false;
        };
        member.seen_ms = now;
        if let Some(Others { lag_ms, noted_ms }) = others {
            // Another process may have committed what this one has not read; or it may no longer wait for this proxy.
            let knows = now.saturating_sub(read_ms) <= lag_ms && read_ms >= member.read_after;
            if !knows || now.saturating_sub(member.noted_ms) > noted_ms {
                return false;
            }
        }
        member.unbounded = !(strict && strict_on_disk);
        member.lease_until = member.lease_until.max(now + lease_ms + margin_ms);
        true
    }

    /// What this process has noted of a proxy; `began`: before it was, where it cannot be lost any more.
    pub(super) fn noted(&mut self, proxy: &ProxyId, noted: Noted, began: Option<u64>, now: u64) {
        let noted_for = self.terms.others.map_or(u64::MAX, |others| others.noted_ms);
        let held = self.members.get_mut(proxy).filter(|member| member.session.is_some() && member.noted.epoch == noted.epoch);
        let Some(member) = held else { return };
        member.noted = noted;
        let Some(began) = began else { return };
        if now.saturating_sub(member.noted_ms) > noted_for {
            member.read_after = now;
        }
        member.noted_ms = member.noted_ms.max(began);
    }

    /// Its session, where it is the one that was registered under `epoch`: another process has registered it since.
    pub(super) fn superseded(&self, proxy: &ProxyId, epoch: i64) -> Option<u64> {
        self.members.get(proxy).filter(|member| member.noted.epoch == epoch)?.session
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

    pub(super) fn knows(&self, proxy: &ProxyId) -> bool {
        self.members.contains_key(proxy)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ProxyId, &Member)> {
        self.members.iter()
    }

    /// Call it when `revision` is in the queue of every session: a lease granted after this is behind it.
    /// `objects` is what it changed of the gateway's. `looked`: what the database said was [`Membership::refresh`]ed after
    /// the revision was committed.
    pub(super) fn watch(&mut self, revision: i64, objects: Objects, looked: bool, now: u64) -> Watch {
        let Terms { forget_ms, margin_ms, others, .. } = self.terms;
        self.members.retain(|_, member| member.session.is_some() || now < member.seen_ms.saturating_add(forget_ms));
        let fence = |member: &Member| {
            // Until then another process may grant a lease without having read the revision. Where it notes the proxy first,
            // after this, it reads changes in between, and those are this revision too.
            let elsewhere = others.map_or(0, |others| {
                let lags = now + others.lag_ms;
                let granted = if looked { lags.min(member.others_until) } else { lags };
                granted + member.others_lease_ms + margin_ms
            });
            Fence { at: member.lease_until.max(elsewhere), unbounded: member.unbounded }
        };
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

    /// About how long its lease still runs, for people.
    pub(super) fn lease_left_ms(&self, terms: &Terms, now: u64) -> u64 {
        let heard = if self.is_connected() { self.seen_ms + self.others_lease_ms } else { 0 };
        self.lease_until.saturating_sub(terms.margin_ms).max(heard).saturating_sub(now).min(terms.lease_ms)
    }

    /// The longest lease that may still run, or be granted by this process.
    pub(super) fn lease_ms(&self, terms: &Terms, now: u64) -> u64 {
        let others = self.others_until + self.others_lease_ms;
        terms.lease_ms.max(self.lease_until.max(others).saturating_sub(now))
    }

    /// Of the registration that this process knows of last.
    pub(super) fn epoch(&self) -> i64 {
        self.noted.epoch
    }

    /// When this process last noted it for good.
    pub(super) fn noted_ms(&self) -> u64 {
        self.noted_ms
    }
}

/// Another process notes every few seconds whom it hears.
const ELSEWHERE_MS: u64 = 15_000;

#[cfg(test)]
mod tests;
