//! What the dispatcher reads: events that are not deliveries yet, whom they are for, and which webhooks have something due.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use clearway_config::{AccountId, WebhookId};

use super::{board::Event, lane::Terms, store};
use crate::{
    db::{self, Db},
    webhooks::{Filters, Matcher, Occurrence, matching},
};

/// Events that are read at a time.
pub(super) const EVENTS_MAX: u32 = 200;
/// Webhooks with something due that are read at a time.
const DUE_MAX: u32 = 64;
/// Accounts that are remembered at most.
const ACCOUNTS_MAX: usize = 10_000;

/// Reads on from where it is. What it remembers of webhooks holds as long as no change of anything has been committed.
#[derive(Debug, Default)]
pub(super) struct Reader {
    filters: Arc<Filters>,
    /// The last event that was read.
    sequence: i64,
    revision: i64,
    matchers: HashMap<AccountId, Arc<Matcher>>,
    terms: HashMap<WebhookId, Arc<Terms>>,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: Vec<(Event, Vec<Arc<Terms>>)>,
    /// Whether there are likely to be more of them.
    pub(super) more_events: bool,
    pub(super) due: Vec<Arc<Terms>>,
    /// Whether there are likely to be more of those.
    pub(super) more_due: bool,
}

impl Reader {
    /// Goes on behind `sequence`.
    pub(super) fn starting_after(sequence: i64, filters: Arc<Filters>) -> Self {
        Self { filters, sequence, ..Self::default() }
    }

    /// The next events, and whom they are for, as webhooks were when the last of them was committed or later.
    pub(super) async fn events(&mut self, db: &Db, found: &mut Found) -> db::Result<()> {
        let (events, revision) = store::events_after(db, self.sequence, EVENTS_MAX).await?;
        let Some(last) = events.last().map(|event| event.sequence) else { return Ok(()) };
        if revision != self.revision || self.matchers.len() > ACCOUNTS_MAX {
            self.revision = revision;
            self.matchers.clear();
            self.terms.clear();
        }
        let new: HashSet<AccountId> =
            events.iter().map(|event| event.account).filter(|account| !self.matchers.contains_key(account)).collect();
        if !new.is_empty() {
            let new: Vec<AccountId> = new.into_iter().collect();
            let matcher = Arc::new(matching(db, &self.filters, &new).await?);
            self.matchers.extend(new.into_iter().map(|account| (account, matcher.clone())));
        }
        let matched: Vec<(Event, Vec<WebhookId>)> = events.into_iter().map(|event| self.whom(event)).collect();
        let unknown: HashSet<WebhookId> =
            matched.iter().flat_map(|(_, ids)| ids).filter(|id| !self.terms.contains_key(id)).copied().collect();
        if !unknown.is_empty() {
            let terms = store::terms(db, unknown.into_iter().collect()).await?;
            self.terms.extend(terms.into_iter().map(|terms| (terms.id, terms)));
        }
        found.more_events = matched.len() == EVENTS_MAX as usize;
        found.events = matched
            .into_iter()
            .map(|(event, ids)| (event, ids.iter().filter_map(|id| self.terms.get(id).cloned()).collect()))
            .collect();
        self.sequence = last;
        Ok(())
    }

    fn whom(&self, event: Event) -> (Event, Vec<WebhookId>) {
        if let Some(only) = event.only_for {
            return (event, vec![only]);
        }
        let occurrence = Occurrence {
            account: event.account,
            kind: &event.kind,
            object_id: event.object_id.as_deref(),
            body: std::str::from_utf8(&event.body).unwrap_or_default(),
        };
        let targets = self.matchers.get(&event.account).map(|matcher| matcher.targets(occurrence));
        let ids = targets.unwrap_or_default().into_iter().map(|target| target.id).collect();
        (event, ids)
    }

    pub(super) async fn due(&self, db: &Db, now_ms: i64, known: Vec<WebhookId>, found: &mut Found) -> db::Result<()> {
        found.due = store::due(db, now_ms, known, DUE_MAX).await?;
        found.more_due = found.due.len() == DUE_MAX as usize;
        Ok(())
    }
}
