//! Two editors do not overwrite each other: what can be changed has an `ETag`, and whatever changes it takes `If-Match`.

use http::Method;

use super::{Doer, Exceptions, all_needed, reason};
use crate::{
    app::{Answer, TestApp, on_both},
    document::operations,
    isolation::world::World,
};

const ONLY_ENDS: &str = "it can only be ended: there is nothing that another could have edited meanwhile";
const ADDS: &str = "it adds, and replaces nothing";

const LIVE: &str = "what everybody sees of the version that is live; its developer edits what /developer/apps/{id} shows";

/// What changes or ends something without `If-Match`.
const UNVERSIONED: Exceptions = &[
    ("DELETE /admin/proxies/{id}", ONLY_ENDS),
    ("DELETE /admin/users/{id}", "the person is erased, whatever they are called meanwhile"),
    ("DELETE /members/invitations/{id}", ONLY_ENDS),
    ("DELETE /members/{id}", "the role is read and the member removed under one lock, and no role is a reason to keep one"),
    ("DELETE /oauth/grants/{id}", ONLY_ENDS),
    ("DELETE /oauth/registration-tokens/{id}", ONLY_ENDS),
    ("DELETE /users/me", "by the password, and for good"),
    ("DELETE /users/me/identities/{id}", ONLY_ENDS),
    ("DELETE /users/me/passkeys/{id}", "by the password and a code; its name is all that can be edited"),
    ("DELETE /users/me/sessions", ONLY_ENDS),
    ("DELETE /users/me/sessions/{id}", ONLY_ENDS),
    ("PATCH /users/me/passkeys/{id}", "a name, which one person gives"),
    ("PUT /admin/gateway", "the whole document, as a file has it; `dry_run` says what it would change"),
    ("PUT /installations/{id}/keys/{key_id}", ADDS),
    ("PUT /installations/{id}/webhooks/{webhook_id}", ADDS),
    ("PUT /members/{id}", "one word, which is set and not derived from the one before"),
];

/// What is read without an `ETag` though something at its path changes it.
const UNTAGGED: Exceptions = &[("GET /apps/{id}", LIVE), ("GET /marketplace/apps/{id}", LIVE)];

fn etag(answer: &Answer) -> Option<String> {
    answer.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_changed_is_changed_only_by_whoever_has_seen_it() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let all = operations();
        let changes = |method: &Method| matches!(*method, Method::PUT | Method::PATCH | Method::DELETE);
        let changing: Vec<_> = all.iter().filter(|operation| changes(&operation.method)).collect();
        let is_guarded = |name: &str, headers: &[String]| headers.iter().any(|header| header == name);
        all_needed(UNVERSIONED, changing.iter().copied().filter(|operation| !is_guarded("If-Match", &operation.headers)));
        let mut faults = Vec::new();
        for operation in changing {
            let name = operation.name();
            if !is_guarded("If-Match", &operation.headers) {
                faults.extend(reason(UNVERSIONED, operation).is_none().then(|| format!("{name} takes no If-Match")));
                continue;
            }
            let doer = Doer::of(&world, operation).await;
            let target = doer.target(operation).await;
            let stale = world.try_on(doer.client().header("if-match", "\"999\""), operation, &target).await;
            if (stale.status.as_u16(), stale.code()) != (412, "precondition_failed") {
                faults.push(format!("{name} answers {} to another version: {}", stale.status, stale.body["error"]));
            }
            let malformed = world.try_on(doer.client().header("if-match", "999"), operation, &target).await;
            if (malformed.status.as_u16(), malformed.code()) != (400, "validation_error") {
                faults.push(format!("{name} answers {} to what is no ETag", malformed.status));
            }
            let reader = all.iter().find(|other| other.reads() && other.path == operation.path);
            let seen = match reader {
                Some(reader) => etag(&world.try_on(doer.client(), reader, &target).await),
                None => None,
            };
            let client = seen.iter().fold(doer.client(), |client, tag| client.header("if-match", tag));
            let done = world.try_on(client, operation, &target).await;
            if !done.status.is_success() {
                faults.push(format!("{name} answers {} to {seen:?}: {}", done.status, done.body["error"]));
            }
            if operation.method != Method::DELETE && etag(&done).is_none() {
                faults.push(format!("{name} answers without the new ETag"));
            }
        }
        for operation in all.iter().filter(|operation| operation.reads() && operation.parameters() > 0) {
            let is_changed = all
                .iter()
                .any(|other| other.path == operation.path && (other.method == Method::PUT || other.method == Method::PATCH));
            if !is_changed {
                continue;
            }
            let doer = Doer::of(&world, operation).await;
            let read = world.try_on(doer.client(), operation, &doer.target(operation).await).await;
            let excepted = reason(UNTAGGED, operation).is_some();
            if etag(&read).is_none() && !excepted {
                faults.push(format!("{} answers {} without an ETag", operation.name(), read.status));
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}
