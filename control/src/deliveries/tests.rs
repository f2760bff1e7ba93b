//! The dispatcher on both engines, with a way out that a test plays and a clock that stands still. Every step is taken by
//! the test, so that it can stop between any two of them.

mod crash;
mod fair;
mod health;
mod outcomes;
mod redo;
mod refused;
mod running;
mod sweeping;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use clearway_config::{AccountId, EventId, WebhookId, egress::v1};
use sqlx::types::Json;

use super::{
    outlet::{Answer, Outlet},
    run::{Dispatcher, Wrote},
};
use crate::{
    db::{
        Db, PerEngine,
        testing::{TestDb, on_both},
    },
    mail::Outbox,
    metrics::Metrics,
    sync::{self, ChangeKind},
    world::World,
};

const NOW: i64 = 1_795_132_800_000;

/// Takes what it is given and answers nothing by itself.
#[derive(Debug)]
struct Played {
    room: AtomicUsize,
    offered: Mutex<Vec<v1::Attempt>>,
}

impl Outlet for Played {
    fn attached(&self) -> bool {
        true
    }

    fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    fn offer(&self, attempts: Vec<v1::Attempt>) -> Vec<v1::Attempt> {
        self.offered.lock().unwrap().extend(attempts);
        Vec::new()
    }
}

/// A database with one account, and a process that dispatches on it.
struct Stand {
    db: Db,
    world: World,
    outlet: Arc<Played>,
    dispatcher: Dispatcher,
    account: AccountId,
    /// Where mails about webhooks are put.
    outbox: Outbox,
    last_event: i64,
    _database: TestDb,
}

fn webhook(n: u64) -> WebhookId {
    WebhookId::new(n, 1 << 100)
}

impl Stand {
    async fn new(database: TestDb) -> Self {
        let (db, world) = (database.db.clone(), World::fixed(NOW, 3));
        let outlet = Arc::new(Played { room: 1_000.into(), offered: Mutex::default() });
        let account = AccountId::new(1, 1 << 100);
        db.query("INSERT INTO accounts (id, name, created_at) VALUES ($1, 'Example Ltd', 0)")
            .bind(account.to_string())
            .execute()
            .await
            .unwrap();
        let dispatcher = Self::process(&db, &world, &outlet);
        let mut stand =
            Self { db, world, outlet, dispatcher, account, outbox: Outbox::default(), last_event: 0, _database: database };
        assert!(stand.dispatcher.take_hold().await.unwrap());
        stand
    }

    fn process(db: &Db, world: &World, outlet: &Arc<Played>) -> Dispatcher {
        Dispatcher::new(db.clone(), world.clone(), Metrics::new(), outlet.clone(), Arc::default())
    }

