//! Whom an event is for: the webhooks of its account that want it.

use std::{collections::HashMap, sync::Arc};

use clearway_config::{AccountId, WebhookId};

use super::{
    filter::{Event, Filter, Filters},
    model::{Ordering, Webhook},
    retry::RetryPolicy,
    store,
};
use crate::{
    db::{self, On},
    events::Pattern,
};

/// Events of this kind speak of a webhook, by its id, and are never for that one itself: it is what fails.
const OF_WEBHOOKS: &str = "webhook.";

/// A webhook as those who deliver see it. How it is posted to is the proxies' to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub id: WebhookId,
    pub account_id: AccountId,
    /// Neither switched off, nor disabled, nor of a suspended account.
    pub active: bool,
    pub ordering: Ordering,
    /// Attempts at the same time.
    pub concurrency: u32,
    /// Attempts a second; `None` is any number.
    pub rate_limit: Option<u32>,
    pub retry_policy: RetryPolicy,
}

impl From<&Webhook> for Target {
    fn from(webhook: &Webhook) -> Self {
        let settings = &webhook.settings;
        Self {
            id: webhook.id,
            account_id: webhook.account_id,
            active: settings.active && webhook.health.disabled_at.is_none() && !webhook.account_suspended,
            ordering: settings.ordering,
            concurrency: settings.concurrency,
            rate_limit: settings.rate_limit,
            retry_policy: settings.retry_policy.clone(),
        }
    }
}

/// The webhooks of some accounts, as they were when it was made.
#[derive(Debug, Default)]
pub struct Matcher(HashMap<AccountId, Vec<Candidate>>);

#[derive(Debug)]
struct Candidate {
    target: Target,
    events: Vec<Pattern>,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    All,
    These(Arc<Filter>),
    /// Its filter cannot be read.
    None,
}

/// An event, as far as it matters to whom it is for.
#[derive(Debug, Clone, Copy)]
pub struct Occurrence<'e> {
    pub account: AccountId,
    pub kind: &'e str,
    pub object_id: Option<&'e str>,
    /// What would be posted. JSON.
    pub body: &'e str,
}

/// The webhooks of `accounts` that may be told of something now.
pub async fn matching<'c>(on: impl On<'c>, filters: &Filters, accounts: &[AccountId]) -> db::Result<Matcher> {
    let mut matcher = Matcher::default();
    for webhook in store::of_accounts(on, accounts).await? {
        let target = Target::from(&webhook);
        if !target.active {
            continue;
        }
        let wants = match webhook.settings.filter {
            None => Wants::All,
            Some(text) => filters.ready(&text).map_or(Wants::None, Wants::These),
        };
        let candidate = Candidate { target, events: webhook.settings.events, wants };
        matcher.0.entry(webhook.account_id).or_default().push(candidate);
    }
    Ok(matcher)
}

/// Some webhooks by their ids, those too that are not active; who is gone is left out.
pub async fn targets<'c>(on: impl On<'c>, ids: &[WebhookId]) -> db::Result<Vec<Target>> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    Ok(store::some(on, &ids).await?.iter().map(Target::from).collect())
}

impl Matcher {
    /// Whom an event is for, oldest first. Its body is read where a filter asks for it, once.
    pub fn targets(&self, occurrence: Occurrence<'_>) -> Vec<&Target> {
        let Some(candidates) = self.0.get(&occurrence.account) else { return Vec::new() };
        let about = occurrence.object_id.filter(|_| occurrence.kind.starts_with(OF_WEBHOOKS));
        let mut event = None;
        let mut for_whom = Vec::new();
        for Candidate { target, events, wants } in candidates {
            if !events.iter().any(|pattern| pattern.matches(occurrence.kind)) {
                continue;
            }
            if about.is_some_and(|about| target.id.to_string() == about) {
                continue;
            }
            let wanted = match wants {
                Wants::All => true,
                Wants::None => false,
                Wants::These(filter) => {
                    let event = event.get_or_insert_with(|| Event::read(occurrence.body));
                    event.as_ref().is_some_and(|event| filter.accepts(event))
                }
            };
            if wanted {
                for_whom.push(target);
            }
        }
        for_whom
    }
}
