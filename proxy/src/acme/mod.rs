//! A certificate that the gateway gets and renews by itself (RFC 8555), with `instant-acme` for the
//! protocol.
//!
//! One account and one certificate for all names of the settings, both in the data directory and
//! readable by their owner only. Everything runs beside the requests: until the first certificate is
//! there, and while the authority is away, the gateway serves what it has. There is one order at a
//! time, because one task makes them one after the other.

pub(crate) mod challenges;
mod order;
mod store;

use std::{error::Error, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use clearway_config::settings::process::AcmeSettings;
use rand::RngExt as _;

use self::{challenges::Challenges, store::Store};
use crate::{
    gateway::now_s,
    metrics::Metrics,
    tls::certificates::{Certificates, Origin},
};

/// The longest that one attempt may take, with all the authority's own checks.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// After a failure the next attempt waits so long, then twice as long, and so on.
const RETRY_FIRST_S: u64 = 60;
/// Up to so long. Public authorities allow five failures an hour for a name.
const RETRY_MAX_S: u64 = 6 * 3600;
/// However far away the next renewal is, the certificate is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The task that sees to the certificate.
#[derive(Debug)]
pub(crate) struct Renewal {
    settings: AcmeSettings,
    store: Store,
    certificates: Arc<Certificates>,
    challenges: Arc<Challenges>,
    metrics: Arc<Metrics>,
}

impl Renewal {
    /// Keeps its files in `dir`, and begins with the certificate that is there.
    pub(crate) fn new(
        settings: AcmeSettings,
        dir: &Path,
        certificates: Arc<Certificates>,
        challenges: Arc<Challenges>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let renewal = Self { settings, store: Store::new(dir), certificates, challenges, metrics };
        renewal.serve();
        renewal
    }

    /// Never ends. Dropped in the middle of an order it leaves the authority with an order that runs out.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        loop {
            let wait = match self.due_in() {
                Some(wait) if !wait.is_zero() => wait.min(LOOK_AGAIN),
                _ => {
                    let obtained =
                        tokio::time::timeout(ORDER_TIMEOUT, order::obtain(&self.settings, &self.store, &self.challenges));
                    let result = obtained.await.unwrap_or_else(|_| Err("the authority took too long".into()));
                    self.challenges.clear();
                    self.metrics.encryption.ordered(result.is_ok());
                    match result {
                        Ok(()) => {
                            failures = 0;
                            self.serve();
                            tracing::info!(domains = self.settings.domains.join(","), "certificate obtained");
                            continue;
                        }
                        Err(e) => {
                            let wait = retry_after(failures, rand::rng().random());
                            failures += 1;
                            tracing::error!(
                                error = line(&*e),
                                retry.seconds = wait.as_secs(),
                                "certificate could not be obtained"
                            );
                            wait
                        }
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Shows clients the stored certificate, if it is for these names.
    fn serve(&self) {
        if let Some(certificate) = self.store.certificate(&self.settings.domains) {
            self.certificates.replace(Origin::Acme, vec![certificate]);
        }
    }

    /// `None`: at once.
    fn due_in(&self) -> Option<Duration> {
        let certificate = self.store.certificate(&self.settings.domains)?;
        let spread = self.store.jitter();
        let due_s = renewal_at(certificate.not_before_s(), certificate.not_after_s(), spread);
        Some(Duration::from_secs(u64::try_from(due_s - now_s()).unwrap_or(0)))
    }
}

/// When two thirds of the life are over, and up to a thirtieth of it sooner, so that many gateways that
/// began together do not come back together.
fn renewal_at(not_before_s: i64, not_after_s: i64, spread: u8) -> i64 {
    let life = (not_after_s - not_before_s).max(0);
    not_before_s + life / 3 * 2 - life / 30 * i64::from(spread) / 255
}

/// Doubles with each failure, and varies by a quarter.
fn retry_after(failures: u32, random: u8) -> Duration {
    let base = RETRY_FIRST_S.saturating_mul(1 << failures.min(16)).min(RETRY_MAX_S);
    Duration::from_secs(base - base / 4 * u64::from(random) / 255)
}

/// An error and its causes in one line.
fn line(error: &(dyn Error + Send + Sync)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(line, ": {cause}").expect("a String takes everything");
        source = cause.source();
    }
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over_or_a_little_sooner() {
        const DAY: i64 = 86_400;
        assert_eq!(renewal_at(0, 90 * DAY, 0), 60 * DAY);
        assert_eq!(renewal_at(0, 90 * DAY, 255), 57 * DAY);
        assert_eq!(renewal_at(5, 0, 9), 5, "one that makes no sense is renewed at once");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_waits_that_end_at_six_hours() {
        let seconds = |failures, random| retry_after(failures, random).as_secs();
        assert_eq!([seconds(0, 0), seconds(1, 0), seconds(2, 0), seconds(0, 255)], [60, 120, 240, 45]);
        assert_eq!([seconds(20, 0), seconds(u32::MAX, 255)], [RETRY_MAX_S, RETRY_MAX_S / 4 * 3]);
    }
}
