//! The chain on both engines, verified as whoever distrusts this process would: from what is in the database.

use clearway_config::{AccountId, audit::Link};
use futures_util::future::join_all;
use serde_json::json;

use super::{Actor, Changes, Event, chain, link_once, record};
use crate::{
    db::{
        Db,
        testing::{Engine, TestDb, on_both},
    },
    world::World,
};

async fn recorded(db: &Db, world: &World, object_id: &str) {
    let mut tx = db.begin().await.unwrap();
    let changes = Changes::default().field("name", (), object_id).field("limits", json!({ "b": 1 }), json!({ "a": 1.5, "b": 2 }));
    let event = Event { action: "key.created", account_id: world.id(AccountId::new), object_kind: "key", object_id, changes };
    record(&mut tx, world, &Actor::System, event).await.unwrap();
    tx.commit().await.unwrap();
}

/// The number of the first link that does not hold, if one does not.
async fn broken_at(db: &Db) -> Option<u64> {
    let mut before = Link::first();
    for (at, (number, link, entry)) in (1..).zip(chain::links(db).await) {
        if number != at || entry.is_none_or(|entry| before.next(number, &entry) != link) {
            return Some(at);
        }
        before = link;
    }
    None
}

#[tokio::test]
async fn every_entry_gets_one_link_however_many_link_at_once() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(1_795_132_800_000, 1);
        for n in 0..7 {
            world.advance(1);
            recorded(&db, &world, &format!("key_{n}")).await;
        }
        let linked = join_all((0..4).map(|_| link_once(&db))).await;
        assert_eq!(linked.into_iter().map(Result::unwrap).sum::<u64>(), 7);
        recorded(&db, &world, "key_7").await;
        assert_eq!(link_once(&db).await.unwrap(), 1);
        assert_eq!(link_once(&db).await.unwrap(), 0);
        assert_eq!((chain::links(&db).await.len(), broken_at(&db).await), (8, None));
    })
    .await;
}

#[tokio::test]
async fn processes_that_write_and_link_at_once_make_one_chain() {
    on_both(async |TestDb { db, location, .. }: TestDb| {
        let other = Db::open(&location, 3).await.unwrap();
        let (db, other) = (&db, &other);
        let writes = (0..4).map(|writer| async move {
            let world = World::fixed(1_795_132_800_000, writer);
            for n in 0..10 {
                world.advance(1);
                recorded(if writer % 2 == 0 { db } else { other }, &world, &format!("key_{writer}_{n}")).await;
            }
        });
        let links = (0..4).map(|linker| async move {
            for _ in 0..10 {
                link_once(if linker % 2 == 0 { db } else { other }).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        tokio::join!(join_all(writes), join_all(links));
        while link_once(other).await.unwrap() > 0 {}
        assert_eq!((chain::links(db).await.len(), broken_at(db).await), (40, None));
        assert_eq!(chain::unlinked(db).await, (0, 0, 0));
        other.close().await;
    })
    .await;
}

/// Has the database let the log be changed, as whoever owns it can.
async fn unguarded(db: &Db) {
    match db {
        Db::Sqlite { .. } => {
            db.query("DROP TRIGGER audit_log_unchanged").execute().await.unwrap();
            db.query("DROP TRIGGER audit_log_kept").execute().await.unwrap();
            db.query("DROP TRIGGER audit_log_chained").execute().await.unwrap();
        }
        Db::Postgres { .. } => {
            db.query("ALTER TABLE audit_log DISABLE TRIGGER USER").execute().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_database_refuses_to_change_the_log() {
    on_both(async |TestDb { db, .. }: TestDb| {
        recorded(&db, &World::fixed(1_795_132_800_000, 1), "key_0").await;
        assert!(db.query("UPDATE audit_log SET object_id = 'key_9'").execute().await.is_err());
        assert!(db.query("DELETE FROM audit_log").execute().await.is_err());
        assert_eq!(db.query("SELECT count(*) FROM audit_log").scalar::<i64>().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_chain_shows_what_was_changed_taken_out_put_in_or_moved() {
    for (statement, broken) in [
        ("UPDATE audit_log SET at = at + 1 WHERE object_id = 'key_1'", Some(2)),
        ("UPDATE audit_log SET changes = '{}' WHERE object_id = 'key_2'", Some(3)),
        ("DELETE FROM audit_log WHERE object_id = 'key_1'", Some(2)),
        ("DELETE FROM audit_chain WHERE number = 2", Some(2)),
        ("UPDATE audit_chain SET number = 9 WHERE number = 1", Some(1)),
        (
            "UPDATE audit_log SET object_id = CASE object_id WHEN 'key_0' THEN 'key_1' ELSE 'key_0' END WHERE object_id < 'key_2'",
            Some(1),
        ),
        ("INSERT INTO audit_chain (number, audit_id, link) SELECT 4, 'aud_x', link FROM audit_chain WHERE number = 3", Some(4)),
    ] {
        on_both(async |TestDb { db, .. }: TestDb| {
            let world = World::fixed(1_795_132_800_000, 1);
            for n in 0..3 {
                world.advance(1);
                recorded(&db, &world, &format!("key_{n}")).await;
            }
            link_once(&db).await.unwrap();
            assert_eq!((broken_at(&db).await, chain::unlinked(&db).await), (None, (0, 0, 0)));
            unguarded(&db).await;
            assert!(db.query(statement).execute().await.unwrap() > 0);
            assert_eq!(broken_at(&db).await, broken, "{statement}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_in_the_log_beside_the_chain_is_counted() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(1_795_132_800_000, 1);
        recorded(&db, &world, "key_0").await;
        world.advance(1);
        recorded(&db, &world, "key_1").await;
        assert_eq!(chain::unlinked(&db).await, (2, 0, 0));
        unguarded(&db).await;
        db.query("DELETE FROM audit_log WHERE object_id = 'key_1'").execute().await.unwrap();
        world.advance(1);
        recorded(&db, &world, "key_2").await;
        assert_eq!(chain::unlinked(&db).await, (1, 1, 1), "taken out before it was linked; put in without the trigger");
    })
    .await;
}

#[tokio::test]
async fn a_chain_holds_in_either_engine_and_is_the_same_in_both() {
    let mut heads = Vec::new();
    for engine in Engine::BOTH {
        let TestDb { db, .. } = &TestDb::new(engine).await;
        let world = World::fixed(1_795_132_800_000, 1);
        recorded(db, &world, "key_ä").await;
        link_once(db).await.unwrap();
        heads.push(chain::links(db).await[0].1);
    }
    assert_eq!(heads[0], heads[1]);
}
