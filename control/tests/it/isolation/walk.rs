//! Accounts that do whatever comes to them, beside each other and to each other: what each sees is what it has made itself.

use clearway_config::scope::{ADMIN, CLEARWAY_SCOPES};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::app::{Client, TestApp, on_both};

const ACCOUNTS: usize = 3;
const WALKS: usize = 4;
const STEPS: usize = 70;

/// A kind of object: its path, the field that it is known by, and what else it needs.
struct Kind {
    path: &'static str,
    label: &'static str,
    body: Value,
}

#[derive(Debug, Clone)]
enum Step {
    Make {
        by: usize,
        kind: usize,
    },
    List {
        by: usize,
        kind: usize,
    },
    /// Of anybody's, the one that `pick` falls on.
    Read {
        by: usize,
        pick: usize,
    },
    Change {
        by: usize,
        pick: usize,
    },
    Delete {
        by: usize,
        pick: usize,
    },
}

/// An object as it should be.
struct Made {
    kind: usize,
    owner: usize,
    id: String,
    label: String,
    deleted: bool,
}

fn kinds() -> Vec<Kind> {
    let client = json!({"redirect_uris": ["https://app.example/"], "scopes": ["read:stores"]});
    let webhook = json!({"url": "https://example.com/hook", "events": ["product.*"]});
    vec![
        Kind { path: "/api/v1/keys", label: "name", body: json!({"scopes": ["read:keys"]}) },
        Kind { path: "/api/v1/stores", label: "name", body: json!({"currency": "USD"}) },
        Kind { path: "/api/v1/webhooks", label: "description", body: webhook },
        Kind { path: "/api/v1/portfolio/projects", label: "title", body: json!({}) },
        Kind { path: "/api/v1/oauth/clients", label: "name", body: client },
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (by, kind) = (0..ACCOUNTS, 0..kinds().len());
    let one = prop_oneof![
        3 => (by.clone(), kind.clone()).prop_map(|(by, kind)| Step::Make { by, kind }),
        2 => (by.clone(), kind).prop_map(|(by, kind)| Step::List { by, kind }),
        2 => (by.clone(), any::<usize>()).prop_map(|(by, pick)| Step::Read { by, pick }),
        2 => (by.clone(), any::<usize>()).prop_map(|(by, pick)| Step::Change { by, pick }),
        1 => (by, any::<usize>()).prop_map(|(by, pick)| Step::Delete { by, pick }),
    ];
    vec(one, STEPS)
}

struct Walk<'a> {
    app: &'a TestApp,
    kinds: Vec<Kind>,
    keys: Vec<String>,
    made: Vec<Made>,
    /// Labels are given once.
    labels: usize,
}

impl Walk<'_> {
    fn by(&self, account: usize) -> Client<'_> {
        self.app.with_key(&self.keys[account])
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("Object {}", self.labels)
    }

    fn body(&self, kind: usize, label: &str) -> String {
        let mut body = self.kinds[kind].body.clone();
        body[self.kinds[kind].label] = json!(label);
        body.to_string()
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Make { by, kind } => {
                let label = self.label();
                let answer = self.by(by).post(self.kinds[kind].path, &self.body(kind, &label)).await;
                if answer.body["error"]["type"] == "plan_limit_reached" {
                    return;
                }
                let id = answer.id().to_owned();
                self.made.push(Made { kind, owner: by, id, label, deleted: false });
            }
            Step::List { by, kind } => self.list(by, kind).await,
            Step::Read { by, pick } | Step::Change { by, pick } | Step::Delete { by, pick } => {
                if self.made.is_empty() {
                    return;
                }
                self.reach(step, by, pick % self.made.len()).await;
            }
        }
    }

    /// All that an account has made and not deleted, and nothing of anybody else's.
    async fn list(&self, by: usize, kind: usize) {
        let answer = self.by(by).get(&format!("{}?limit=100", self.kinds[kind].path)).await;
        let listed: Vec<&str> = answer.data()["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        let of_kind = || self.made.iter().filter(|made| made.kind == kind);
        for made in of_kind().filter(|made| made.owner != by) {
            assert!(!listed.contains(&made.id.as_str()), "{} is another's", made.id);
        }
        for made in of_kind().filter(|made| made.owner == by && !made.deleted) {
            assert!(listed.contains(&made.id.as_str()), "{} is missing", made.id);
        }
    }

    async fn reach(&mut self, step: &Step, by: usize, nth: usize) {
        let (changed, made) = (self.label(), &self.made[nth]);
        let (path, kind) = (format!("{}/{}", self.kinds[made.kind].path, made.id), made.kind);
        let answer = match step {
            Step::Change { .. } => self.by(by).put(&path, &self.body(kind, &changed)).await,
            Step::Delete { .. } => self.by(by).delete(&path).await,
            _ => self.by(by).get(&path).await,
        };
        if made.owner != by {
            return answer.refused(404, "not_found");
        }
        if made.deleted {
            return; // What a kind says of what is gone is its own affair.
        }
        assert!(answer.status.is_success(), "{step:?} at {path}: {}", answer.body);
        let data = answer.data().clone();
        let label = self.kinds[kind].label;
        let made = &mut self.made[nth];
        match step {
            Step::Change { .. } => made.label = changed,
            Step::Delete { .. } => made.deleted = true,
            _ => assert_eq!(data[label], json!(made.label), "{path}"),
        }
    }
}

#[tokio::test]
async fn whatever_accounts_do_each_sees_and_changes_its_own_alone() {
    on_both(async |app: TestApp| {
        let scopes: Vec<&str> = CLEARWAY_SCOPES.iter().copied().filter(|scope| *scope != ADMIN).collect();
        let mut runner = TestRunner::deterministic();
        for _ in 0..WALKS {
            let mut keys = Vec::new();
            for _ in 0..ACCOUNTS {
                keys.push(app.account(&scopes).await.1);
            }
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let mut walk = Walk { app: &app, kinds: kinds(), keys, made: Vec::new(), labels: 0 };
            for step in &steps {
                walk.take(step).await;
            }
            assert!(walk.made.len() > ACCOUNTS * 2, "{steps:?}");
            for made in 0..walk.made.len() {
                for by in 0..ACCOUNTS {
                    walk.reach(&Step::Read { by, pick: made }, by, made).await;
                }
            }
        }
    })
    .await;
}
