//! What answers lead to.

use clearway_config::sync::v1::Header;

use super::*;

/// One webhook, one event, and its first attempt in flight.
async fn flying(database: TestDb, retry_policy: &str) -> (Stand, v1::Attempt) {
    let mut stand = Stand::new(database).await;
    stand.webhook(1, &["*"], "none", retry_policy).await;
    stand.emit_some("a.done", 1).await;
    stand.round().await;
    let attempt = stand.offered().remove(0);
    (stand, attempt)
}

#[tokio::test]
async fn a_delivery_is_attempted_by_its_schedule_and_then_has_failed() {
    on_both(async |database: TestDb| {
        let (mut stand, mut attempt) = flying(database, r#""fast""#).await;
        for (nth, delay_ms) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000)] {
            assert_eq!(attempt.attempt, nth);
            stand.answer(&attempt, answered(500));
            stand.round().await;
            let due_at = stand.due_at(webhook(1)).await.unwrap() - stand.world.now_ms();
            assert!((delay_ms..=delay_ms + delay_ms / 10).contains(&due_at), "{due_at} after attempt {nth}");
            stand.world.advance(due_at - 1);
            stand.round().await;
            assert!(stand.offered().is_empty(), "not before its time");
            stand.world.advance(1_001);
            stand.round().await;
            attempt = stand.offered().remove(0);
        }
        stand.answer(&attempt, failed(v1::Failure::Connect));
        stand.round().await;
        assert_eq!(stand.states().await, BTreeMap::from([("failed".to_owned(), 1)]));
        assert_eq!(stand.attempts().await, 5);
        stand.world.advance(200_000);
        stand.round().await;
        assert_eq!((stand.offered().len(), stand.due_at(webhook(1)).await), (0, None));
        let row: (i64, Option<i64>, Option<String>) =
            stand.db.query("SELECT attempts, last_status, last_failure FROM deliveries").one().await.unwrap();
        assert_eq!(row, (5, None, Some("connect".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks() {
    on_both(async |database: TestDb| {
        let (mut stand, attempt) = flying(database, r#""standard""#).await;
        stand.answer(&attempt, v1::Result { retry_after_ms: Some(90_000), ..answered(429) });
        stand.emit_some("b.done", 1).await;
        stand.round().await;
        assert!(stand.offered().is_empty(), "not the others either");
        stand.world.advance(89_999);
        stand.round().await;
        assert!(stand.offered().is_empty());
        stand.world.advance(1_001);
        stand.round().await;
        assert_eq!(stand.offered().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_the_receivers_fault_uses_up_no_attempt() {
    on_both(async |database: TestDb| {
        let (mut stand, mut attempt) = flying(database, r#"{"delays":[]}"#).await;
        for lost in [false, true, false] {
            if lost {
                stand.dispatcher.settle(vec![Answer::Lost(attempt.number)]);
            } else {
                stand.answer(&attempt, failed(v1::Failure::WebhookUnknown));
            }
            stand.world.advance(150);
            stand.round().await;
            stand.world.advance(10_000);
            stand.round().await;
            attempt = stand.offered().remove(0);
            assert_eq!(attempt.attempt, 1);
        }
        assert_eq!(stand.failing_since(webhook(1)).await, None);
        stand.answer(&attempt, answered(200));
        stand.round().await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 1)]));
        assert_eq!(stand.attempts().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_no_proxy_can_attempt_fails_after_an_hour_and_the_log_says_why() {
    on_both(async |database: TestDb| {
        let (mut stand, mut attempt) = flying(database, r#""standard""#).await;
        let began = stand.world.now_ms();
        loop {
            assert_eq!(stand.states().await.get("failed"), None, "not within the hour");
            stand.answer(&attempt, failed(v1::Failure::WebhookUnknown));
            stand.round().await;
            if stand.states().await.contains_key("failed") {
                break;
            }
            stand.world.advance(11_000);
            stand.round().await;
            attempt = stand.offered().remove(0);
            assert_eq!(attempt.attempt, 1, "none is used up");
        }
        let took = stand.world.now_ms() - began;
        assert!((3_600_000..3_700_000).contains(&took), "{took}");
        let row: (i64, Option<String>, Option<i64>) =
            stand.db.query("SELECT attempts, last_failure, due_at FROM deliveries").one().await.unwrap();
        assert_eq!(row, (1, Some("webhook_unknown".to_owned()), None));
        let row: (String, Option<i64>) = stand.db.query("SELECT reason, next_attempt_at FROM attempts").one().await.unwrap();
        assert_eq!(row, ("no proxy has known the webhook for an hour".to_owned(), None));
        assert_eq!(stand.failing_since(webhook(1)).await, None, "the receiver is not to blame");
        stand.world.advance(600_000);
        stand.round().await;
        assert!(stand.offered().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_open_breaker_uses_up_no_attempt_and_a_probe_closes_it() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.emit_some("a.done", 30).await;
        let mut failures = 0;
        for _ in 0..10 {
            stand.world.advance(20);
            stand.round().await;
            failures += stand.answer_all(500).len();
        }
        assert!((10..=17).contains(&failures), "{failures}");
        assert_eq!(stand.failing_since(one).await, Some(NOW + 20));
        stand.world.advance(30_000);
        stand.round().await;
        let probe = stand.offered();
        assert_eq!(probe.len(), 1);
        stand.answer(&probe[0], answered(200));
        let mut delivered = 1;
        for _ in 0..40 {
            stand.world.advance(1_000);
            stand.round().await;
            delivered += stand.answer_all(200).len();
        }
        stand.round().await;
        assert_eq!(delivered, 30);
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 30)]));
        assert_eq!(stand.failing_since(one).await, None);
    })
    .await;
}

#[tokio::test]
async fn deliveries_of_an_object_follow_one_another_also_when_they_fail() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.webhook(1, &["*"], "object", r#"{"delays":[1,1]}"#).await;
        let objects = (0..12).map(|n| Some(format!("object_{}", n % 3)));
        let events = stand.emit("a.done", objects).await;
        let place = |attempt: &v1::Attempt| events.iter().position(|id| id.to_string() == attempt.message_id).unwrap();
        let mut done: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for turn in 0..120_u32 {
            stand.world.advance(300);
            stand.round().await;
            let offered = stand.offered();
            let objects: BTreeSet<usize> = offered.iter().map(|attempt| place(attempt) % 3).collect();
            assert_eq!(objects.len(), offered.len(), "one of each object at a time");
            for attempt in offered {
                let n = place(&attempt);
                // The first of object 1 fails for good, others now and then.
                let fails = n == 1 || (n + turn as usize).is_multiple_of(3);
                stand.answer(&attempt, answered(if fails { 500 } else { 200 }));
                if !fails || n == 1 && attempt.attempt == 3 {
                    done.entry(n % 3).or_default().push(n);
                }
            }
            if turn == 7 {
                stand.crash().await;
            }
        }
        let states = stand.states().await;
        assert_eq!(states.get("waiting").or(states.get("pending")), None, "{states:?}");
        for (object, order) in done {
            assert!(order.is_sorted(), "of object {object}: {order:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_deleted_webhook_leaves_behind_is_cancelled_and_what_a_resting_one_does_waits() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let (gone, resting) = (webhook(1), webhook(2));
        stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.webhook(2, &["*"], "none", r#""standard""#).await;
        stand.emit_some("a.done", 3).await;
        stand.round().await;
        stand.answer_all(500);
        stand.round().await;
        stand.db.query("DELETE FROM webhooks WHERE id = $1").bind(gone.to_string()).execute().await.unwrap();
        stand.db.query("UPDATE webhooks SET active = FALSE WHERE id = $1").bind(resting.to_string()).execute().await.unwrap();
        stand.world.advance(10_000);
        stand.round().await;
        assert!(stand.offered().is_empty());
        assert_eq!(stand.states().await, BTreeMap::from([("cancelled".to_owned(), 3), ("pending".to_owned(), 3)]));
        assert_eq!(stand.due_at(gone).await, None);
        stand.db.query("UPDATE webhooks SET active = TRUE WHERE id = $1").bind(resting.to_string()).execute().await.unwrap();
        stand.world.advance(61_000);
        stand.round().await;
        assert_eq!(stand.answer_all(200).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_waits_behind_a_cancelled_delivery_has_its_turn_when_its_webhook_is_switched_on_again() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["*"], "object", r#"{"delays":[60]}"#).await;
        let object = || Some("object_1".to_owned());
        stand.emit("a.done", [object()]).await;
        stand.round().await;
        stand.answer_all(500);
        stand.round().await;
        stand.set_active(one, false).await;
        let day = 86_400_000;
        stand.world.advance(2 * day);
        stand.set_active(one, true).await;
        let second = stand.emit("b.done", [object()]).await;
        // Made, and waiting; then off again until the first is too old.
        stand.read().await;
        assert_eq!(stand.write().await, Wrote::Kept);
        stand.set_active(one, false).await;
        stand.offered();
        stand.crash().await;
        // The first has been due for all this time, the second was made on the third day.
        stand.db.query("UPDATE deliveries SET due_at = $1 WHERE state = 'pending'").bind(NOW + 60_000).execute().await.unwrap();
        stand.world.advance(5 * day + 61_000);
        stand.round().await;
        stand.world.advance(61_000);
        stand.round().await;
        assert_eq!(stand.states().await, BTreeMap::from([("cancelled".to_owned(), 1), ("pending".to_owned(), 1)]));
        stand.set_active(one, true).await;
        stand.world.advance(61_000);
        stand.round().await;
        let sent: Vec<String> = stand.answer_all(200).into_iter().map(|attempt| attempt.message_id).collect();
        assert_eq!(sent, [second[0].to_string()]);
    })
    .await;
}

#[tokio::test]
async fn what_a_receiver_answers_never_keeps_an_attempt_from_being_written() {
    on_both(async |database: TestDb| {
        let (mut stand, attempt) = flying(database, r#""standard""#).await;
        // No text of PostgreSQL's holds a NUL: a batch with one in it would be refused for ever.
        let note = Header { name: "x-note".to_owned(), value: "a\0\nb".to_owned() };
        let hostile = v1::Result {
            response_body: "\0\"\\u0000\u{2028}\u{1}".to_owned(),
            reason: "why\0".to_owned(),
            response_headers: vec![note],
            ..answered(500)
        };
        stand.answer(&attempt, hostile);
        stand.round().await;
        let row: (String, Option<String>, String) =
            stand.db.query("SELECT response_body, reason, response_headers FROM attempts").one().await.unwrap();
        assert_eq!(row.0, "\u{fffd}\"\\u0000\u{2028}\u{1}");
        assert_eq!(row.1.as_deref(), Some("why\u{fffd}"));
        assert_eq!(row.2, "x-note: a  b\n");
    })
    .await;
}
