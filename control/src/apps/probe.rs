//! The checks of what was submitted, and the one that takes a request: the app's webhook URL must refuse what is not signed
//! by a secret that it knows.
//!
//! It is posted to like every webhook: by a proxy, which vets the address at every attempt, and into the log of deliveries,
//! where the developer sees what was sent. The webhook is made for that, in the developer's account, with a secret that
//! nobody is told, and removed afterwards; so an app that verifies must answer 401.

use std::time::Duration;

use clearway_config::{AppId, WebhookId};
use tokio::sync::watch;

use super::{
    act::advance,
    check::{finding, reason},
    error::AppError,
    model::{Finding, Whole},
    state::{Act, State},
    store,
};
use crate::{
    audit::Actor,
    db::{self, Signal, Tx},
    deliveries::{self, Sample},
    events::Pattern,
    http::{Api, chain},
    webhooks::{self, Means, SettingsUpdate, Webhook, WebhookError},
};

/// Raised by every submission.
pub(super) const SUBMITTED: Signal = Signal("submissions");
/// Of [`db::Db::alone`].
const CHECKING: i64 = 4_991_386_027_318_862_451;
/// What other processes' submissions wait for at most.
const PAUSE: Duration = Duration::from_secs(15);
/// Apps that one sweep takes.
const BATCH: u32 = 8;
/// Milliseconds until the checks are run again, where no proxy could post.
const AGAIN_MS: i64 = 60_000;
/// How long that goes on.
const PATIENCE_MS: i64 = 24 * 60 * 60 * 1_000;
/// What the probe is posted: any type will do.
const EVENT: &str = "app.updated";

