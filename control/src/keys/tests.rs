//! Acts on keys, on both engines, seen with the eyes of the check that callers pass: [`Directory`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clearway_config::{
    AccountId, Environment, KeyHash, Limits, Scopes, SealingKey,
    settings::{Plans, Source},
};
use futures_util::future::join_all;
use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::{
    accounts,
    audit::Actor,
    db::{
        self, Db,
        testing::{Engine, TestDb, on_both},
    },
    http::{Held, KeyDirectory},
    plans,
    secrets::{Master, Secrets},
    sync::Feed,
    world::World,
};

const NOW: i64 = 1_795_132_800_000;

fn new(expires_at: Option<i64>) -> NewKey {
    NewKey {
        name: "k".into(),
        environment: Environment::Test,
        scopes: Scopes::from(vec!["read:apps".parse().unwrap()]),
        allowed: vec!["192.0.2.0/24".parse().unwrap()],
        limits: Limits { per_second: Some(3), per_month: Some(9), ..Limits::UNLIMITED },
        require_signature: false,
        expires_at,
    }
}

async fn account(db: &Db, world: &World, keys_max: &str) -> AccountId {
    let text = format!("[[plans]]\nname = \"p\"\ntitle = \"P\"\ncurrency = \"USD\"\nlimits = {{}}\n{keys_max}");
    plans::load(db, world, &Plans::resolve(&Source::new("plans.toml", text)).unwrap()).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let (account, _) = accounts::open(&mut tx, world, &Actor::System, "a".into(), "p".into()).await.unwrap();
    tx.commit().await.unwrap();
    account.id
}

/// Of a world of its own, so that what is drawn for it moves nothing else.
async fn secrets(db: &Db) -> Secrets {
    let master = Master::Given(SealingKey::new([7; 32]).reveal());
    Secrets::load(db, &World::fixed(NOW, 8), &master).await.unwrap()
}

async fn issued(db: &Db, world: &World, account: AccountId, expires_at: Option<i64>) -> Result<Issued, IssueError> {
    let secrets = secrets(db).await;
    let mut tx = db.begin().await.unwrap();
    let issued = issue(&mut tx, world, &secrets, &Actor::System, account, new(expires_at)).await?;
    tx.commit().await.unwrap();
    Ok(issued)
}

async fn held(db: &Db, hash: &KeyHash) -> Held {
    Directory::default().find(db, hash).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_key_comes_back_as_it_was_issued() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = account(&db, &world, "").await;
        let made = issued(&db, &world, account, Some(NOW + 5)).await.unwrap();
        assert_eq!(store::find(&db, Some(account), made.key.id).await.unwrap().as_ref(), Some(&made.key));
        assert_eq!(store::find(&db, Some(world.id(AccountId::new)), made.key.id).await.unwrap(), None);
        assert_eq!(store::live_secrets(&db, made.key.id, NOW).await.unwrap(), std::slice::from_ref(&made.secret));
        let held = held(&db, &made.plain.hash()).await;
        assert_eq!((held.key_id, held.account_id), (made.key.id, account));
        assert_eq!((held.expires_at, held.revoked, held.suspended), (Some(NOW + 5), false, false));
        assert_eq!((held.scopes, held.allowed), (made.key.scopes, made.key.allowed));
    })
    .await;
}