    /// A webhook that wants events of these types.
    async fn webhook(&self, n: u64, events: &[&str], ordering: &str, retry_policy: &str) -> WebhookId {
        let id = webhook(n);
        self.db
            .query(PerEngine {
                sqlite:
                    "INSERT INTO webhooks (id, account_id, url, description, events, headers, active, retry_policy, concurrency,
                             ordering, ed25519, timeouts, version, created_at, updated_at)
                         VALUES ($1, $2, 'https://example.com/', '', $3, '[]', TRUE, $5, 16, $4, FALSE, '{}', 1, 0, 0)",
                postgres:
                    "INSERT INTO webhooks (id, account_id, url, description, events, headers, active, retry_policy, concurrency,
                               ordering, ed25519, timeouts, version, created_at, updated_at)
                           VALUES ($1, $2, 'https://example.com/', '', $3, '[]', TRUE, $5, 16, $4, FALSE, '{}', 1, 0, 0)",
            })
            .bind(id.to_string())
            .bind(self.account.to_string())
            .bind(Json(events.to_vec()))
            .bind(ordering.to_owned())
            .bind(Json(serde_json::from_str::<serde_json::Value>(retry_policy).unwrap()))
            .execute()
            .await
            .unwrap();
        self.db.query("INSERT INTO webhook_health (webhook_id) VALUES ($1)").bind(id.to_string()).execute().await.unwrap();
        id
    }

    async fn set(&self, webhook: WebhookId, rate_limit: Option<i64>, concurrency: i64) {
        self.db
            .query("UPDATE webhooks SET rate_limit = $2, concurrency = $3 WHERE id = $1")
            .bind(webhook.to_string())
            .bind(rate_limit)
            .bind(concurrency)
            .execute()
            .await
            .unwrap();
    }

    /// Accepts events, one for each object.
    async fn emit(&mut self, kind: &str, objects: impl IntoIterator<Item = Option<String>>) -> Vec<EventId> {
        let mut ids = Vec::new();
        let mut tx = self.db.begin().await.unwrap();
        for object in objects {
            let id = self.world.id(EventId::new);
            self.last_event += 1;
            tx.query("UPDATE event_sequence SET last = $1").bind(self.last_event).execute().await.unwrap();
            tx.query(
                "INSERT INTO events (sequence, id, account_id, type, version, object_id, body, created_at)
                 VALUES ($1, $2, $3, $4, 1, $5, $6, $7)",
            )
            .bind(self.last_event)
            .bind(id.to_string())
            .bind(self.account.to_string())
            .bind(kind.to_owned())
            .bind(object)
            .bind(format!(r#"{{"id":"{id}"}}"#))
            .bind(self.world.now_ms())
            .execute()
            .await
            .unwrap();
            ids.push(id);
        }
        tx.commit().await.unwrap();
        ids
    }

    async fn emit_some(&mut self, kind: &str, count: usize) -> Vec<EventId> {
        self.emit(kind, (0..count).map(|_| None)).await
    }

    async fn read(&mut self) {
        loop {
            let reading = self.dispatcher.start_reading().unwrap().await;
            if !self.dispatcher.finish_reading(reading) {
                return;
            }
        }
    }

    /// With whatever is refused left out.
    async fn write(&mut self) -> Wrote {
        loop {
            let wrote = match self.dispatcher.start_writing(false) {
                Some(writing) => self.dispatcher.finish_writing(writing.await),
                None => Wrote::Kept,
            };
            if wrote != Wrote::Refused {
                return wrote;
            }
        }
    }

    /// Reads, hands over and writes until nothing more happens by itself.
    async fn round(&mut self) {
        for _ in 0..3 {
            self.read().await;
            self.dispatcher.hand_over();
            assert_eq!(self.write().await, Wrote::Kept);
        }
    }

    /// An event for one webhook alone.
    async fn try_out(&mut self, webhook: WebhookId) -> EventId {
        let id = self.emit_some("a.trial", 1).await[0];
        self.db
            .query("UPDATE events SET only_for = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(webhook.to_string())
            .execute()
            .await
            .unwrap();
        id
    }

    /// Does what is to be done about webhooks, and fans out the events of it.
    async fn act(&mut self) {
        let acted = self.dispatcher.start_acting().await;
        assert!(acted.iter().all(|(_, _, done)| *done));
        self.dispatcher.finish_acting(acted);
        self.last_event = self.db.query("SELECT last FROM event_sequence").scalar().await.unwrap();
        self.round().await;
    }

    async fn audited(&self) -> Vec<String> {
        let rows: Vec<(String,)> = self.db.query("SELECT action FROM audit_log ORDER BY id").all().await.unwrap();
        rows.into_iter().map(|(action,)| action).collect()
    }

    async fn set_active(&self, webhook: WebhookId, active: bool) {
        let mut tx = self.db.begin().await.unwrap();
        tx.query("UPDATE webhooks SET active = $2 WHERE id = $1").bind(webhook.to_string()).bind(active).execute().await.unwrap();
        sync::record(&mut tx, ChangeKind::Webhook, &webhook.to_string(), 0).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Puts the account on a plan that keeps events for so many days.
    async fn plan(&self, days: i64) {
        self.db
            .query(
                "INSERT INTO plans (name, title, position, overage, currency, retired, event_retention_days)
                 VALUES ('small', 'Small', 0, FALSE, 'USD', FALSE, $1)",
            )
            .bind(days)
            .execute()
            .await
            .unwrap();
        self.db
            .query("INSERT INTO subscriptions (id, account_id, plan, started_at) VALUES ('sub_1', $1, 'small', 0)")
            .bind(self.account.to_string())
            .execute()
            .await
            .unwrap();
    }

    async fn rows(&self) -> (i64, i64, i64) {
        self.db
            .query("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries), (SELECT count(*) FROM attempts)")
            .one()
            .await
            .unwrap()
    }

    async fn held_by(&self) -> (Option<String>, i64) {
        self.db.query("SELECT holder, (SELECT count(*) FROM deliveries WHERE claimed) FROM dispatch").one().await.unwrap()
    }

    /// What has been handed over since the last time.
    fn offered(&self) -> Vec<v1::Attempt> {
        std::mem::take(&mut *self.outlet.offered.lock().unwrap())
    }

    fn answer(&mut self, attempt: &v1::Attempt, result: v1::Result) {
        let started_at = u64::try_from(self.world.now_ms()).unwrap();
        let result = v1::Result { number: attempt.number, started_at, ..result };
        self.dispatcher.settle(vec![Answer::Result(result)]);
    }

    fn answer_all(&mut self, status: u32) -> Vec<v1::Attempt> {
        let offered = self.offered();
        for attempt in &offered {
            self.answer(attempt, answered(status));
        }
        offered
    }

    /// The process dies with all that it has in memory; another takes over as soon as it may.
    async fn crash(&mut self) {
        self.dispatcher = Self::process(&self.db, &self.world, &self.outlet).mailing(self.outbox.clone());
        if !self.dispatcher.take_hold().await.unwrap() {
            self.world.advance(10_001);
            assert!(self.dispatcher.take_hold().await.unwrap());
        }
    }

    /// How many deliveries are in each state.
    async fn states(&self) -> BTreeMap<String, i64> {
        let rows: Vec<(String, i64)> =
            self.db.query("SELECT state, count(*) FROM deliveries GROUP BY state").all().await.unwrap();
        rows.into_iter().collect()
    }

    async fn attempts(&self) -> i64 {
        self.db.query("SELECT count(*) FROM attempts").scalar().await.unwrap()
    }

    /// As where the schema is not the expected one.
    async fn take_attempts_away(&self) {
        self.db.query("ALTER TABLE attempts RENAME TO elsewhere").execute().await.unwrap();
    }

    async fn bring_attempts_back(&self) {
        self.db.query("ALTER TABLE elsewhere RENAME TO attempts").execute().await.unwrap();
    }

    async fn due_at(&self, webhook: WebhookId) -> Option<i64> {
        let row: Option<(Option<i64>,)> = self
            .db
            .query("SELECT due_at FROM webhook_health WHERE webhook_id = $1")
            .bind(webhook.to_string())
            .optional()
            .await
            .unwrap();
        row.and_then(|(due_at,)| due_at)
    }

    async fn failing_since(&self, webhook: WebhookId) -> Option<i64> {
        let row: Option<(Option<i64>,)> = self
            .db
            .query("SELECT failing_since FROM webhook_health WHERE webhook_id = $1")
            .bind(webhook.to_string())
            .optional()
            .await
            .unwrap();
        row.and_then(|(since,)| since)
    }

    /// As many deliveries of a webhook as if they had been due for long.
    async fn backlog(&mut self, webhook: WebhookId, count: i64) {
        self.emit_some("of.backlog", 1).await;
        let first = self.last_event;
        self.db
            .query(PerEngine {
                sqlite: "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
                         INSERT INTO events (sequence, id, account_id, type, version, body, created_at)
                         SELECT $3 + i, 'evt_' || substr('0000000000000000000000' || i, -22), $2, 'of.backlog', 1, '{}', 0 FROM n",
                postgres: "INSERT INTO events (sequence, id, account_id, type, version, body, created_at)
                           SELECT $3 + i, 'evt_' || lpad(CAST(i AS TEXT), 22, '0'), $2, 'of.backlog', 1, '{}', 0
                           FROM generate_series(1, $1) i",
            })
            .bind(count)
            .bind(self.account.to_string())
            .bind(first)
            .execute()
            .await
            .unwrap();
        self.last_event += count;
        self.db
            .query(
                "INSERT INTO deliveries (id, account_id, webhook_id, sequence, event_type, state, due_at, claimed, attempts,
                     schedule_start, created_at)
                 SELECT 'dlv_' || substr(id, 5), account_id, $1, sequence, type, 'pending', 1, FALSE, 0, 0, 0
                 FROM events
                 WHERE sequence > $2",
            )
            .bind(webhook.to_string())
            .bind(first)
            .execute()
            .await
            .unwrap();
        self.db
            .query("UPDATE webhook_health SET due_at = 1 WHERE webhook_id = $1")
            .bind(webhook.to_string())
            .execute()
            .await
            .unwrap();
        self.db.query("UPDATE dispatch SET fanned_out = $1").bind(self.last_event).execute().await.unwrap();
        self.crash().await;
    }
}

fn answered(status: u32) -> v1::Result {
    v1::Result { status: Some(status), response_body: "as\0 it came".into(), ..v1::Result::default() }
}

fn failed(failure: v1::Failure) -> v1::Result {
    v1::Result { failure: failure.into(), reason: "why".into(), ..v1::Result::default() }
}

fn ids(events: &[EventId]) -> BTreeSet<String> {
    events.iter().map(ToString::to_string).collect()
}