/// Checks what is submitted until `stop` says true, in one process at a time.
pub async fn check_until(api: Api, mut stop: watch::Receiver<bool>) {
    let mut submitted = api.db.listen(SUBMITTED);
    loop {
        submitted.mark_unchanged();
        // One that is cut off is begun anew by whoever checks next.
        let checked = tokio::select! {
            checked = alone(&api) => checked,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match checked {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::warn!(error.cause = chain(&error), "submissions were not checked"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            Ok(()) = submitted.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn alone(api: &Api) -> db::Result<u64> {
    match api.db.alone(CHECKING).await? {
        Some(_alone) => sweep(api).await,
        None => Ok(0),
    }
}

/// Checks the submissions that are due; how many there were.
pub async fn sweep(api: &Api) -> db::Result<u64> {
    let due = store::due(&api.db, api.world.now_ms(), BATCH).await?;
    for id in &due {
        if let Err(error) = check(api, *id).await {
            tracing::warn!(app.id = %id, error.cause = chain(&error), "a submission was not checked");
            return Ok(0);
        }
    }
    Ok(due.len() as u64)
}

/// Checks one submission to its end, or puts it off.
pub(super) async fn check(api: &Api, id: AppId) -> Result<(), AppError> {
    let Some(webhook) = begin(api, id).await? else { return Ok(()) };
    let answered = match &webhook {
        Ok(webhook) => {
            let sample = Sample { event_type: EVENT.to_owned(), data: None };
            let tried = deliveries::try_out(api, webhook, sample).await?;
            verdict(tried.attempted(), tried.status())
        }
        Err(fault) => Some(finding("webhook", Some(fault.clone()))),
    };
    finish(api, id, webhook.ok().map(|webhook| webhook.id), answered).await
}

/// What the answer to the probe means; `None` where there was no attempt.
fn verdict(attempted: bool, status: Option<i64>) -> Option<Finding> {
    let fault = match status {
        _ if !attempted => return None,
        Some(401) => None,
        Some(status) => {
            Some(format!("the URL answers {status} to a request whose signature is not by a secret of the app; it must be 401"))
        }
        None => Some("the URL cannot be posted to: see the log of deliveries".to_owned()),
    };
    Some(finding("webhook", fault))
}

type Probe = Result<Webhook, String>;

/// Makes the webhook to post by, or the reason why there cannot be one; `None` where nothing has to be posted, or no more.
async fn begin(api: &Api, id: AppId) -> Result<Option<Probe>, AppError> {
    let mut tx = api.db.begin().await?;
    let Some(mut whole) = pending(&mut tx, id).await? else { return Ok(None) };
    remove_probe(&mut tx, api, &mut whole).await?;
    let Some(proposal) = whole.proposal.as_mut() else { return Ok(None) };
    let faulty = proposal.findings.iter().any(|finding| !finding.passed);
    let Some(url) = proposal.content.webhook_url.clone().filter(|_| !faulty) else {
        settle(&mut tx, api, whole).await?;
        tx.commit().await?;
        return Ok(None);
    };
    let event = EVENT.parse::<Pattern>().map_err(|_| AppError::NotFound)?;
    let settings = SettingsUpdate {
        url: Some(url),
        description: Some(format!("Checks that {} verifies signatures; removed afterwards", whole.app.slug)),
        events: Some(vec![event]),
        // What happens meanwhile is none of its business.
        filter: Some(Some("false".to_owned())),
        ..SettingsUpdate::default()
    };
    let means = Means { world: &api.world, secrets: &api.secrets, egress: &api.egress_settings };
    let made = match webhooks::create(&mut tx, means, &Actor::System, whole.app.account_id, settings, None).await {
        Ok(made) => made.webhook,
        Err(WebhookError::Store(error)) => return Err(error.into()),
        Err(fault) => return Ok(Some(Err(fault.to_string()))),
    };
    proposal.probe = Some(made.id);
    store::save_version(&mut tx, proposal).await?;
    tx.commit().await?;
    Ok(Some(Ok(made)))
}

async fn finish(api: &Api, id: AppId, probe: Option<WebhookId>, found: Option<Finding>) -> Result<(), AppError> {
    let mut tx = api.db.begin().await?;
    let Some(mut whole) = pending(&mut tx, id).await? else {
        // Withdrawn meanwhile.
        if let Some(probe) = probe {
            take_away(&mut tx, api, probe).await?;
        }
        return Ok(tx.commit().await?);
    };
    remove_probe(&mut tx, api, &mut whole).await?;
    let now_ms = api.world.now_ms();
    let Some(proposal) = whole.proposal.as_mut() else { return Ok(()) };
    let waited_ms = now_ms - proposal.submitted_at.unwrap_or(now_ms);
    match found {
        Some(found) => proposal.findings.push(found),
        None if waited_ms > PATIENCE_MS => {
            let fault = "no proxy could post to the URL for a day".to_owned();
            proposal.findings.push(finding("webhook", Some(fault)));
        }
        None => {
            proposal.check_due = Some(now_ms + AGAIN_MS);
            store::save_version(&mut tx, proposal).await?;
            return Ok(tx.commit().await?);
        }
    }
    settle(&mut tx, api, whole).await?;
    Ok(tx.commit().await?)
}

/// To a person, or back to the developer.
async fn settle(tx: &mut Tx, api: &Api, whole: Whole) -> Result<(), AppError> {
    let reasons = whole.proposal.as_ref().map(|proposal| reason(&proposal.findings)).filter(|reasons| !reasons.is_empty());
    let act = if reasons.is_some() { Act::Fail } else { Act::Pass };
    advance(tx, &api.world, &Actor::System, whole, act, reasons).await.map(|_| ())
}

async fn pending(tx: &mut Tx, id: AppId) -> Result<Option<Whole>, AppError> {
    let whole = store::lock(tx, None, id).await?;
    Ok(whole.filter(|whole| whole.proposal.as_ref().is_some_and(|proposal| proposal.state == State::Pending)))
}

/// Also one of a process that ended meanwhile.
async fn remove_probe(tx: &mut Tx, api: &Api, whole: &mut Whole) -> Result<(), AppError> {
    match whole.proposal.as_mut().and_then(|proposal| proposal.probe.take()) {
        Some(probe) => take_away(tx, api, probe).await,
        None => Ok(()),
    }
}

async fn take_away(tx: &mut Tx, api: &Api, probe: WebhookId) -> Result<(), AppError> {
    match webhooks::remove(tx, &api.world, &Actor::System, None, probe, None).await {
        Ok(_) | Err(WebhookError::NotFound) => Ok(()),
        Err(WebhookError::Store(error)) => Err(error.into()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_401_says_that_signatures_are_verified() {
        let passed = |attempted, status| verdict(attempted, status).map(|finding| finding.passed);
        assert_eq!(passed(true, Some(401)), Some(true));
        for other in [Some(200), Some(204), Some(301), Some(400), Some(403), Some(500), None] {
            assert_eq!(passed(true, other), Some(false), "{other:?}");
        }
        assert_eq!(passed(false, None), None, "nobody has posted: that says nothing of the app");
    }
}
