//! The loop itself, from a start to a clean stop.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    super::{Answers, wakes},
    *,
};

/// Nothing here takes so long, however busy the machine is: whoever waits longer waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers at once, except for some.
#[derive(Debug)]
struct Answering {
    answers: mpsc::UnboundedSender<Vec<Answer>>,
    /// Attempts of this type are never answered.
    never: &'static str,
    unanswered: AtomicUsize,
}

impl Outlet for Answering {
    fn attached(&self) -> bool {
        true
    }

    fn room(&self) -> usize {
        100
    }

    fn offer(&self, attempts: Vec<v1::Attempt>) -> Vec<v1::Attempt> {
        let (never, good): (Vec<_>, Vec<_>) = attempts.into_iter().partition(|attempt| attempt.event_type == self.never);
        self.unanswered.fetch_add(never.len(), Ordering::Relaxed);
        let result = |attempt: v1::Attempt| Answer::Result(v1::Result { number: attempt.number, ..answered(200) });
        self.answers.send(good.into_iter().map(result).collect()).unwrap();
        Vec::new()
    }
}

impl Answers for mpsc::UnboundedReceiver<Vec<Answer>> {
    async fn next(&mut self) -> Vec<Answer> {
        match self.recv().await {
            Some(answers) => answers,
            None => std::future::pending().await,
        }
    }

    fn try_next(&mut self) -> Option<Vec<Answer>> {
        self.try_recv().ok()
    }
}

#[tokio::test]
async fn a_stop_leaves_nothing_claimed_and_a_start_goes_on() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.world = World::system();
        stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.webhook(2, &["*"], "object", r#""standard""#).await;
        stand.db.query("UPDATE dispatch SET holder = NULL").execute().await.unwrap();
        let mut total = 0;
        for turn in 0..2 {
            let (sender, answers) = mpsc::unbounded_channel();
            let outlet =
                Arc::new(Answering { answers: sender, never: if turn == 0 { "is.stuck" } else { "" }, unanswered: 0.into() });
            let dispatcher =
                Dispatcher::new(stand.db.clone(), stand.world.clone(), Metrics::new(), outlet.clone(), Arc::default());
            let (stop, stopping) = watch::channel(false);
            let running = tokio::spawn(dispatcher.run(answers, wakes(&stand.db), stopping));
            stand.emit("is.good", (0..100).map(|n| Some(format!("object_{}", n % 7)))).await;
            if turn == 0 {
                stand.emit_some("is.stuck", 4).await;
            }
            total += if turn == 0 { 200 } else { 208 };
            let delivered = async {
                while stand.states().await.get("succeeded") != Some(&total)
                    || turn == 0 && outlet.unanswered.load(Ordering::Relaxed) < 8
                {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, delivered).await.expect("everything is delivered");
            stop.send_replace(true);
            timeout(PATIENCE, running).await.expect("it stops").unwrap();
            assert_eq!(stand.held_by().await, (None, 0));
            assert_eq!(stand.states().await.get("pending"), if turn == 0 { Some(&8) } else { None });
        }
    })
    .await;
}
