//! Nothing is lost, whatever is killed between whichever two steps.

use std::collections::BTreeMap;

use super::{
    super::{
        model::State,
        redo::{Measure, Selection, make_up, missed, replay, retry},
    },
    *,
};
use crate::webhooks::{self, Filters};

/// One step of a life; a crash may follow any.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read,
    HandOver,
    /// Half of what is in flight is answered.
    AnswerHalf,
    Later,
    Write,
    /// Committed, and its writer never hears of it.
    WriteUnheard,
    /// Begun, and never committed.
    WriteTorn,
}

const LIFE: [Step; 14] = [
    Step::Read,
    Step::HandOver,
    Step::AnswerHalf,
    Step::WriteTorn,
    Step::Write,
    Step::Later,
    Step::Write,
    Step::AnswerHalf,
    Step::WriteUnheard,
    Step::Read,
    Step::Later,
    Step::Write,
    Step::HandOver,
    Step::AnswerHalf,
];

/// What receivers have got, by event: how often.
type Received = BTreeMap<String, usize>;

async fn take(stand: &mut Stand, step: Step, flying: &mut Vec<v1::Attempt>, received: &mut Received) {
    match step {
        Step::Read => stand.read().await,
        Step::HandOver => stand.dispatcher.hand_over(),
        Step::AnswerHalf => {}
        Step::Later => stand.world.advance(150),
        Step::Write => {
            stand.write().await;
        }
        Step::WriteUnheard => {
            if let Some(writing) = stand.dispatcher.start_writing(false) {
                writing.await.1.unwrap();
            }
            // Without what it wrote it can only die.
            stand.crash().await;
            flying.clear();
        }
        Step::WriteTorn => {
            if let Some(writing) = stand.dispatcher.start_writing(false) {
                drop(writing);
            }
            stand.crash().await;
            flying.clear();
        }
    }
    let offered = stand.offered();
    for attempt in &offered {
        *received.entry(attempt.message_id.clone()).or_default() += 1;
    }
    flying.extend(offered);
    if matches!(step, Step::AnswerHalf) {
        let half = flying.len() / 2;
        for attempt in flying.drain(..half) {
            stand.answer(&attempt, answered(200));
        }
    }
}

#[tokio::test]
async fn every_event_is_delivered_whatever_is_killed_between_any_two_steps() {
    for crash_after in 0..=LIFE.len() {
        on_both(async |database: TestDb| {
            let mut stand = Stand::new(database).await;
            stand.webhook(1, &["*"], "none", r#""standard""#).await;
            stand.webhook(2, &["*"], "none", r#""standard""#).await;
            let mut events = stand.emit_some("a.done", 20).await;
            let (mut flying, mut received) = (Vec::new(), Received::new());
            for (n, step) in LIFE.into_iter().enumerate() {
                take(&mut stand, step, &mut flying, &mut received).await;
                if n == crash_after {
                    events.extend(stand.emit_some("b.done", 5).await);
                    stand.crash().await;
                    flying.clear();
                }
            }
            for _ in 0..20 {
                stand.world.advance(300);
                stand.round().await;
                for attempt in flying.drain(..).chain(stand.offered()).collect::<Vec<_>>() {
                    *received.entry(attempt.message_id.clone()).or_default() += 1;
                    stand.answer(&attempt, answered(200));
                }
            }
            assert_eq!(received.keys().cloned().collect::<BTreeSet<_>>(), ids(&events), "after step {crash_after}");
            let count = i64::try_from(events.len() * 2).unwrap();
            assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), count)]), "after step {crash_after}");
            assert!(received.values().all(|times| *times >= 2), "both webhooks: {received:?}");
            assert!(stand.dispatcher.board.is_idle());
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_written_as_done_is_never_attempted_again_and_only_what_was_not_is() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.set(webhook(1), None, 256).await;
        stand.emit_some("a.done", 30).await;
        stand.round().await;
        // The first eight are answered, and their places are taken by others.
        let first = stand.answer_all(200);
        stand.dispatcher.hand_over();
        stand.world.advance(150);
        assert_eq!(stand.write().await, Wrote::Kept);
        let flying = stand.offered();
        assert!((1..30).contains(&flying.len()), "{}", flying.len());
        stand.crash().await;
        let mut again = Vec::new();
        for _ in 0..10 {
            stand.round().await;
            again.extend(stand.answer_all(200));
        }
        assert_eq!(again.len(), 30 - first.len(), "those that were written as done are not among them");
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 30)]));
        assert_eq!(stand.attempts().await, 30);
    })
    .await;
}

#[tokio::test]
async fn a_good_delivery_is_written_once_and_only_when_it_is_done() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["a.done"], "none", r#""standard""#).await;
        stand.emit_some("a.done", 3).await;
        stand.emit_some("nobody.cares", 2).await;
        stand.read().await;
        stand.write().await;
        assert_eq!(stand.states().await, BTreeMap::new());
        stand.answer_all(204);
        stand.write().await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 3)]));
        assert_eq!((stand.attempts().await, stand.due_at(webhook(1)).await), (3, None));
        let reached: i64 = stand.db.query("SELECT fanned_out FROM dispatch").scalar().await.unwrap();
        assert_eq!(reached, 5);
    })
    .await;
}

