//! What is done about webhooks because of how they fare.

use super::*;
use crate::mail::{deliver_once, testing::Smtp};

const HOUR_MS: i64 = 3_600_000;

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

#[tokio::test]
async fn owners_are_mailed_once_after_a_day_and_once_after_five_also_when_processes_die() {
    on_both(async |database: TestDb| {
        let smtp = Smtp::default();
        let mut stand = failing(database).await;
        stand.outbox = smtp.start().await;
        stand
            .db
            .query(
                "INSERT INTO users (id, account_id, email, role, password_hash, created_at)
                 VALUES ('user_1', $1, 'owner@example.com', 'owner', '', 0), ('user_2', $1, 'viewer@example.com', 'viewer', '', 0)",
            )
            .bind(stand.account.to_string())
            .execute()
            .await
            .unwrap();
        stand.crash().await;
        stand.round().await;
        let mut attempts = stand.offered();
        let mut mailed = Vec::new();
        while stand.world.now_ms() < NOW + 130 * HOUR_MS {
            told(&mut stand, attempts, 500).await;
            // The mail is committed with what it speaks of. Its process dies before it goes out, and the next one finds it.
            stand.crash().await;
            while deliver_once(&stand.outbox, &stand.db, &stand.world, &Metrics::new()).await.unwrap() > 0 {}
            let taken: Vec<String> = smtp.taken.lock().unwrap().drain(..).collect();
            mailed.extend(taken.into_iter().map(|mail| (stand.world.now_ms() - NOW, mail)));
            attempts = later(&mut stand).await;
        }
        let [(warned_at, warning), (disabled_at, end)] = &mailed[..] else { panic!("one mail each: {mailed:?}") };
        assert!((24 * HOUR_MS..31 * HOUR_MS).contains(warned_at), "{warned_at}");
        assert!((120 * HOUR_MS..127 * HOUR_MS).contains(disabled_at), "{disabled_at}");
        assert!(warning.contains(&format!("Subject: Webhook {} is failing", webhook(1))), "{warning}");
        assert!(end.contains(&format!("Subject: Webhook {} was disabled", webhook(1))), "{end}");
        assert!(mailed.iter().all(|(_, mail)| mail.contains("To: owner@example.com")), "only to who owns it: {mailed:?}");
    })
    .await;
}

#[tokio::test]
async fn that_a_webhook_is_well_again_is_said_although_its_process_dies_before_it_can() {
    on_both(async |database: TestDb| {
        let mut stand = failing(database).await;
        let first = stand.offered();
        let mut heard = told(&mut stand, first, 500).await;
        while heard.is_empty() {
            let attempts = later(&mut stand).await;
            heard = told(&mut stand, attempts, 500).await;
        }
        for attempt in later(&mut stand).await {
            stand.answer(&attempt, answered(200));
        }
        assert_eq!(stand.write().await, Wrote::Kept);
        assert_eq!(stand.failing_since(webhook(1)).await, None, "it is written that it is well");
        for turn in 0..2 {
            stand.crash().await;
            stand.act().await;
            let told: Vec<String> = stand.answer_all(200).into_iter().map(|attempt| attempt.event_type).collect();
            let expected: &[&str] = if turn == 0 { &["webhook.endpoint.recovered"] } else { &[] };
            assert_eq!(told, expected, "once");
            stand.round().await;
        }
        assert_eq!(stand.audited().await, ["webhook.failing", "webhook.recovered"]);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_fails_is_disabled_also_where_events_never_cease() {
    on_both(async |database: TestDb| {
        let mut stand = failing(database).await;
        let mut attempts = stand.offered();
        let mut heard = Vec::new();
        while !heard.contains(&"webhook.endpoint.disabled".to_owned()) {
            assert!(stand.world.now_ms() < NOW + 130 * HOUR_MS, "{heard:?}");
            heard.extend(told(&mut stand, attempts, 500).await);
            stand.emit_some("b.done", 1).await;
            attempts = later(&mut stand).await;
        }
        assert_eq!(heard, ["webhook.endpoint.failing", "webhook.endpoint.disabled"]);
    })
    .await;
}
