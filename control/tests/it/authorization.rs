//! Every operation of the document is closed to strangers, except those in a ledger that may only shrink;
//! and one account's key opens nothing of another's.

use std::collections::BTreeSet;

use clearway_config::scope::{ADMIN, CLEARWAY_SCOPES};
use clearway_control::api;
use http::Method;
use serde_json::Value;

use crate::{
    app::{TestApp, on_both},
    databases::Engine,
};

struct Operation {
    method: Method,
    path: String,
    /// What the document says that a key must hold.
    scopes: Vec<String>,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn body(&self) -> &'static str {
        if self.method == Method::PUT && self.path.ends_with("/plan") {
            r#"{"plan": "starter"}"#
        } else if self.method == Method::POST && (self.path.ends_with("/keys") || self.path.ends_with("/accounts")) {
            r#"{"name": "x"}"#
        } else {
            ""
        }
    }
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation.pointer("/security/0/key").and_then(Value::as_array).cloned().unwrap_or_default();
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                scopes: scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(operations.len() > 20, "the document lost operations");
    operations
}

#[tokio::test]
async fn strangers_are_refused_except_where_the_ledger_says_so() {
    let app = TestApp::new(Engine::Sqlite).await;
    let mut open = BTreeSet::new();
    for operation in operations() {
        let path = operation.path.replace("{id}", "key_0000000000000000000000").replace("{name}", "order.shipped");
        let answer = app.anyone().send(operation.method.clone(), &path, operation.body()).await;
        if answer.status == 401 {
            assert_eq!(answer.code(), "key_missing");
        } else {
            open.insert(operation.name());
        }
    }
    let ledger: BTreeSet<String> = include_str!("unauthorized_routes.txt").lines().map(str::to_owned).collect();
    assert_eq!(open, ledger, "unauthorized_routes.txt lists what anyone may call, and may only shrink");
}

#[tokio::test]
async fn each_operation_asks_for_the_scope_that_the_document_names() {
    let app = TestApp::new(Engine::Sqlite).await;
    for operation in operations().iter().filter(|operation| !operation.scopes.is_empty()) {
        let all_others: Vec<&str> = CLEARWAY_SCOPES
            .iter()
            .copied()
            .filter(|scope| *scope != ADMIN && !operation.scopes.contains(&(*scope).into()))
            .collect();
        let (_, key) = app.account(&all_others).await;
        let path = operation.path.replace("{id}", "key_0000000000000000000000").replace("{name}", "order.shipped");
        let answer = app.with_key(&key).send(operation.method.clone(), &path, operation.body()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "scope_missing"), "{}", operation.name());
        assert_eq!(answer.body["error"]["details"]["scope"].as_str(), operation.scopes.first().map(String::as_str));
    }
}

#[tokio::test]
async fn another_accounts_objects_are_not_found() {
    on_both(async |app: TestApp| {
        let (_, owner) = app.account(&["read:keys", "write:keys"]).await;
        let every: Vec<&str> = CLEARWAY_SCOPES.iter().copied().filter(|scope| *scope != ADMIN).collect();
        let (_, other) = app.account(&every).await;
        let theirs = app.with_key(&owner).post("/api/v1/keys", r#"{"name": "a"}"#).await;
        let unknown = "key_0000000000000000000000";
        let mut checked = 0;
        for operation in operations().iter().filter(|operation| operation.path.contains("/keys/{id}")) {
            let asked = async |id: &str| {
                let path = operation.path.replace("{id}", id);
                let mut answer = app.with_key(&other).send(operation.method.clone(), &path, operation.body()).await;
                answer.refused(404, "not_found");
                answer.body["error"].take()
            };
            assert_eq!(asked(theirs.id()).await, asked(unknown).await, "{}", operation.name());
            checked += 1;
        }
        assert_eq!(checked, 10, "five operations at two paths");
        let read = app.with_key(&owner).get(&format!("/api/v1/keys/{}", theirs.id())).await;
        assert_eq!(read.data()["status"], "active");
        let account = read.data()["account_id"].as_str().unwrap();
        let body = format!(r#"{{"name": "x", "account_id": "{account}"}}"#);
        app.with_key(&other).post("/api/v1/keys", &body).await.refused(404, "not_found");
        app.with_key(&other).get(&format!("/api/v1/keys?account_id={account}")).await.refused(404, "not_found");
        assert_eq!(app.with_key(&other).get("/api/v1/keys").await.data()["total"], 1);
        let admin = app.admin().get(&format!("/api/v1/keys?account_id={account}")).await;
        assert_eq!(admin.data()["total"], 2);
    })
    .await;
}
