//! Acts on webhooks, on both engines, seen as the proxies and those who deliver see them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clearway_config::{
    AccountId, SealingKey, WebhookId,
    settings::{Plans, Source, process::EgressSettings},
    sync::v1,
};

use super::{create::WithSecret, store, *};
use crate::{
    accounts,
    audit::Actor,
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    plans,
    secrets::{Master, Secrets},
    sync::Feed,
    world::World,
};

const NOW: i64 = 1_795_132_800_000;
const BODY: &str = r#"{"id":"evt_1","type":"product.created","timestamp":"2026-11-21T10:00:00.000Z","data":{"price":5}}"#;

/// A database with an account, and what acts need.
struct Stand {
    db: Db,
    world: World,
    secrets: Secrets,
    egress: EgressSettings,
    account: AccountId,
}

impl Stand {
    async fn new(db: Db) -> Self {
        let world = World::fixed(NOW, 1);
        let master = Master::Given(SealingKey::new([7; 32]).reveal());
        let secrets = Secrets::load(&db, &World::fixed(NOW, 8), &master).await.unwrap();
        let plan = "[[plans]]\nname = \"p\"\ntitle = \"P\"\ncurrency = \"USD\"\nlimits = {}\n";
        plans::load(&db, &world, &Plans::resolve(&Source::new("plans.toml", plan)).unwrap()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let (account, _) = accounts::open(&mut tx, &world, &Actor::System, "a".into(), "p".into()).await.unwrap();
        tx.commit().await.unwrap();
        Self { db, world, secrets, egress: EgressSettings::default(), account: account.id }
    }

    fn means(&self) -> Means<'_> {
        Means { world: &self.world, secrets: &self.secrets, egress: &self.egress }
    }

    async fn webhook(&self, change: SettingsUpdate) -> WithSecret {
        let settings = SettingsUpdate {
            url: Some("https://example.com/hook".into()),
            events: Some(change.events.clone().unwrap_or_else(|| vec!["product.*".parse().unwrap()])),
            ..change
        };
        let mut tx = self.db.begin().await.unwrap();
        let made = create(&mut tx, self.means(), &Actor::System, self.account, settings, None).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn rotated(&self, id: WebhookId, overlap_s: u64) -> WithSecret {
        let mut tx = self.db.begin().await.unwrap();
        let made = rotate(&mut tx, self.means(), &Actor::System, None, id, overlap_s, None).await.unwrap();
        tx.commit().await.unwrap();
        made
    }

    async fn changed(&self, id: WebhookId, change: SettingsUpdate) {
        let mut tx = self.db.begin().await.unwrap();
        update(&mut tx, self.means(), &Actor::System, None, id, change, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn feed(&self) -> WebhookFeed {
        WebhookFeed { secrets: self.secrets.clone(), world: self.world.clone() }
    }

    async fn fed(&self, id: WebhookId) -> v1::Webhook {
        let changes = self.feed().load(&self.db, &[id.to_string()]).await.unwrap();
        changes.webhooks.into_iter().next().unwrap()
    }

    /// Who is told of a product event.
    async fn told(&self, body: &str) -> Vec<WebhookId> {
        let matcher = matching(&self.db, &Filters::default(), &[self.account]).await.unwrap();
        let event = Occurrence { account: self.account, kind: "product.created", object_id: Some("prod_1"), body };
        matcher.targets(event).iter().map(|target| target.id).collect()
    }
}

fn key(made: &WithSecret) -> Vec<u8> {
    STANDARD.decode(made.key.reveal().strip_prefix("whsec_").unwrap()).unwrap()
}

#[tokio::test]
async fn a_webhook_comes_back_as_it_was_made() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let made = stand
            .webhook(SettingsUpdate {
                filter: Some(Some("data.price > 1".into())),
                headers: Some(vec![Header { name: "X-A".into(), value: "b".into() }]),
                authorization: Some(Some("Bearer t".to_owned().into())),
                retry_policy: Some(RetryPolicy::Exponential { max_attempts: 3, initial_delay_ms: 500, multiplier: 1.5 }),
                rate_limit: Some(Some(7)),
                ordering: Some(Ordering::Object),
                brand: Some(Some("Sedifex".parse().unwrap())),
                timeouts: Some(Timeouts { total_ms: Some(5_000), ..Timeouts::default() }),
                ed25519: Some(true),
                ..SettingsUpdate::default()
            })
            .await;
        let id = made.webhook.id;
        assert_eq!(find(&stand.db, Some(stand.account), id).await.unwrap().as_ref(), Some(&made.webhook));
        assert_eq!(find(&stand.db, Some(stand.world.id(AccountId::new)), id).await.unwrap(), None);
        assert_eq!(store::live_secrets(&stand.db, &[id.to_string()], NOW).await.unwrap(), made.secrets);
    })
    .await;
}

