//! The way out, as the dispatcher sees it.

use std::{fmt, future::Future};

use clearway_config::egress::v1;

use crate::egress::{Egress, Finished, Outcome, Outcomes};

/// Takes attempts to proxies, which post them. Each that is taken is answered once, under its number, in any order.
pub trait Outlet: fmt::Debug + Send + Sync + 'static {
    /// Whether there is any proxy to hand attempts to.
    fn attached(&self) -> bool;

    /// How many attempts would be taken now.
    fn room(&self) -> usize;

    /// Hands attempts over, and gives back those that found no room after all.
    fn offer(&self, attempts: Vec<v1::Attempt>) -> Vec<v1::Attempt>;
}

/// What became of attempts that were taken.
pub trait Answers: Send + 'static {
    /// The next ones; at least one. It may be dropped at any time.
    fn next(&mut self) -> impl Future<Output = Vec<Answer>> + Send;

    /// The next ones, if there are any now.
    fn try_next(&mut self) -> Option<Vec<Answer>>;
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Answer {
    Result(v1::Result),
    /// The attempt with this number may have been posted or not: its proxy has gone.
    Lost(u64),
}

impl Outlet for Egress {
    fn attached(&self) -> bool {
        self.proxies().iter().any(|proxy| !proxy.draining)
    }

    fn room(&self) -> usize {
        self.room()
    }

    fn offer(&self, attempts: Vec<v1::Attempt>) -> Vec<v1::Attempt> {
        self.offer(attempts)
    }
}

impl Answers for Outcomes {
    async fn next(&mut self) -> Vec<Answer> {
        self.next().await.into_iter().map(Answer::from).collect()
    }

    fn try_next(&mut self) -> Option<Vec<Answer>> {
        Some(self.try_next()?.into_iter().map(Answer::from).collect())
    }
}

impl From<Finished> for Answer {
    fn from(finished: Finished) -> Self {
        match finished.outcome {
            Outcome::Answered(result) => Answer::Result(v1::Result { number: finished.number, ..result }),
            Outcome::Lost => Answer::Lost(finished.number),
        }
    }
}
