//! What each role may do in its account, and what only those may who run Clearway: as the document says it.

use clearway_config::{Scopes, scope::ADMIN};
use clearway_control::members::Role;

use super::world::{Owner, Person, World};
use crate::{
    app::{Answer, TestApp, on_both},
    document::{Access, Operation, operations},
};

/// What an operation answers to somebody who may do it, where that is no success: its state or what it needs beside the
/// permission is not of this test.
const OTHERWISE: &[(&str, u16, &str)] = &[
    ("POST /admin/users/{id}/impersonate", 201, "by an admin who has signed in"),
    ("POST /invitations/accept", 400, "the token was not mailed"),
    ("POST /users/me/email/confirm", 400, "the token was not mailed"),
    ("POST /users/me/identities", 404, "no provider is set up"),
    ("POST /users/me/passkeys", 409, "browsers have none where people find the gateway without TLS"),
    ("POST /users/me/passkeys/confirm", 400, "no authenticator has made it"),
    ("DELETE /users/me/passkeys/{id}", 401, "it is a second factor, which is asked for"),
    ("POST /users/me/second-factor/confirm", 401, "no seed was given out"),
    ("POST /users/me/second-factor/disable", 404, "there is none"),
    ("POST /users/me/second-factor/passkey", 409, "there is none"),
    ("POST /users/me/second-factor/passkey/confirm", 400, "no authenticator has made it"),
    ("POST /users/me/second-factor/recovery-codes", 404, "there is none"),
    ("POST /webhooks/{id}/test", 409, "the webhook is idle"),
];

/// Sessions' operations on an account, and from which role on.
const MEMBERS: &[(&str, Role)] = &[
    ("GET /members", Role::Viewer),
    ("GET /members/invitations", Role::Viewer),
    ("POST /members/invitations", Role::Admin),
    ("DELETE /members/invitations/{id}", Role::Admin),
    ("PUT /members/{id}", Role::Admin),
    ("DELETE /members/{id}", Role::Admin),
    ("POST /members/transfer", Role::Owner),
];

/// What is about the person who asks, in whichever role.
fn is_personal(operation: &Operation) -> bool {
    ["/users/me", "/auth/", "/invitations/accept"].iter().any(|start| operation.path.starts_with(start))
}

fn may(operation: &Operation, role: Role) -> bool {
    match &operation.access {
        Access::Open => true,
        Access::Scope(scope) => Scopes::contains(&role.scopes(false), scope),
        Access::Session if is_personal(operation) => true,
        Access::Session => {
            let row = MEMBERS.iter().find(|(name, _)| *name == operation.name());
            let (_, least) = row.unwrap_or_else(|| panic!("{}: say in MEMBERS who may", operation.name()));
            let rank = |role: Role| Role::ALL.iter().position(|other| *other == role).unwrap();
            rank(role) <= rank(*least)
        }
    }
}

/// What is wrong with an answer to somebody who may do it.
fn refusal(operation: &Operation, answer: &Answer) -> Option<String> {
    let (name, status) = (operation.name(), answer.status.as_u16());
    let expected = OTHERWISE.iter().find(|(other, ..)| *other == name);
    let right = expected.map_or(answer.status.is_success(), |(_, otherwise, _)| *otherwise == status);
    (!right).then(|| format!("{name} answers {status}: {}", answer.body["error"]))
}

#[tokio::test]
async fn each_role_may_do_what_the_document_asks_for_and_no_more() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let mut faults = Vec::new();
        for operation in operations().iter().filter(|operation| operation.access != Access::Open) {
            for role in Role::ALL {
                let who = world.member(role.as_str()).await;
                if may(operation, role) {
                    let target = world.tried_on(operation, &world.ann, &who).await;
                    let answer = world.try_on(world.by(&who), operation, &target).await;
                    faults.extend(refusal(operation, &answer).map(|fault| format!("{role:?}: {fault}")));
                } else {
                    faults.extend(permitted(&world, operation, &who).await.map(|fault| format!("{role:?}: {fault}")));
                }
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}

/// What is wrong with an answer to somebody who may not.
async fn permitted(world: &World, operation: &Operation, who: &Person) -> Option<String> {
    let target = world.refused_on(operation, &world.ann, who).await;
    let answer = world.try_on(world.by(who), operation, &target).await;
    let refused = (answer.status.as_u16(), answer.code()) == (403, "scope_missing");
    (!refused).then(|| format!("{} answers {} {}, and must not", operation.name(), answer.status, answer.code()))
}

#[tokio::test]
async fn who_runs_clearway_may_do_what_is_for_them_and_their_developers_may_not() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let platform = world.app.admin().get("/api/v1/keys").await.data()["items"][0]["account_id"].as_str().unwrap().to_owned();
        let mut faults = Vec::new();
        for operation in operations().iter().filter(|operation| operation.access == Access::Scope(ADMIN.into())) {
            for role in Role::ALL {
                let who = Person { acts_for: platform.clone(), ..world.person("operator").await };
                world.join(&who.id, &platform, role.as_str()).await;
                if role.manages() {
                    let target = world.tried_on(operation, &world.ann, &who).await;
                    assert!(target.ids.is_empty() || target.owner == Owner::Platform, "{}", operation.name());
                    let answer = world.try_on(world.by(&who), operation, &target).await;
                    faults.extend(refusal(operation, &answer).map(|fault| format!("{role:?}: {fault}")));
                } else {
                    faults.extend(permitted(&world, operation, &who).await.map(|fault| format!("{role:?}: {fault}")));
                }
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}
