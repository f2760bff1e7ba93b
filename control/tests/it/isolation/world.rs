//! Two accounts that must know nothing of each other, people in them, and for every path of the document an object that it
//! leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use clearway_config::{AccountId, SessionId, SessionToken, SubscriptionId, UserId};
use serde_json::Value;

use crate::{
    app::{Answer, Client, TestApp},
    auth::PASSWORD,
    document::{Access, Operation},
};

/// Who may know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The account that it was made in.
    Account,
    /// The person that it was made for, and nobody else of their account.
    Person,
    /// Everybody.
    Public,
    /// Whoever runs Clearway.
    Platform,
}

/// What an operation is tried on, and with.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) owner: Owner,
    /// In the order of the path's parameters.
    pub(crate) ids: Vec<String>,
    /// Empty where the operation takes none.
    pub(crate) body: String,
}

/// Somebody who has signed in, in an account of their own that they own.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) email: String,
    pub(crate) session: String,
    /// The account that they act for.
    pub(crate) acts_for: String,
}

pub(crate) struct World {
    pub(crate) app: TestApp,
    password_hash: String,
    /// Whose account everything is tried on.
    pub(crate) ann: Person,
    /// Whom none of that concerns.
    pub(crate) carl: Person,
    /// Whose apps the others install.
    pub(crate) dora: Person,
    /// What only Ann's account may see: ids, addresses, words.
    hidden: Mutex<BTreeSet<String>>,
    /// What is not consumed, by operation and by whose it is.
    shared: Mutex<BTreeMap<(String, String), Target>>,
    numbers: AtomicU32,
}

/// In the names of what is Ann's and nobody else's.
pub(super) const MARK: &str = "seen by few";

impl World {
    pub(crate) async fn new(app: TestApp) -> Self {
        let password_hash = app.api.passwords.hash(PASSWORD.to_owned().into()).await.unwrap();
        let nobody = Person {
            id: String::new(),
            account: String::new(),
            email: String::new(),
            session: String::new(),
            acts_for: String::new(),
        };
        let mut world = Self {
            app,
            password_hash,
            ann: nobody.clone(),
            carl: nobody.clone(),
            dora: nobody,
            hidden: Mutex::default(),
            shared: Mutex::default(),
            numbers: AtomicU32::new(1),
        };
        world.ann = world.person("ann").await;
        world.carl = world.person("carl").await;
        world.dora = world.person("dora").await;
        for secret in [MARK, &world.ann.id, &world.ann.account, &world.ann.email] {
            world.hide(secret);
        }
        let order = r#"{"name": "order.shipped", "description": "It was sent.", "schema": {"type": "object"}}"#;
        world.app.admin().post("/api/v1/events/types", order).await.data();
        world
    }

    /// A number that nothing else in this world has.
    pub(super) fn number(&self) -> u32 {
        self.app.world.advance(1);
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on nobody but Ann's account may see this.
    pub(super) fn hide(&self, text: &str) {
        self.hidden.lock().unwrap().insert(text.to_owned());
    }

    /// What of Ann's an answer shows that is not for everybody. Who offers an app is.
    pub(crate) fn leaks(&self, operation: &Operation, answer: &Answer) -> Vec<String> {
        let (body, headers) = (answer.body.to_string(), format!("{:?}", answer.headers));
        let hidden = self.hidden.lock().unwrap();
        let shown = |text: &&String| body.contains(text.as_str()) || headers.contains(text.as_str());
        let is_developer = |text: &String| operation.access == Access::Open && *text == self.ann.account;
        hidden.iter().filter(shown).filter(|text| !is_developer(text)).cloned().collect()
    }

    /// Writes somebody into the store, with an account on `enterprise` and a session in it.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let (world, number) = (&self.app.world, self.number());
        let (id, account) = (world.id(UserId::new).to_string(), world.id(AccountId::new).to_string());
        let (email, now_ms) = (format!("{name}.{number}@example.com"), world.now_ms());
        let mut tx = self.app.database.db.begin().await.unwrap();
        let sql = "INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3)";
        tx.query(sql).bind(account.clone()).bind(format!("Of {name}")).bind(now_ms).execute().await.unwrap();
        let sql = "INSERT INTO subscriptions (id, account_id, plan, started_at) VALUES ($1, $2, 'enterprise', $3)";
        let subscription = world.id(SubscriptionId::new).to_string();
        tx.query(sql).bind(subscription).bind(account.clone()).bind(now_ms).execute().await.unwrap();
        let sql = "INSERT INTO users (id, account_id, email, name, role, password_hash, created_at, email_verified_at)
                   VALUES ($1, $2, $3, $4, 'owner', $5, $6, $6)";
        let query = tx.query(sql).bind(id.clone()).bind(account.clone()).bind(email.clone()).bind(name.to_owned());
        query.bind(self.password_hash.clone()).bind(now_ms).execute().await.unwrap();
        let sql = "INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, 'owner', $3)";
        tx.query(sql).bind(account.clone()).bind(id.clone()).bind(now_ms).execute().await.unwrap();
        tx.commit().await.unwrap();
        let (_, session) = self.begin_session(&id, &account).await;
        Person { acts_for: account.clone(), id, account, email, session }
    }