#[tokio::test]
async fn keys_that_are_looked_up_together_are_told_apart_and_a_revocation_holds_at_once() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = account(&db, &world, "").await;
        let mut made = Vec::new();
        for _ in 0..4 {
            made.push(issued(&db, &world, account, None).await.unwrap());
        }
        let directory = Directory::default();
        let unknown = KeyHash::from_slice(&[7; 32]).unwrap();
        for revoked in 0..made.len() {
            let hashes: Vec<_> = (0..300).map(|n| made.get(n % 5).map_or(unknown, |made| made.plain.hash())).collect();
            let found = join_all(hashes.iter().map(|hash| directory.find(&db, hash))).await;
            for (n, held) in found.into_iter().enumerate() {
                let expected = made.get(n % 5).map(|made| (made.key.id, n % 5 < revoked));
                assert_eq!(held.unwrap().map(|held| (held.key_id, held.revoked)), expected);
            }
            let mut tx = db.begin().await.unwrap();
            revoke(&mut tx, &world, &Actor::System, None, made[revoked].key.id).await.unwrap().unwrap();
            tx.commit().await.unwrap();
        }
        db.close().await;
        let asked = join_all((0..3).map(|_| directory.find(&db, &unknown))).await;
        assert!(asked.iter().all(|found| matches!(found, Err(db::Error::Retry))), "no key is refused for want of a database");
    })
    .await;
}

#[tokio::test]
async fn two_callers_cannot_both_take_the_plans_last_key() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = account(&db, &world, "keys_max = 2").await;
        let first = issued(&db, &world, account, Some(NOW + 5)).await.unwrap();
        let race = tokio::join!(issued(&db, &world, account, None), issued(&db, &world, account, None));
        let refused = match race {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            other => panic!("one of two must be refused: {other:?}"),
        };
        assert!(matches!(refused, IssueError::PlanLimit { keys_max: 2 }), "{refused}");
        // A key that has expired, or was revoked, makes room.
        world.advance(5);
        assert_eq!(first.key.status(world.now_ms()), Status::Expired);
        issued(&db, &world, account, None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_proxies_are_fed_is_what_callers_are_checked_by() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = account(&db, &world, "").await;
        let mut keys = Vec::new();
        for _ in 0..5 {
            keys.push(issued(&db, &world, account, Some(NOW + 1_000)).await.unwrap());
        }
        let mut tx = db.begin().await.unwrap();
        let rotated = rotate(&mut tx, &world, &secrets(&db).await, &Actor::System, None, keys[0].key.id, 0).await.unwrap();
        revoke(&mut tx, &world, &Actor::System, None, keys[1].key.id).await.unwrap().unwrap();
        tx.commit().await.unwrap();

        let feed = KeyFeed { secrets: secrets(&db).await };
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let (changes, next) = feed.page(&db, after, 2).await.unwrap();
            paged.extend(changes.credentials);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged.len(), 6, "one a secret");
        assert_eq!(feed.count(&db).await.unwrap(), 6);
        let ids: Vec<_> = keys.iter().map(|made| made.key.id.to_string()).collect();
        let mut loaded = feed.load(&db, &ids).await.unwrap().credentials;
        for credentials in [&mut paged, &mut loaded] {
            credentials.sort_by(|a, b| a.hash.cmp(&b.hash));
        }
        assert_eq!(paged, loaded);
        for credential in &paged {
            let held = held(&db, &KeyHash::from_slice(&credential.hash).unwrap()).await;
            assert_eq!(credential.revoked, held.revoked);
            assert_eq!(credential.expires_at, held.expires_at.map(|at| u64::try_from(at).unwrap()));
            assert_eq!(credential.key_id, held.key_id.to_vec());
            assert_eq!(credential.account_id, held.account_id.to_vec());
            assert_eq!(credential.scopes, ["read:apps"]);
            assert_eq!(credential.allowed_addresses, ["192.0.2.0/24"]);
            let limits = credential.limits.unwrap();
            assert_eq!((limits.per_second, limits.per_day, limits.per_month), (Some(3), None, Some(9)));
        }
        let revoked: Vec<_> = paged.iter().filter(|credential| credential.revoked).map(|c| c.hash.as_slice()).collect();
        assert_eq!(revoked.len(), 2);
        assert!(revoked.contains(&keys[0].plain.hash().as_bytes().as_slice()));
        assert!(!revoked.contains(&rotated.plain.hash().as_bytes().as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_signing_secret_reaches_the_proxies_with_its_secret_and_ends_with_it() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let (world, secrets) = (World::fixed(NOW, 1), secrets(&db).await);
        let account = account(&db, &world, "").await;
        let mut tx = db.begin().await.unwrap();
        let new = NewKey { require_signature: true, ..new(None) };
        let made = issue(&mut tx, &world, &secrets, &Actor::System, account, new).await.unwrap();
        let id = made.key.id;
        let rotated = rotate(&mut tx, &world, &secrets, &Actor::System, None, id, 60).await.unwrap();
        tx.commit().await.unwrap();

        let feed = KeyFeed { secrets: secrets.clone() };
        let ids = [id.to_string()];
        let fed = async |hash: KeyHash| {
            let credentials = feed.load(&db, &ids).await.unwrap().credentials;
            credentials.into_iter().find(|credential| credential.hash == hash.as_bytes()).unwrap()
        };
        for (plain, signing) in [(&made.plain, &made.signing), (&rotated.plain, &rotated.signing)] {
            let fed = fed(plain.hash()).await;
            assert!(fed.require_signature);
            assert_eq!(STANDARD.encode(&fed.signing_secret), signing.as_ref().unwrap().reveal());
            assert!(!format!("{fed:?}").contains("signing_secret"), "it is not printed");
        }
        assert_eq!(fed(made.plain.hash()).await.expires_at, Some(u64::try_from(NOW).unwrap() + 60_000));
        let other = rotated.secrets[0].signing_secret.clone().unwrap();
        let damaged = made.secret.id.to_string();
        assert!(signing::open(&secrets, &damaged, &other).is_err(), "it opens beside its own secret only");

        let mut tx = db.begin().await.unwrap();
        store::set_signing_secret(&mut tx, &made.secret, other).await.unwrap();
        tx.commit().await.unwrap();
        let damaged = fed(made.plain.hash()).await;
        assert!(damaged.require_signature && damaged.signing_secret.is_empty(), "refused, and all others go on");
    })
    .await;
}

