//! The tables stay small.

use super::{super::sweep::Sweeper, *};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn what_is_older_than_the_plan_keeps_is_swept_but_never_what_is_under_way() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        stand.plan(7).await;
        stand.webhook(1, &["a.done"], "none", r#"{"delays":[259200,259200,259200,259200,259200]}"#).await;
        stand.emit_some("a.done", 6).await;
        stand.emit_some("nobody.cares", 600).await;
        stand.round().await;
        let offered = stand.offered();
        for (n, attempt) in offered.iter().enumerate() {
            stand.answer(attempt, answered(if n == 0 { 500 } else { 200 }));
        }
        stand.round().await;
        assert_eq!(stand.rows().await, (606, 6, 6));
        let mut sweeper = Sweeper::default();
        stand.world.advance(7 * DAY_MS - 1);
        assert_eq!(sweeper.step(&stand.db, &stand.world).await.unwrap(), (0, 0, false));
        stand.world.advance(2);
        let (mut swept, mut steps) = ((0, 0), 0);
        loop {
            let (deliveries, events, more) = sweeper.step(&stand.db, &stand.world).await.unwrap();
            swept = (swept.0 + deliveries, swept.1 + events);
            steps += 1;
            assert!(events <= 500, "some at a time");
            if !more {
                break;
            }
        }
        assert_eq!((swept, steps), ((5, 605), 2));
        assert_eq!(stand.rows().await, (1, 1, 1), "the one that failed is still to be delivered");
        stand.round().await;
        stand.answer_all(200);
        stand.round().await;
        stand.world.advance(DAY_MS);
        assert_eq!(sweeper.step(&stand.db, &stand.world).await.unwrap(), (1, 1, false));
        assert_eq!(stand.rows().await, (0, 0, 0));
    })
    .await;
}
