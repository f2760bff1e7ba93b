//! No webhook is in another's way, and none is given more than it may have.

use super::*;

#[tokio::test]
async fn a_webhook_that_hangs_with_100_000_due_leaves_99_others_undisturbed() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let dead = stand.webhook(1, &["to.dead"], "none", r#""standard""#).await;
        for n in 2..=100 {
            stand.webhook(n, &["to.others"], "none", r#""standard""#).await;
        }
        stand.backlog(dead, 100_000).await;
        stand.outlet.room.store(64, Ordering::Relaxed);
        let (mut hanging, mut delivered) = (0, 0);
        for _ in 0..20 {
            stand.emit_some("to.others", 2).await;
            stand.emit_some("to.dead", 2).await;
            for _ in 0..8 {
                stand.world.advance(20);
                stand.read().await;
                stand.dispatcher.hand_over();
                stand.write().await;
                for attempt in stand.offered() {
                    if attempt.webhook_id == dead.to_vec() {
                        hanging += 1;
                    } else {
                        delivered += 1;
                        stand.answer(&attempt, answered(200));
                    }
                }
                stand.outlet.room.store(64 - hanging, Ordering::Relaxed);
            }
            assert_eq!(stand.dispatcher.board.in_flight(), hanging);
        }
        assert!((1..=16).contains(&hanging), "{hanging} of its own places");
        assert_eq!(delivered, 20 * 2 * 99, "every one of the others', as they came");
    })
    .await;
}

#[tokio::test]
async fn concurrency_and_rate_are_never_exceeded() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let (few, slow) = (webhook(1), webhook(2));
        stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.webhook(2, &["*"], "none", r#""standard""#).await;
        stand.set(few, None, 3).await;
        stand.set(slow, Some(40), 256).await;
        stand.emit_some("a.done", 400).await;
        let (mut flying, mut began) = (Vec::new(), Vec::new());
        for tick in 0..600_i64 {
            stand.world.advance(25);
            if tick % 4 == 0 {
                stand.read().await;
                stand.write().await;
            }
            stand.dispatcher.hand_over();
            for attempt in stand.offered() {
                if attempt.webhook_id == few.to_vec() {
                    flying.push(attempt);
                } else {
                    began.push(stand.world.now_ms());
                    stand.answer(&attempt, answered(200));
                }
            }
            assert!(flying.len() <= 3, "{}", flying.len());
            if tick % 2 == 0 {
                for attempt in flying.drain(..) {
                    stand.answer(&attempt, answered(200));
                }
            }
        }
        for (n, first) in began.iter().enumerate() {
            let within = began[n..].iter().take_while(|at| **at < first + 1_000).count();
            assert!(within <= 40, "{within} in a second");
        }
        assert_eq!(began.len(), 400);
        stand.world.advance(200);
        stand.write().await;
        assert_eq!(stand.states().await, BTreeMap::from([("succeeded".to_owned(), 800)]));
    })
    .await;
}

#[tokio::test]
async fn what_is_due_for_longer_is_not_overtaken_for_ever_by_what_is_new() {
    on_both(async |database: TestDb| {
        let mut stand = Stand::new(database).await;
        let one = stand.webhook(1, &["*"], "none", r#""standard""#).await;
        stand.backlog(one, 500).await;
        let mut old = 0;
        for _ in 0..120 {
            stand.emit_some("new.one", 2).await;
            stand.world.advance(20);
            stand.round().await;
            old += stand.answer_all(200).iter().filter(|attempt| attempt.event_type == "of.backlog").count();
        }
        assert_eq!(old, 500);
    })
    .await;
}
