//! Sessions on both engines, seen with the eyes of the check that callers pass: [`Directory`].

use std::net::{IpAddr, Ipv4Addr};

use clearway_config::{
    AccountId, SessionToken, UserId,
    scope::ADMIN,
    settings::{Plans, Source},
};

use super::{Begun, Directory, IDLE_MS, LIFE_MS, NOTED_EVERY_MS, NewSession, begin, end, end_all, refresh, sweep};
use crate::{
    accounts,
    audit::Actor,
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    http::{HeldSession, SessionDirectory},
    members::{self, Role},
    plans,
    users::{self, NewUser},
    world::World,
};

const NOW: i64 = 1_795_132_800_000;

struct Stand {
    db: Db,
    world: World,
    account: AccountId,
    user: UserId,
}

impl Stand {
    /// A person, and an account of which they are a developer.
    async fn over(TestDb { db, .. }: &TestDb) -> Self {
        let world = World::fixed(NOW, 1);
        let text = "[[plans]]\nname = \"p\"\ntitle = \"P\"\ncurrency = \"USD\"\nlimits = {}\n";
        plans::load(db, &world, &Plans::resolve(&Source::new("plans.toml", text)).unwrap()).await.unwrap();
        let account = account(db, &world).await;
        let user = world.id(UserId::new);
        let mut tx = db.begin().await.unwrap();
        let password_hash = String::new();
        let new = NewUser { id: user, account, email: "ann@example.com", name: "", password_hash, now_ms: NOW };
        users::insert(&mut tx, &new).await.unwrap();
        members::join(&mut tx, account, user, Role::Developer, NOW).await.unwrap();
        tx.commit().await.unwrap();
        Self { db: db.clone(), world, account, user }
    }

    async fn begun(&self) -> Begun {
        let new = NewSession {
            user_id: self.user,
            account_id: self.account,
            impersonator: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: "curl".into(),
            second_factor: false,
            expires_at: None,
        };
        let mut tx = self.db.begin().await.unwrap();
        let begun = begin(&mut tx, &self.world, &new).await.unwrap();
        tx.commit().await.unwrap();
        begun
    }

    async fn refreshed(&self, begun: &Begun) -> Option<Begun> {
        let mut tx = self.db.begin().await.unwrap();
        let fresh = refresh(&mut tx, &self.world, begun.id, &begun.token.hash()).await.unwrap();
        tx.commit().await.unwrap();
        fresh
    }

    async fn held(&self, token: &SessionToken, account: Option<AccountId>) -> Option<HeldSession> {
        Directory.find(&self.db, &token.hash(), account, self.world.now_ms()).await.unwrap()
    }

    async fn in_force(&self, token: &SessionToken) -> bool {
        self.held(token, None).await.is_some_and(|held| !held.ended && held.expires_at > self.world.now_ms())
    }
}

async fn account(db: &Db, world: &World) -> AccountId {
    let mut tx = db.begin().await.unwrap();
    let (account, _) = accounts::open(&mut tx, world, &Actor::System, "a".into(), "p".into()).await.unwrap();
    tx.commit().await.unwrap();
    account.id
}

#[tokio::test]
async fn a_session_may_what_its_persons_role_allows_in_each_account() {
    on_both(async |database: TestDb| {
        let stand = Stand::over(&database).await;
        let begun = stand.begun().await;
        let held = stand.held(&begun.token, None).await.unwrap();
        assert_eq!((held.user_id, held.account_id, held.session_id), (stand.user, stand.account, begun.id));
        assert_eq!(held.scopes, Some(Role::Developer.scopes(false)));

        let other = account(&stand.db, &stand.world).await;
        assert_eq!(stand.held(&begun.token, Some(other)).await.unwrap().scopes, None, "no member");
        let mut tx = stand.db.begin().await.unwrap();
        members::join(&mut tx, other, stand.user, Role::Admin, NOW).await.unwrap();
        accounts::mark_platform(&mut tx, other).await.unwrap();
        tx.commit().await.unwrap();
        assert!(stand.held(&begun.token, Some(other)).await.unwrap().scopes.unwrap().contains(ADMIN));
        assert!(!stand.held(&begun.token, None).await.unwrap().scopes.unwrap().contains(ADMIN));
        assert!(stand.held(&begun.token, Some(stand.world.id(AccountId::new))).await.is_none(), "no such account");
        assert!(stand.held(&SessionToken::mint([9; 32]), None).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_its_end_whether_used_or_not() {
    on_both(async |database: TestDb| {
        let stand = Stand::over(&database).await;
        let idle = stand.begun().await;
        stand.world.advance(IDLE_MS - 1);
        let used = stand.begun().await;
        assert!(stand.in_force(&idle.token).await, "and so used");
        stand.world.advance(IDLE_MS - 1);
        assert!(stand.in_force(&used.token).await);
        stand.world.advance(1);
        assert!(!stand.in_force(&idle.token).await);
        for _ in 0..LIFE_MS / IDLE_MS {
            stand.world.advance(IDLE_MS / 2);
            let _ = stand.in_force(&used.token).await;
        }
        assert!(stand.in_force(&used.token).await);
        stand.world.advance(LIFE_MS / 2);
        assert!(!stand.in_force(&used.token).await);
        assert_eq!(sweep(&stand.db, stand.world.now_ms()).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_signs_nobody_out_and_an_old_token_dies_with_the_new_ones_first_use() {
    on_both(async |database: TestDb| {
        let stand = Stand::over(&database).await;
        let first = stand.begun().await;
        let lost = stand.refreshed(&first).await.unwrap();
        assert!(stand.in_force(&first.token).await);
        let second = stand.refreshed(&first).await.unwrap();
        assert!(stand.held(&lost.token, None).await.is_none(), "replaced without ever having been used");
        assert!(stand.in_force(&second.token).await);
        assert!(stand.held(&first.token, None).await.is_none());
        assert!(stand.refreshed(&first).await.is_none());
        assert!(stand.in_force(&second.token).await);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_but_one() {
    on_both(async |database: TestDb| {
        let stand = Stand::over(&database).await;
        let (one, two, three) = (stand.begun().await, stand.begun().await, stand.begun().await);
        let mut tx = stand.db.begin().await.unwrap();
        assert!(!end(&mut tx, stand.world.id(UserId::new), one.id, NOW).await.unwrap(), "another person's");
        assert!(end(&mut tx, stand.user, one.id, NOW).await.unwrap());
        assert!(!end(&mut tx, stand.user, one.id, NOW).await.unwrap());
        tx.commit().await.unwrap();
        assert!(!stand.in_force(&one.token).await && stand.in_force(&two.token).await);
        let mut tx = stand.db.begin().await.unwrap();
        assert_eq!(end_all(&mut tx, stand.user, Some(three.id), NOW).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert!(!stand.in_force(&two.token).await && stand.in_force(&three.token).await);
        assert!(stand.refreshed(&two).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn use_is_noted_once_a_minute() {
    on_both(async |database: TestDb| {
        let stand = Stand::over(&database).await;
        let begun = stand.begun().await;
        let noted = async || {
            let sql = "SELECT last_used_at FROM sessions";
            stand.db.query(sql).scalar::<i64>().await.unwrap()
        };
        stand.world.advance(NOTED_EVERY_MS - 1);
        assert!(stand.in_force(&begun.token).await);
        assert_eq!(noted().await, NOW);
        stand.world.advance(1);
        assert!(stand.in_force(&begun.token).await);
        assert_eq!(noted().await, NOW + NOTED_EVERY_MS);
    })
    .await;
}
