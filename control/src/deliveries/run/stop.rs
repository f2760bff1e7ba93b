//! A clean stop: nothing new begins, what is in flight may still end, and everything else goes back into the database.

use std::time::Duration;

use tokio::{task::JoinHandle, time::Instant};

use super::{Dispatcher, Reading, Writing, Wrote};
use crate::{
    db,
    deliveries::{outlet::Answers, store},
    http::chain,
};

/// How long what is in flight may take to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many writes may fail before the rest is left to whoever comes next.
const TRIES: usize = 3;

impl Dispatcher {
    pub(super) async fn leave(
        &mut self,
        answers: &mut impl Answers,
        reading: Option<JoinHandle<Reading>>,
        writing: Option<JoinHandle<Writing>>,
    ) {
        if let Some(reading) = reading {
            // What it found was not taken up, so that whoever comes next finds it.
            reading.abort();
        }
        let until = Instant::now() + PATIENCE;
        while self.board.in_flight() > 0 && self.outlet.attached() {
            let Ok(answered) = tokio::time::timeout_at(until, answers.next()).await else { break };
            self.settle(answered);
        }
        if let Some(done) = match writing {
            Some(writing) => writing.await.ok(),
            None => None,
        } && self.finish_writing(done) == Wrote::HoldLost
        {
            return self.board.clear();
        }
        self.board.give_up();
        let mut failures = 0;
        while failures < TRIES {
            self.board.put_all_back();
            let Some(writing) = self.start_writing(true) else { break };
            match self.finish_writing(writing.await) {
                Wrote::Kept | Wrote::Refused => {}
                Wrote::Failed => failures += 1,
                Wrote::HoldLost => return self.board.clear(),
            }
        }
        if let Err(error) = self.give_hold_back().await {
            tracing::warn!(error.cause = chain(&error), "dispatch could not be left");
        }
        self.board.clear();
    }

    async fn give_hold_back(&self) -> db::Result<()> {
        let mut tx = self.db.begin().await?;
        store::leave_hold(&mut tx, &self.me).await?;
        tx.commit().await
    }
}
