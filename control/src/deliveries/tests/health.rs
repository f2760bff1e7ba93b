//! What is done about webhooks because of how they fare.

use super::*;

/// A webhook that fails every six hours for five days, and another of the same account that is well.
async fn failing(database: TestDb) -> Stand {
    let mut stand = Stand::new(database).await;
    let delays = vec!["21600"; 20].join(",");
    stand.webhook(1, &["*"], "none", &format!(r#"{{"delays":[{delays}]}}"#)).await;
    stand.webhook(2, &["webhook.*"], "none", r#""standard""#).await;
    stand.emit_some("a.done", 1).await;
    stand.round().await;
    stand
}

/// Six hours and more later, and what was handed over then.
async fn later(stand: &mut Stand) -> Vec<v1::Attempt> {
    stand.world.advance(24_000_000);
    stand.round().await;
    stand.offered()
}

/// What the other webhook is told, while the first one answers with `status`.
async fn told(stand: &mut Stand, attempts: Vec<v1::Attempt>, status: u32) -> Vec<String> {
    for attempt in attempts {
        assert_eq!(attempt.webhook_id, webhook(1).to_vec());
        stand.answer(&attempt, answered(status));
    }
    stand.round().await;
    stand.act().await;
    let told = stand.answer_all(200);
    stand.round().await;
    assert!(told.iter().all(|attempt| attempt.webhook_id == webhook(2).to_vec()), "never to the one that it is about");
    told.into_iter().map(|attempt| attempt.event_type).collect()
}

#[tokio::test]
async fn a_webhook_that_fails_is_warned_of_after_a_day_and_disabled_after_five() {
    on_both(async |database: TestDb| {
        let mut stand = failing(database).await;
        let first = stand.offered();
        let mut heard = told(&mut stand, first, 500).await;
        while heard.last().is_none_or(|last| last != "webhook.endpoint.disabled") {
            let attempts = later(&mut stand).await;
            assert!(!attempts.is_empty() && stand.world.now_ms() < NOW + 130 * 3_600_000);
            heard.extend(told(&mut stand, attempts, 500).await);
            let warned = stand.world.now_ms() >= NOW + 24 * 3_600_000;
            assert_eq!(heard.contains(&"webhook.endpoint.failing".to_owned()), warned);
        }
        assert_eq!(heard, ["webhook.endpoint.failing", "webhook.endpoint.disabled"], "each once");
        assert!(stand.world.now_ms() >= NOW + 120 * 3_600_000);
        assert_eq!(stand.audited().await, ["webhook.failing", "webhook.disabled"]);
        // It is sent nothing more, and what was due is cancelled.
        stand.emit_some("a.done", 3).await;
        assert!(later(&mut stand).await.is_empty());
        let states = stand.states().await;
        assert_eq!((states.get("pending"), states.get("waiting")), (None, None), "{states:?}");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_was_warned_of_and_answers_again_is_said_to_have_recovered() {
    on_both(async |database: TestDb| {
        let mut stand = failing(database).await;
        let first = stand.offered();
        let mut heard = told(&mut stand, first, 500).await;
        while heard.is_empty() {
            let attempts = later(&mut stand).await;
            heard = told(&mut stand, attempts, 503).await;
        }
        let attempts = later(&mut stand).await;
        assert_eq!(told(&mut stand, attempts, 200).await, ["webhook.endpoint.recovered"]);
        assert_eq!(stand.audited().await, ["webhook.failing", "webhook.recovered"]);
        assert_eq!(stand.failing_since(webhook(1)).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_webhook_at_once() {
    on_both(async |database: TestDb| {
        let mut stand = failing(database).await;
        stand.emit_some("b.done", 20).await;
        stand.round().await;
        let attempts = stand.offered();
        assert_eq!(attempts.len(), 8);
        assert_eq!(told(&mut stand, attempts, 410).await, ["webhook.endpoint.disabled"]);
        assert_eq!(stand.audited().await, ["webhook.disabled"]);
        assert!(later(&mut stand).await.is_empty());
        later(&mut stand).await;
        let states = stand.states().await;
        let expected = [("cancelled", 13), ("failed", 8), ("succeeded", 1)].map(|(state, n)| (state.to_owned(), n));
        assert_eq!(states, BTreeMap::from(expected));
    })
    .await;
}