    /// Somebody who has this role in Ann's account, and acts for it.
    pub(crate) async fn member(&self, role: &str) -> Person {
        let person = self.person(role).await;
        self.join(&person.id, &self.ann.account, role).await;
        Person { acts_for: self.ann.account.clone(), ..person }
    }

    pub(super) async fn join(&self, user: &str, account: &str, role: &str) {
        let sql = "INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)";
        let query = self.app.database.db.query(sql).bind(account.to_owned()).bind(user.to_owned()).bind(role.to_owned());
        query.bind(self.app.world.now_ms()).execute().await.unwrap();
    }

    /// Its id and its token.
    pub(super) async fn begin_session(&self, user: &str, account: &str) -> (String, String) {
        let world = &self.app.world;
        let (id, token) = (world.id(SessionId::new).to_string(), SessionToken::mint(world.random()));
        let sql = "INSERT INTO sessions (id, user_id, account_id, hash, address, user_agent, second_factor, created_at,
                       last_used_at, expires_at)
                   VALUES ($1, $2, $3, $4, '127.0.0.1', '', FALSE, $5, $5, $6)";
        let query = self.app.database.db.query(sql).bind(id.clone()).bind(user.to_owned()).bind(account.to_owned());
        let query = query.bind(token.hash().as_bytes().to_vec()).bind(world.now_ms());
        query.bind(world.now_ms() + 24 * 60 * 60 * 1_000).execute().await.unwrap();
        (id, token.reveal().to_owned())
    }

    /// With somebody's session, in the account that they act for.
    pub(crate) fn by(&self, person: &Person) -> Client<'_> {
        self.app.with_key(&person.session).header("x-clearway-account", &person.acts_for)
    }

    pub(crate) async fn try_on(&self, client: Client<'_>, operation: &Operation, target: &Target) -> Answer {
        client.send(operation.method.clone(), &operation.at(&target.ids), &target.body).await
    }

    /// What this operation is tried on by somebody who may do it: something of `of`, or of `who` where it is about a person.
    /// Those that only read share one; every other has one of its own, which it may consume.
    pub(crate) async fn tried_on(&self, operation: &Operation, of: &Person, who: &Person) -> Target {
        if operation.reads() { self.refused_on(operation, of, who).await } else { self.made(operation, of, who).await }
    }

    /// The same by somebody who may not: the one that all of those share.
    pub(crate) async fn refused_on(&self, operation: &Operation, of: &Person, who: &Person) -> Target {
        let whose = if operation.path.starts_with("/users/me/") { &who.id } else { &of.account };
        let place = (operation.name(), whose.clone());
        if let Some(target) = self.shared.lock().unwrap().get(&place) {
            return target.clone();
        }
        let target = self.made(operation, of, who).await;
        self.shared.lock().unwrap().insert(place, target.clone());
        target
    }

    pub(crate) async fn made(&self, operation: &Operation, of: &Person, who: &Person) -> Target {
        let (owner, ids) = match operation.parameters() {
            0 => (Owner::Account, Vec::new()),
            _ => {
                let object = self.object(operation, of, who).await;
                object.unwrap_or_else(|| panic!("{}: say in isolation/objects.rs what its path leads to", operation.name()))
            }
        };
        assert_eq!(ids.len(), operation.parameters(), "{}", operation.name());
        if of.id == self.ann.id && matches!(owner, Owner::Account | Owner::Person) {
            // Those of Dora's apps are for everybody.
            ids.iter().filter(|id| !id.starts_with("app_") || ids.len() == 1).for_each(|id| self.hide(id));
        }
        let body = self.body(operation, of).await;
        Target { owner, ids, body: body.as_ref().map(Value::to_string).unwrap_or_default() }
    }
}