#[tokio::test]
async fn one_process_dispatches_and_its_successor_shuts_it_out() {
    let database = TestDb::new(crate::db::testing::Engine::Postgres).await;
    let mut stand = Stand::new(database).await;
    stand.webhook(1, &["*"], "none", r#""standard""#).await;
    stand.emit_some("a.done", 4).await;
    let mut other = Stand::process(&stand.db, &stand.world, &stand.outlet);
    assert!(!other.take_hold().await.unwrap(), "it has just been seen");
    stand.round().await;
    stand.world.advance(10_001);
    assert!(other.take_hold().await.unwrap());
    stand.answer_all(200);
    assert_eq!(stand.write().await, Wrote::HoldLost, "it was silent for too long");
    assert_eq!(stand.states().await, BTreeMap::new());
    stand.dispatcher = other;
    stand.round().await;
    assert_eq!(stand.answer_all(200).len(), 4);
    stand.write().await;
    assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 4)]));
}

#[tokio::test]
async fn what_is_recovered_arrives_whatever_is_killed_after_it_was_asked_for() {
    for ordering in ["none", "object"] {
        for crash_after in 0..=LIFE.len() {
            on_both(async |database: TestDb| {
                let mut stand = Stand::new(database).await;
                let one = stand.webhook(1, &["*"], ordering, r#"{"delays":[]}"#).await;
                let mut events = stand.emit("a.done", (0..6).map(|n| Some(format!("object_{}", n % 3)))).await;
                for _ in 0..4 {
                    stand.round().await;
                    stand.answer_all(500);
                }
                stand.round().await;
                assert_eq!(stand.states().await, BTreeMap::from([("failed".to_owned(), 6)]));
                stand.set_active(one, false).await;
                events.extend(stand.emit("b.done", (0..6).map(|n| Some(format!("object_{}", n % 3)))).await);
                stand.world.advance(200);
                stand.round().await;
                stand.set_active(one, true).await;

                let webhook = webhooks::find(&stand.db, None, one).await.unwrap().unwrap();
                let never = missed(&stand.db, &Filters::default(), &webhook, 0, 100).await.unwrap();
                let measure = Measure { most: 100, per_second: 1_000 };
                let failed = Selection {
                    account: stand.account,
                    webhook: Some(one),
                    event_type: None,
                    object_id: None,
                    from: 0,
                    to: stand.world.now_ms() + 1,
                    states: vec![State::Failed],
                };
                let mut tx = stand.db.begin().await.unwrap();
                assert_eq!(replay(&mut tx, &stand.world, &failed, measure).await.unwrap().count, 6);
                assert_eq!(make_up(&mut tx, &stand.world, &webhook, never, measure).await.unwrap(), 6);
                tx.commit().await.unwrap();
                stand.dispatcher.look_now();
                let (mut flying, mut received) = (Vec::new(), Received::new());
                for (n, step) in LIFE.into_iter().enumerate() {
                    if n == crash_after {
                        stand.crash().await;
                        flying.clear();
                    }
                    take(&mut stand, step, &mut flying, &mut received).await;
                }
                for _ in 0..30 {
                    stand.world.advance(1_100);
                    stand.round().await;
                    for attempt in flying.drain(..).chain(stand.offered()).collect::<Vec<_>>() {
                        *received.entry(attempt.message_id.clone()).or_default() += 1;
                        stand.answer(&attempt, answered(200));
                    }
                }
                stand.round().await;
                assert_eq!(received.keys().cloned().collect::<BTreeSet<_>>(), ids(&events), "{ordering}, step {crash_after}");
                assert_eq!(
                    stand.states().await,
                    BTreeMap::from([("succeeded".to_owned(), 12)]),
                    "{ordering}, step {crash_after}"
                );
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_written_again_does_not_end_what_was_begun_anew_meanwhile() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["*"], "none", r#"{"delays":[60]}"#).await;
        let events = stand.emit_some("a.done", 1).await;
        stand.round().await;
        stand.answer_all(500);
        stand.round().await;
        stand.world.advance(70_000);
        stand.round().await;
        stand.answer_all(500);
        // Committed, but nobody hears of it, so that it is tried again; and in between somebody asks for a retry.
        let (batch, outcome) = stand.dispatcher.start_writing(false).unwrap().await;
        outcome.unwrap();
        assert_eq!(stand.states().await, BTreeMap::from([("failed".to_owned(), 1)]));
        let (id,): (String,) = stand.db.query("SELECT id FROM deliveries").one().await.unwrap();
        let mut tx = stand.db.begin().await.unwrap();
        retry(&mut tx, &stand.world, None, id.parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        let unheard = crate::db::Error::Unavailable(sqlx::Error::WorkerCrashed);
        assert_eq!(stand.dispatcher.finish_writing((batch, Err(unheard))), Wrote::Failed);
        assert_eq!(stand.write().await, Wrote::Kept);
        assert_eq!(stand.states().await, BTreeMap::from([("pending".to_owned(), 1)]));
        stand.dispatcher.look_now();
        stand.round().await;
        let again: Vec<String> = stand.answer_all(200).into_iter().map(|attempt| attempt.message_id).collect();
        assert_eq!(again, [events[0].to_string()]);
    })
    .await;
}
