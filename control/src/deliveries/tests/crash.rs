//! Nothing is lost, whatever is killed between whichever two steps.

use std::collections::BTreeMap;

use super::*;

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
