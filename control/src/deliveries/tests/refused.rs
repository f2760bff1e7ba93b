//! What the database never takes keeps nothing else from being written. It is made to refuse certain rows, as an operator's
//! trigger or a damaged index would.

use super::*;

/// State, failure and attempts of the deliveries whose event has this object.
async fn of_object(stand: &Stand, object: &str) -> Vec<(String, Option<String>, i64)> {
    stand
        .db
        .query(
            "SELECT d.state, d.last_failure, d.attempts
             FROM deliveries d
             JOIN events e ON e.sequence = d.sequence
             WHERE e.object_id = $1
             ORDER BY d.sequence",
        )
        .bind(object.to_owned())
        .all()
        .await
        .unwrap()
}

/// 60 events for two webhooks, three of them about `poison`.
async fn poisoned(database: TestDb, ordering: &str) -> Stand {
    let mut stand = Stand::new(database).await;
    stand.webhook(1, &["*"], ordering, r#"{"delays":[60]}"#).await;
    stand.webhook(2, &["*"], ordering, r#"{"delays":[60]}"#).await;
    stand.emit("a.done", (0..60).map(|n| Some(if n % 20 == 7 { "poison".to_owned() } else { format!("object_{n}") }))).await;
    stand
}

/// Answers all with 200, but what is about `poison` with `status`.
async fn deliver(stand: &mut Stand, status: u32) {
    let poison: Vec<(String,)> = stand.db.query("SELECT id FROM events WHERE object_id = 'poison'").all().await.unwrap();
    for _ in 0..20 {
        stand.round().await;
        for attempt in stand.offered() {
            let is_poison = poison.iter().any(|(id,)| *id == attempt.message_id);
            stand.answer(&attempt, answered(if is_poison { status } else { 200 }));
        }
        stand.world.advance(150);
    }
    stand.round().await;
}

#[tokio::test]
async fn an_answer_that_is_refused_is_left_out_of_the_log_and_its_delivery_goes_on() {
    on_both(async |database: TestDb| {
        let mut stand = poisoned(database, "none").await;
        stand
            .db
            .query(PerEngine {
                sqlite: "CREATE TRIGGER refused BEFORE INSERT ON attempts WHEN NEW.status = 599 AND NEW.response_body <> ''
                         BEGIN SELECT RAISE(ABORT, 'refused'); END",
                postgres: "ALTER TABLE attempts ADD CONSTRAINT refused CHECK (status <> 599 OR response_body = '')",
            })
            .execute()
            .await
            .unwrap();
        deliver(&mut stand, 599).await;
        assert_eq!(stand.states().await, BTreeMap::from([("pending".to_owned(), 6), ("succeeded".to_owned(), 114)]));
        assert_eq!(of_object(&stand, "poison").await, vec![("pending".to_owned(), None, 1); 6]);
        let reasons: Vec<(String,)> =
            stand.db.query("SELECT reason FROM attempts WHERE status = 599 AND next_attempt_at IS NOT NULL").all().await.unwrap();
        assert_eq!(reasons, vec![("what was sent and answered could not be stored".to_owned(),); 6]);
        assert_eq!(stand.attempts().await, 120);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_whose_progress_is_refused_ends_and_says_so_and_the_next_of_its_object_has_its_turn() {
    on_both(async |database: TestDb| {
        let mut stand = poisoned(database, "object").await;
        stand
            .db
            .query(PerEngine {
                sqlite: "CREATE TRIGGER refused BEFORE UPDATE ON deliveries WHEN NEW.last_status = 599
                         BEGIN SELECT RAISE(ABORT, 'refused'); END",
                postgres: "ALTER TABLE deliveries ADD CONSTRAINT refused CHECK (last_status <> 599)",
            })
            .execute()
            .await
            .unwrap();
        deliver(&mut stand, 599).await;
        let states = stand.states().await;
        assert_eq!((states.get("waiting"), states.get("succeeded")), (None, Some(&114)), "{states:?}");
        let ends = of_object(&stand, "poison").await;
        assert_eq!(ends, vec![("failed".to_owned(), Some("unwritable".to_owned()), 1); 6]);
        assert!(stand.dispatcher.board.is_idle());
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_is_refused_altogether_is_gone_without_and_holds_nothing_up() {
    on_both(async |database: TestDb| {
        let mut stand = poisoned(database, "none").await;
        stand
            .db
            .query(PerEngine {
                sqlite: "CREATE TRIGGER refused BEFORE INSERT ON deliveries WHEN NEW.sequence = 8
                         BEGIN SELECT RAISE(ABORT, 'refused'); END",
                postgres: "ALTER TABLE deliveries ADD CONSTRAINT refused CHECK (sequence <> 8)",
            })
            .execute()
            .await
            .unwrap();
        deliver(&mut stand, 200).await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 118)]));
        let reached: i64 = stand.db.query("SELECT fanned_out FROM dispatch").scalar().await.unwrap();
        assert_eq!(reached, 60);
        // Whoever comes next has nothing left to do.
        stand.crash().await;
        stand.round().await;
        assert!(stand.offered().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_fault_that_is_not_of_the_rows_loses_none_of_them() {
    on_both(async |database: TestDb| {
        let mut stand = poisoned(database, "none").await;
        stand.read().await;
        stand.answer_all(200);
        stand.world.advance(150);
        stand.take_attempts_away().await;
        assert_eq!(stand.write().await, Wrote::Failed);
        assert_eq!(stand.write().await, Wrote::Failed);
        stand.bring_attempts_back().await;
        deliver(&mut stand, 200).await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 120)]));
        assert_eq!(stand.attempts().await, 120);
    })
    .await;
}
