//! Emitting, on both engines.

use std::time::Duration;

use clearway_config::{AccountId, ErrorCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    http::ApiError,
    world::World,
};

const NOW: i64 = 1_795_132_800_000;

fn plan_changed(account: AccountId, plan: &str) -> NewEvent {
    let account_id = account.to_string();
    let data = billing::BillingUpgraded { account_id, plan: plan.into(), previous_plan: "x".into() };
    NewEvent::of(account, &data)
}

async fn emitted(db: &Db, world: &World, account: AccountId, plan: &str) -> clearway_config::EventId {
    let mut tx = db.begin().await.unwrap();
    let id = emit(&mut tx, world, plan_changed(account, plan)).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn an_event_is_posted_as_standard_webhooks_has_it() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = world.id(AccountId::new);
        let id = emitted(&db, &world, account, "pro \"2\"\n\u{1F600}").await;
        let rows = after(&db, 0, 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((row.sequence, row.id, row.account_id, row.version, row.created_at), (1, id, account, 1, NOW));
        assert_eq!((row.kind.as_str(), row.object_id.as_deref()), ("billing.upgraded", Some(account.to_string().as_str())));
        let start = format!(r#"{{"id":"{id}","type":"billing.upgraded","timestamp":"2026-11-20T00:00:00.000Z","data":{{"#);
        assert!(row.body.starts_with(&start), "{}", row.body);
        let body: Value = serde_json::from_str(&row.body).unwrap();
        let data = json!({ "account_id": account, "plan": "pro \"2\"\n\u{1F600}", "previous_plan": "x" });
        assert_eq!(body["data"], data);
    })
    .await;
}

#[tokio::test]
async fn an_event_happens_with_its_transaction_or_not_at_all() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = world.id(AccountId::new);
        let mut listener = committed(&db);
        let mut tx = db.begin().await.unwrap();
        emit(&mut tx, &world, plan_changed(account, "lost")).await.unwrap();
        drop(tx);
        assert_eq!((last(&db).await.unwrap(), listener.has_changed().unwrap()), (0, false));
        emitted(&db, &world, account, "kept").await;
        assert!(listener.has_changed().unwrap());
        listener.mark_unchanged();
        let mut tx = db.begin().await.unwrap();
        let three: Vec<_> = (0..3).map(|n| plan_changed(account, &n.to_string())).collect();
        let ids = emit_all(&mut tx, &world, &three).await.unwrap();
        assert!(!listener.has_changed().unwrap(), "nobody is woken before the commit");
        tx.commit().await.unwrap();
        listener.changed().await.unwrap();
        let rows = after(&db, 1, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2, 3, 4], "nothing is left out");
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
        assert_eq!(after(&db, 0, 2).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn sequences_are_in_commit_order() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = world.id(AccountId::new);
        let mut first = db.begin().await.unwrap();
        emit(&mut first, &world, plan_changed(account, "first")).await.unwrap();
        let second = tokio::spawn({
            let (db, world) = (db.clone(), world.clone());
            async move { emitted(&db, &world, account, "second").await }
        });
        // Whether or not the second has begun by now, it cannot be seen before the first.
        tokio::task::yield_now().await;
        assert_eq!(after(&db, 0, 10).await.unwrap(), []);
        first.commit().await.unwrap();
        second.await.unwrap();
        let plans: Vec<_> = after(&db, 0, 10).await.unwrap().into_iter().map(|row| row.body.contains("first")).collect();
        assert_eq!(plans, [true, false]);
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_events_ends_when_its_reader_may_read_no_longer() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let account = World::fixed(NOW, 1).id(AccountId::new);
        let wanted = || feed::Wanted { account, after: 0, limit: 10, patterns: Vec::new() };
        let refuse = || std::future::ready(Err(ApiError::new(ErrorCode::KeyRevoked)));
        let refused = feed::wait(&db, wanted(), Duration::from_secs(600), std::future::pending(), refuse).await;
        assert_eq!(refused.unwrap_err().code(), ErrorCode::KeyRevoked);
        // What there is when it comes it may have: it has been asked just now.
        emitted(&db, &World::fixed(NOW, 1), account, "a").await;
        let page = feed::wait(&db, wanted(), Duration::from_secs(600), std::future::pending(), refuse).await.unwrap();
        assert_eq!(page.rows.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn only_what_takes_no_type_is_unmatched() {
    on_both(async |TestDb { db, .. }: TestDb| {
        db.query("INSERT INTO event_types (name, version, description, schema, created_at, updated_at) VALUES ('order.paid', 1, '', '{}', 0, 0)")
            .execute()
            .await
            .unwrap();
        let patterns = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Pattern>>();
        let known = patterns(&["*", "product.*", "product.created", "key.deleted", "webhook.endpoint.*", "order.paid", "order.*"]);
        assert_eq!(unmatched(&db, &known).await.unwrap(), []);
        let unknown = patterns(&["product.create", "products.*", "order.pay", "order.paid.*", "webhook.endpoint.lost"]);
        assert_eq!(unmatched(&db, &[known, unknown.clone()].concat()).await.unwrap(), unknown);
    })
    .await;
}
