//! Deliveries that are made again because somebody asks.

use super::{
    super::{
        model::State,
        redo::{Measure, RedoError, Redone, Selection, count, make_up, missed, replay, retry},
    },
    *,
};
use crate::webhooks::{self, Filters};

fn selection(stand: &Stand, states: &[State]) -> Selection {
    Selection {
        account: stand.account,
        webhook: None,
        event_type: None,
        object_id: None,
        from: 0,
        to: stand.world.now_ms() + 1,
        states: states.to_vec(),
    }
}

async fn replayed(stand: &Stand, selection: &Selection, measure: Measure) -> Redone {
    let foretold = count(&stand.db, selection, measure).await.unwrap();
    let mut tx = stand.db.begin().await.unwrap();
    let done = replay(&mut tx, &stand.world, selection, measure).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(foretold, done, "the dry run tells how many");
    done
}

#[tokio::test]
async fn a_replay_begins_as_many_anew_as_it_may_and_so_many_a_second() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.webhook(2, &["b.done"], "none", r#""standard""#).await;
        stand.emit("a.done", (0..30).map(|n| Some(format!("object_{}", n % 3)))).await;
        stand.emit_some("b.done", 5).await;
        for _ in 0..10 {
            stand.round().await;
            stand.answer_all(200);
        }
        stand.round().await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 40)]));
        let all = Measure { most: 100, per_second: 1_000 };
        assert_eq!(replayed(&stand, &selection(&stand, &[State::Failed]), all).await, Redone { count: 0, more: false });
        let narrow = Selection { object_id: Some("object_1".into()), ..selection(&stand, &[State::Succeeded]) };
        assert_eq!(count(&stand.db, &narrow, all).await.unwrap().count, 10);
        let narrow = Selection { webhook: Some(webhook(2)), ..selection(&stand, &[State::Succeeded]) };
        assert_eq!(count(&stand.db, &narrow, all).await.unwrap().count, 5);
        let narrow = Selection { to: NOW, ..selection(&stand, &[State::Succeeded]) };
        assert_eq!(count(&stand.db, &narrow, all).await.unwrap().count, 0);

        let some = Measure { most: 20, per_second: 5 };
        let narrow = Selection { event_type: Some("a.done".into()), ..selection(&stand, &[State::Succeeded]) };
        assert_eq!(replayed(&stand, &narrow, some).await, Redone { count: 20, more: true });
        let mut began = Vec::new();
        for _ in 0..120 {
            stand.world.advance(50);
            stand.dispatcher.look_now();
            stand.round().await;
            for attempt in stand.answer_all(200) {
                assert_eq!(attempt.attempt, 2, "the log goes on");
                began.push(stand.world.now_ms());
            }
        }
        assert_eq!(began.len(), 20);
        assert!(began[19] - began[0] >= 3_700, "{began:?}");
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 40)]));
        assert_eq!(stand.attempts().await, 60);
    })
    .await;
}

