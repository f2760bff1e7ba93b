//! Handing mails over to the mail server. At least once: one that was handed over and could not be taken out of the
//! outbox is handed over again, with the same id.

use std::time::Duration;

use tokio::sync::watch;

use super::{
    Outbox, SENT,
    server::{Outcome, Server},
    store::{self, Due},
};
use crate::{
    db::{self, Db},
    http::chain,
    metrics::Metrics,
    world::World,
};

/// Mails that are taken at a time. They are handed over one after the other: a mail server wants no crowd.
const BATCH_MAX: i64 = 10;
/// For how long they are: longer than as many time-outs.
const CLAIM_MS: i64 = 10 * 60 * 1000;
/// Between two looks where nothing was sent here.
const PAUSE: Duration = Duration::from_secs(30);
/// Tries of one mail: about three days.
const ATTEMPTS_MAX: i64 = 20;
/// After the first try that failed; it doubles, up to [`BACKOFF_MAX_MS`].
const BACKOFF_MS: i64 = 30 * 1000;
const BACKOFF_MAX_MS: i64 = 6 * 60 * 60 * 1000;

/// Delivers until `stop` says true; does nothing where no mail server is set.
pub async fn deliver_until(outbox: Outbox, db: Db, world: World, metrics: Metrics, mut stop: watch::Receiver<bool>) {
    let mut sent = db.listen(SENT);
    loop {
        sent.mark_unchanged();
        let went = tokio::select! {
            delivered = deliver_once(&outbox, &db, &world, &metrics) => delivered,
            // A mail on its way is claimed, and goes again when the claim has ended.
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match went {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::warn!(error.cause = chain(&error), "mails cannot be read or written"),
        }
        tokio::select! {
            _ = sent.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Hands over what is due now, a few mails at most; how many it tried.
pub async fn deliver_once(outbox: &Outbox, db: &Db, world: &World, metrics: &Metrics) -> db::Result<usize> {
    let Some(server) = &outbox.server else { return Ok(0) };
    let now_ms = world.now_ms();
    let due = store::claim(db, now_ms, now_ms + CLAIM_MS, BATCH_MAX).await?;
    for mail in &due {
        deliver(server, db, world, metrics, mail).await?;
    }
    Ok(due.len())
}

async fn deliver(server: &Server, db: &Db, world: &World, metrics: &Metrics, mail: &Due) -> db::Result<()> {
    let outcome = match server.hand_over(mail).await {
        Outcome::Later(why) if mail.attempts >= ATTEMPTS_MAX => Outcome::Never(why),
        other => other,
    };
    match outcome {
        Outcome::Taken => {
            metrics.mailed("sent");
            store::remove(db, &mail.id).await
        }
        Outcome::Later(why) => {
            metrics.mailed("failed");
            tracing::warn!(mail.id = mail.id, mail.attempts = mail.attempts, error.cause = why, "a mail could not be sent yet");
            store::put_off(db, &mail.id, world.now_ms() + backoff_ms(mail.attempts)).await
        }
        Outcome::Never(why) => {
            metrics.mailed("given_up");
            tracing::error!(mail.id = mail.id, mail.subject = mail.subject, error.cause = why, "a mail was given up");
            store::remove(db, &mail.id).await
        }
    }
}

/// After the try of that number.
fn backoff_ms(attempts: i64) -> i64 {
    let doubled = u32::try_from(attempts - 1).unwrap_or(0).min(20);
    (BACKOFF_MS << doubled).min(BACKOFF_MAX_MS)
}