#[tokio::test]
async fn proxies_are_told_what_they_sign_and_post_by() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let made = stand
            .webhook(SettingsUpdate {
                headers: Some(vec![Header { name: "X-A".into(), value: "b".into() }]),
                authorization: Some(Some("Bearer t".to_owned().into())),
                timeouts: Some(Timeouts { connect_ms: Some(1_000), ..Timeouts::default() }),
                ed25519: Some(true),
                ..SettingsUpdate::default()
            })
            .await;
        let fed = stand.fed(made.webhook.id).await;
        assert_eq!((fed.url.as_str(), fed.brand.as_str(), fed.active), ("https://example.com/hook", "Clearway", true));
        assert_eq!((fed.connect_timeout_ms, fed.total_timeout_ms), (1_000, 0));
        assert_eq!(fed.headers, [v1::Header { name: "X-A".into(), value: "b".into() }]);
        let secrets = fed.secrets.unwrap();
        assert_eq!((secrets.authorization.as_str(), secrets.signing.len()), ("Bearer t", 1));
        assert_eq!((&secrets.signing[0].hmac_key, secrets.signing[0].ed25519_seed.len()), (&key(&made), 32));

        let (page, next) = stand.feed().page(&stand.db, None, 1).await.unwrap();
        assert_eq!((page.webhooks.len(), next), (1, Some(made.webhook.id.to_string())));
        let (page, next) = stand.feed().page(&stand.db, Some(made.webhook.id.to_string()), 1).await.unwrap();
        assert_eq!((page.webhooks.len(), next), (0, None));

        let mut tx = stand.db.begin().await.unwrap();
        remove(&mut tx, &stand.world, &Actor::System, None, made.webhook.id, None).await.unwrap();
        tx.commit().await.unwrap();
        let changes = stand.feed().load(&stand.db, &[made.webhook.id.to_string()]).await.unwrap();
        assert_eq!((changes.webhooks.len(), changes.removed_webhooks), (0, vec![made.webhook.id.to_vec()]));
    })
    .await;
}

#[tokio::test]
async fn secrets_that_do_not_open_are_left_out_and_nothing_else_is() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let (sound, spoilt) = (stand.webhook(SettingsUpdate::default()).await, stand.webhook(SettingsUpdate::default()).await);
        stand
            .db
            .query("UPDATE webhook_secrets SET sealed_hmac_key = $2 WHERE webhook_id = $1")
            .bind(spoilt.webhook.id.to_string())
            .bind(vec![1_u8; 80])
            .execute()
            .await
            .unwrap();
        assert!(stand.fed(spoilt.webhook.id).await.secrets.is_none());
        assert!(stand.fed(sound.webhook.id).await.secrets.is_some());
    })
    .await;
}