#[tokio::test]
async fn useless_secrets_are_forgotten_here_and_in_every_proxy() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(NOW, 1);
        let account = account(&db, &world, "").await;
        let expiring = issued(&db, &world, account, Some(NOW + 1)).await.unwrap();
        let rotated = issued(&db, &world, account, None).await.unwrap();
        let gone = issued(&db, &world, account, None).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        rotate(&mut tx, &world, &secrets(&db).await, &Actor::System, None, rotated.key.id, 60).await.unwrap();
        revoke(&mut tx, &world, &Actor::System, None, gone.key.id).await.unwrap().unwrap();
        tx.commit().await.unwrap();

        world.advance(super::sweep::KEPT_MS);
        assert_eq!(sweep(&db, &world).await.unwrap(), 1, "the revoked key's; the overlap ended a minute later");
        world.advance(60_000);
        assert_eq!(sweep(&db, &world).await.unwrap(), 1);
        assert_eq!(sweep(&db, &world).await.unwrap(), 0, "an expired key may be given a later expiry");
        for (made, known) in [(&expiring, true), (&rotated, false), (&gone, false)] {
            assert_eq!(Directory::default().find(&db, &made.plain.hash()).await.unwrap().is_some(), known);
        }
        let told: Vec<(String,)> = db
            .query("SELECT subject_id FROM changes WHERE kind = 'secret_removed' ORDER BY revision LIMIT 9")
            .all()
            .await
            .unwrap();
        let removed = |made: &Issued| (crate::sync::removed_secret_id(&made.plain.hash()),);
        assert_eq!(told, [removed(&gone), removed(&rotated)]);
    })
    .await;
}

