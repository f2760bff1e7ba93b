mod encrypted;

use super::{
    Db, Error, Location, OpenError, cut,
    testing::{TestDb, on_both},
};

async fn add_account(db: &Db, id: &str) -> Result<u64, Error> {
    db.query("INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(id)
        .bind("a name")
        .bind(7_i64)
        .execute()
        .await
}

#[tokio::test]
async fn a_taken_primary_key_and_unique_column_are_named_alike_on_both_engines() {
    on_both(async |TestDb { db, .. }: TestDb| {
        add_account(&db, "acct_1").await.unwrap();
        assert!(add_account(&db, "acct_1").await.unwrap_err().is_conflict("accounts_pkey"));

        let user = async |id: &'static str| {
            db.query("INSERT INTO users (id, account_id, email, role, password_hash, created_at) VALUES ($1, 'acct_1', 'a@b', 'owner', '', 0)")
                .bind(id)
                .execute()
                .await
        };
        user("user_1").await.unwrap();
        assert!(user("user_2").await.unwrap_err().is_conflict("users_email_key"));
    })
    .await;
}

#[tokio::test]
async fn a_reference_to_nothing_is_told_apart() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let lost = db
            .query("INSERT INTO subscriptions (id, account_id, plan, started_at) VALUES ('sub_1', $1, 'none', 0)")
            .bind("acct_none")
            .execute()
            .await;
        assert!(matches!(lost, Err(Error::MissingReference)), "{lost:?}");
    })
    .await;
}

#[tokio::test]
async fn a_marker_without_a_value_is_refused_on_both_engines() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let unbound = db.query("SELECT name FROM accounts WHERE id = $1 OR id = $2").bind("x").optional::<(String,)>().await;
        assert!(matches!(unbound, Err(Error::Markers { marked: 2, bound: 1, .. })), "{unbound:?}");
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_a_committed_one_everything() {
    on_both(async |TestDb { db, .. }: TestDb| {
        for (id, commit) in [("acct_1", false), ("acct_2", true)] {
            let mut tx = db.begin().await.unwrap();
            tx.query("INSERT INTO accounts (id, name, created_at) VALUES ($1, '', 0)").bind(id).execute().await.unwrap();
            let seen: i64 = tx.query("SELECT count(*) FROM accounts WHERE id = $1").bind(id).scalar().await.unwrap();
            assert_eq!(seen, 1, "a transaction reads what it wrote");
            if commit {
                tx.commit().await.unwrap();
            }
        }
        let left: Vec<(String,)> = db.query("SELECT id FROM accounts LIMIT 9").all().await.unwrap();
        assert_eq!(left, [("acct_2".to_owned(),)]);
    })
    .await;
}

#[tokio::test]
async fn a_read_transaction_sees_one_state_and_cannot_write() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let mut read = db.begin_read().await.unwrap();
        let count = "SELECT count(*) FROM accounts";
        assert_eq!(read.query(count).scalar::<i64>().await.unwrap(), 0);
        add_account(&db, "acct_1").await.unwrap();
        assert_eq!(read.query(count).scalar::<i64>().await.unwrap(), 0);
        assert!(read.query("DELETE FROM accounts").execute().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_schema_newer_than_the_binary_stops_the_start() {
    on_both(async |TestDb { db, location, .. }: TestDb| {
        db.query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'contract what is no longer used', TRUE, $1, 0)",
        )
        .bind(vec![0_u8])
        .execute()
        .await
        .unwrap();
        db.close().await;
        let refused = Db::open(&location, 1).await.unwrap_err();
        assert!(matches!(refused, OpenError::SchemaNewer { found: 9999, known: 1.. }), "{refused}");
        assert!(refused.to_string().starts_with("wrong schema version: the database is at 9999"));
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_that_only_adds_is_in_nobodys_way() {
    on_both(async |TestDb { db, location, .. }: TestDb| {
        db.query("ALTER TABLE accounts ADD COLUMN later TEXT NOT NULL DEFAULT ''").execute().await.unwrap();
        db.query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', TRUE, $1, 0)",
        )
        .bind(vec![0_u8])
        .execute()
        .await
        .unwrap();
        db.close().await;
        let db = Db::open(&location, 1).await.unwrap();
        add_account(&db, "acct_1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn one_process_of_many_is_alone_at_what_one_is_to_do() {
    let test = TestDb::new(super::testing::Engine::Postgres).await;
    let other = Db::open(&test.location, 2).await.unwrap();
    let alone = test.db.alone(7).await.unwrap().expect("nobody else does it");
    assert!(other.alone(7).await.unwrap().is_none());
    assert!(other.alone(8).await.unwrap().is_some(), "something else");
    drop(alone);
    while other.alone(7).await.unwrap().is_none() {}
}

#[tokio::test]
async fn a_database_that_is_not_there_is_one_clear_line() {
    let missing = Location::Postgres("postgres://someone:secret@127.0.0.1:1/x".into());
    let line = Db::open(&missing, 1).await.unwrap_err().to_string();
    assert!(line.starts_with("database unreachable: postgres://127.0.0.1:1: "), "{line}");
    assert!(!line.contains("secret") && !line.contains('\n'));

    let line = Db::open(&Location::Sqlite("/nowhere/control.db".into()), 1).await.unwrap_err().to_string();
    assert!(line.starts_with("database unreachable: sqlite:/nowhere/control.db: "), "{line}");
}

#[tokio::test]
async fn a_database_that_goes_away_is_unavailable_and_comes_back() {
    let TestDb { db, name, .. } = &TestDb::new(super::testing::Engine::Postgres).await;
    let cluster = clearway_testkit::Cluster::shared();
    db.ping().await.unwrap();
    cluster.cut_off(name, true);
    let mut met = db.ping().await;
    for _ in 0..10 {
        // The first attempts may find connections that died and are only noticed by using them.
        assert!(matches!(met, Err(Error::Unavailable(_))), "{met:?}");
        met = db.ping().await;
    }
    cluster.cut_off(name, false);
    while db.ping().await.is_err() {}
}

#[test]
fn a_page_says_whether_another_follows() {
    let whole = cut(vec![1, 2], 2, |n| *n);
    assert_eq!((whole.items, whole.next), (vec![1, 2], None));
    let first = cut(vec![1, 2, 3], 2, |n| *n);
    assert_eq!((first.items, first.next), (vec![1, 2], Some(2)));
    assert_eq!(cut(Vec::<u8>::new(), 2, |n| *n).next, None);
}
