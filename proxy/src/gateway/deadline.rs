//! One timer a connection, for everything it waits for in turn.
//!
//! What is due moves later all the time, by every request and every read. Moving it costs nothing here:
//! the runtime's timer stays where it is, and when it goes off too early it is set again. Only a due
//! moment before that touches the runtime's timers, and that is rare.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

pub(super) struct Deadline {
    timer: Pin<Box<Sleep>>,
    due: Instant,
}

impl Deadline {
    pub(super) fn at(due: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(due.into())), due }
    }

    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(due.into());
        }
    }

    /// Ready when it is due; until then the task is woken for it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline().into_std() >= self.due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due.into());
        }
    }
}

impl std::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deadline").field("due", &self.due).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_it_is_due_however_often_that_was_moved() {
        let began = tokio::time::Instant::now();
        let second = |n| began.into_std() + Duration::from_secs(n);
        let mut deadline = Deadline::at(second(60));
        for due in [70, 5, 90, 7] {
            deadline.set(second(due));
        }
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 7);
        deadline.set(second(30));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