#[derive(Debug, Clone)]
enum Step {
    Rotate {
        overlap_s: u64,
    },
    Regenerate,
    /// From now; `None` is never.
    Expire {
        in_ms: Option<i64>,
    },
    Pass {
        ms: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let day = 86_400_000_i64;
    let step = prop_oneof![
        3 => prop_oneof![0..200_u64, 0..=2_592_000_u64].prop_map(|overlap_s| Step::Rotate { overlap_s }),
        1 => Just(Step::Regenerate),
        2 => proptest::option::of(1..40 * day).prop_map(|in_ms| Step::Expire { in_ms }),
        2 => prop_oneof![0..200_000_i64, 0..20 * day].prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..14)
}

/// A secret as the property remembers it.
struct Seen {
    hash: KeyHash,
    /// Once superseded: it may never end later than this.
    ceiling: Option<i64>,
}

async fn holds(db: &Db, world: &World, account: AccountId, first_expiry: Option<i64>, steps: &[Step]) {
    let no_earlier = |a: Option<i64>, b: Option<i64>| model::earlier(a, b) == b;
    let made = issued(db, world, account, first_expiry.map(|in_ms| world.now_ms() + in_ms)).await.unwrap();
    let id = made.key.id;
    let mut expiry = made.key.expires_at;
    let mut seen = vec![Seen { hash: made.plain.hash(), ceiling: None }];
    for step in steps {
        let now = world.now_ms();
        let mut tx = db.begin().await.unwrap();
        let overlap_s = match step {
            Step::Pass { ms } => {
                world.advance(*ms);
                None
            }
            Step::Expire { in_ms } => {
                expiry = in_ms.map(|in_ms| now + in_ms);
                let change = KeyUpdate { expires_at: Some(expiry), ..KeyUpdate::default() };
                update(&mut tx, world, &secrets(db).await, &Actor::System, None, id, change).await.unwrap();
                None
            }
            Step::Rotate { overlap_s } => Some(*overlap_s),
            Step::Regenerate => Some(0),
        };
        if let Some(overlap_s) = overlap_s {
            let mut before = Vec::new();
            for secret in &seen {
                before.push(held(db, &secret.hash).await.expires_at);
            }
            match rotate(&mut tx, world, &secrets(db).await, &Actor::System, None, id, overlap_s).await {
                Ok(rotated) => {
                    let end = now + i64::try_from(overlap_s).unwrap() * 1000;
                    for (secret, before) in seen.iter_mut().zip(before) {
                        let ceiling = model::earlier(model::earlier(before, Some(end)), secret.ceiling);
                        secret.ceiling = Some(ceiling.unwrap());
                    }
                    assert_eq!((rotated.key.expires_at, rotated.key.id), (expiry, id), "a rotation changes no expiry");
                    seen.push(Seen { hash: rotated.plain.hash(), ceiling: None });
                }
                Err(RotateError::NotActive(Status::Expired)) => assert!(expiry.is_some_and(|at| at <= now)),
                Err(RotateError::TooManySecrets) => {}
                Err(other) => panic!("{other}"),
            }
        }
        tx.commit().await.unwrap();
        for (n, secret) in seen.iter().enumerate() {
            let end = held(db, &secret.hash).await.expires_at;
            assert!(no_earlier(expiry, end), "no secret outlives its key: {end:?} {expiry:?}");
            match secret.ceiling {
                Some(ceiling) => assert!(no_earlier(Some(ceiling), end), "secret {n} was lengthened: {end:?} {ceiling}"),
                None => assert_eq!(end, expiry, "the current secret lives as long as its key"),
            }
        }
    }
}

#[test]
fn no_sequence_of_rotations_and_updates_lengthens_a_secrets_life() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (engine, cases) in [(Engine::Sqlite, 96), (Engine::Postgres, 32)] {
        eprintln!("engine: {engine:?}");
        let world = World::fixed(NOW, 1);
        let TestDb { db, .. } = &runtime.block_on(TestDb::new(engine));
        let account = runtime.block_on(account(db, &world, ""));
        let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
        let input = (proptest::option::of(1..4_000_000_000_i64), steps());
        let outcome = runner.run(&input, |(first_expiry, steps)| {
            runtime.block_on(holds(db, &world, account, first_expiry, &steps));
            Ok(())
        });
        outcome.unwrap();
    }
}
