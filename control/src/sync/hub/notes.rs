//! What the database is told of the proxies that this process holds.

use std::collections::BTreeSet;

use clearway_config::ProxyId;

use super::{Inner, State};
use crate::sync::{keeper::Note, membership::Noted, report, store::Kept};

impl Inner {
    /// Ends when a proxy has acknowledged something that other processes may wait for; never where there can be none.
    pub(in super::super) async fn acknowledged(&self) {
        if self.terms.others.is_none() {
            std::future::pending::<()>().await;
        }
        self.news.notified().await;
    }

    /// What there is to note of every proxy.
    pub(in super::super) fn notes(&self) -> Vec<Note> {
        let now = self.clock.now_ms();
        let wire = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let state = self.state();
        let held = state.membership.iter().filter_map(|(id, member)| Some((id, member, member.session?)));
        held.map(|(id, member, session)| Note {
            id: *id,
            epoch: member.epoch(),
            revision: member.acked,
            lease_ms: (!member.unbounded).then(|| wire(member.lease_ms(&self.terms, now))),
            ago_ms: wire(now.saturating_sub(member.seen_ms)),
            refused: member.refused.to_text(),
            report: state
                .sessions
                .get(&session)
                .and_then(|session| session.report.as_ref())
                .map(report::to_text)
                .unwrap_or_default(),
            noted_ms: member.noted_ms(),
            serves_without_lease: member.unbounded,
        })
        .collect()
    }

    /// Some of them have been noted; `for_good`: since then, so that it cannot be lost. Those that have not are held by
    /// another process.
    pub(in super::super) fn noted(&self, notes: &[Note], kept: Vec<Kept>, for_good: Option<u64>) {
        let now = self.clock.now_ms();
        let mut state = self.state();
        let mut ids = BTreeSet::new();
        for Kept { id, epoch, beats, last_seen_at, .. } in kept {
            let Ok(id) = id.parse::<ProxyId>() else { continue };
            state.membership.noted(&id, Noted { epoch, beats, seen_at: last_seen_at }, for_good, now);
            ids.insert(id);
        }
        for note in notes.iter().filter(|note| !ids.contains(&note.id)) {
            if let Some(session) = state.membership.superseded(&note.id, note.epoch) {
                state.supersede(session);
            }
        }
    }
}

impl State {
    /// Ends a session whose proxy is attached elsewhere.
    pub(super) fn supersede(&mut self, session: u64) {
        if let Some(found) = self.sessions.get(&session) {
            tracing::info!(proxy.id = %found.proxy, proxy.name = found.name, "proxy detached: another control process holds it");
        }
        self.drop_session(session);
    }
}