#[tokio::test]
async fn a_replay_in_order_is_as_slow_as_was_asked_for_and_stays_in_order() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["*"], "object", r#""standard""#).await;
        let events = stand.emit("a.done", (0..20).map(|n| Some(format!("object_{}", n % 4)))).await;
        for _ in 0..20 {
            stand.round().await;
            stand.answer_all(200);
        }
        stand.round().await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 20)]));
        let measure = Measure { most: 100, per_second: 2 };
        let asked_at = stand.world.now_ms();
        assert_eq!(replayed(&stand, &selection(&stand, &[State::Succeeded]), measure).await.count, 20);
        let (mut began, mut order) = (Vec::new(), BTreeMap::<usize, Vec<usize>>::new());
        stand.dispatcher.look_now();
        for _ in 0..300 {
            stand.round().await;
            for attempt in stand.answer_all(200) {
                let n = events.iter().position(|id| id.to_string() == attempt.message_id).unwrap();
                order.entry(n % 4).or_default().push(n);
                began.push(stand.world.now_ms() - asked_at);
            }
            stand.world.advance(50);
        }
        assert_eq!(began.len(), 20);
        for (nth, at) in began.iter().enumerate() {
            // The nth is not due before; and those due are looked for once a second.
            let due_at = i64::try_from(nth).unwrap() * 500;
            assert!((due_at..=due_at + 1_200).contains(at), "{nth} at {at}: {began:?}");
        }
        assert!(order.values().all(|of_object| of_object.is_sorted()), "{order:?}");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_recovers_what_failed_and_what_it_missed() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["a.done"], "object", r#"{"delays":[]}"#).await;
        stand.emit_some("a.done", 1).await;
        stand.round().await;
        stand.answer_all(200);
        stand.world.advance(1_000);
        let since = stand.world.now_ms();
        let object = || Some("object_1".to_owned());
        let failing = stand.emit("a.done", [object(), object(), None]).await;
        for _ in 0..4 {
            stand.round().await;
            stand.answer_all(500);
        }
        stand.set_active(one, false).await;
        let off = stand.emit("a.done", [object(), object()]).await;
        stand.emit_some("nobody.cares", 1).await;
        stand.world.advance(200);
        stand.round().await;
        stand.set_active(one, true).await;
        assert_eq!(stand.states().await["failed"], 3);

        let webhook = webhooks::find(&stand.db, None, one).await.unwrap().unwrap();
        let never = missed(&stand.db, &Filters::default(), &webhook, since, 100).await.unwrap();
        assert_eq!(never.len(), 2);
        let narrow = Selection { webhook: Some(one), from: since, ..selection(&stand, &[State::Failed, State::Cancelled]) };
        let measure = Measure { most: 100, per_second: 1_000 };
        assert_eq!(replayed(&stand, &narrow, measure).await.count, 3);
        let mut tx = stand.db.begin().await.unwrap();
        assert_eq!(make_up(&mut tx, &stand.world, &webhook, never, measure).await.unwrap(), 2);
        tx.commit().await.unwrap();
        let mut order = Vec::new();
        for _ in 0..20 {
            stand.world.advance(1_100);
            stand.round().await;
            order.extend(stand.answer_all(200).into_iter().map(|attempt| attempt.message_id));
        }
        stand.round().await;
        assert_eq!(order.iter().cloned().collect::<BTreeSet<_>>(), &ids(&failing) | &ids(&off));
        let of_object: Vec<&String> = order.iter().filter(|id| **id != failing[2].to_string()).collect();
        assert!(of_object.is_sorted(), "those of one object in order: {of_object:?}");
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 6)]));
    })
    .await;
}

#[tokio::test]
async fn a_retry_begins_the_schedule_anew_and_hastens_what_waits() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["*"], "none", r#"{"delays":[60]}"#).await;
        stand.emit_some("a.done", 1).await;
        stand.round().await;
        stand.answer_all(500);
        stand.round().await;
        let (id,): (String,) = stand.db.query("SELECT id FROM deliveries").one().await.unwrap();
        for attempts in [2, 3, 4] {
            let mut tx = stand.db.begin().await.unwrap();
            retry(&mut tx, &stand.world, Some(stand.account), id.parse().unwrap()).await.unwrap();
            tx.commit().await.unwrap();
            stand.dispatcher.look_now();
            stand.round().await;
            let again = stand.answer_all(500);
            assert_eq!(again.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [attempts]);
            stand.round().await;
            // Two attempts are a schedule: the second and the fourth are the last of theirs.
            let state = if attempts % 2 == 0 { "failed" } else { "pending" };
            assert_eq!(stand.states().await, BTreeMap::from([(state.to_owned(), 1)]));
        }
        let mut tx = stand.db.begin().await.unwrap();
        let other = AccountId::new(9, 1);
        assert!(matches!(retry(&mut tx, &stand.world, Some(other), id.parse().unwrap()).await, Err(RedoError::NotFound)));
        drop(tx);
        stand.set_active(one, false).await;
        let mut tx = stand.db.begin().await.unwrap();
        assert!(matches!(retry(&mut tx, &stand.world, None, id.parse().unwrap()).await, Err(RedoError::NotActive)));
    })
    .await;
}

#[tokio::test]
async fn a_trial_is_for_one_webhook_alone_and_goes_before_all_else() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["a.done"], "none", r#""standard""#).await;
        stand.webhook(2, &["*"], "none", r#""standard""#).await;
        stand.emit_some("a.done", 30).await;
        for _ in 0..6 {
            stand.world.advance(100);
            stand.round().await;
            for attempt in stand.offered() {
                let status = if attempt.webhook_id == one.to_vec() { 500 } else { 200 };
                stand.answer(&attempt, answered(status));
            }
        }
        stand.round().await;
        assert!(stand.offered().is_empty(), "its breaker is open");
        let trial = stand.try_out(one).await;
        stand.round().await;
        let offered = stand.answer_all(200);
        assert_eq!(offered.len(), 1);
        assert_eq!((&offered[0].webhook_id, &offered[0].message_id), (&one.to_vec(), &trial.to_string()));
    })
    .await;
}