#[tokio::test]
async fn every_live_secret_signs_until_its_overlap_ends_and_is_then_forgotten() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let first = stand.webhook(SettingsUpdate { ed25519: Some(true), ..SettingsUpdate::default() }).await;
        let id = first.webhook.id;
        let second = stand.rotated(id, 60).await;
        let keys = async || -> Vec<Vec<u8>> {
            stand.fed(id).await.secrets.unwrap().signing.into_iter().map(|secret| secret.hmac_key).collect()
        };
        assert_eq!(keys().await, [key(&second), key(&first)]);
        assert_eq!(sweep(&stand.db, &stand.world).await.unwrap(), 0);
        stand.world.advance(60_000);
        assert_eq!(keys().await, [key(&second)]);
        assert_eq!(sweep(&stand.db, &stand.world).await.unwrap(), 1);
        let third = stand.rotated(id, 0).await;
        assert_eq!((keys().await, sweep(&stand.db, &stand.world).await.unwrap()), (vec![key(&third)], 0));
        // Without the switch, no secret has a pair of keys any more.
        stand.changed(id, SettingsUpdate { ed25519: Some(false), ..SettingsUpdate::default() }).await;
        assert!(stand.fed(id).await.secrets.unwrap().signing.iter().all(|secret| secret.ed25519_seed.is_empty()));
    })
    .await;
}

#[tokio::test]
async fn a_disabled_webhook_is_told_nothing_until_it_is_enabled() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let id = stand.webhook(SettingsUpdate::default()).await.webhook.id;
        assert_eq!(stand.told(BODY).await, [id]);
        let disabled = async || {
            let mut tx = stand.db.begin().await.unwrap();
            let done = disable(&mut tx, &stand.world, id, DisabledReason::Gone).await.unwrap();
            tx.commit().await.unwrap();
            done.map(|(webhook, _)| webhook.status())
        };
        assert_eq!((disabled().await, disabled().await), (Some(Status::Disabled), None));
        assert_eq!((stand.told(BODY).await, stand.fed(id).await.active), (vec![], false));
        assert!(!targets(&stand.db, &[id]).await.unwrap()[0].active);
        let mut tx = stand.db.begin().await.unwrap();
        let (webhook, _) = enable(&mut tx, &stand.world, &Actor::System, None, id).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((webhook.status(), stand.told(BODY).await), (Status::Active, vec![id]));
        assert!(stand.fed(id).await.active);
    })
    .await;
}

#[tokio::test]
async fn an_event_is_for_those_who_want_its_type_and_whose_filter_is_true_of_it() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let with = async |events: &str, filter: Option<&str>| {
            let change = SettingsUpdate {
                events: Some(vec![events.parse().unwrap()]),
                filter: filter.map(|text| Some(text.to_owned())),
                ..SettingsUpdate::default()
            };
            stand.world.advance(1);
            stand.webhook(change).await.webhook.id
        };
        let every = with("*", None).await;
        let exact = with("product.created", Some("data.price == 5")).await;
        with("product.updated", None).await;
        with("product.*", Some("data.price > 5")).await;
        with("product.*", Some("data.missing == 1")).await;
        assert_eq!(stand.told(BODY).await, [every, exact]);
        assert_eq!(stand.told("no JSON").await, [every]);
        stand.changed(every, SettingsUpdate { active: Some(false), ..SettingsUpdate::default() }).await;
        assert_eq!(stand.told(BODY).await, [exact]);
        let mut tx = stand.db.begin().await.unwrap();
        accounts::set_suspended(&mut tx, &stand.world, &Actor::System, stand.account, true).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(stand.told(BODY).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_is_not_told_of_its_own_failing() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let stand = Stand::new(db).await;
        let all = || SettingsUpdate { events: Some(vec!["*".parse().unwrap()]), ..SettingsUpdate::default() };
        let (failing, other) = (stand.webhook(all()).await.webhook.id, stand.webhook(all()).await.webhook.id);
        let matcher = matching(&stand.db, &Filters::default(), &[stand.account]).await.unwrap();
        let text = failing.to_string();
        let event = Occurrence { account: stand.account, kind: "webhook.endpoint.failing", object_id: Some(&text), body: "{}" };
        assert_eq!(matcher.targets(event).iter().map(|target| target.id).collect::<Vec<_>>(), [other]);
    })
    .await;
}
