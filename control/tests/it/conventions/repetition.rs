//! What is sent again under the same `Idempotency-Key` is not done again, and is answered as before.

use http::Method;

use super::{Doer, Exceptions, all_needed, reason};
use crate::{
    app::{TestApp, on_both},
    document::operations,
    isolation::world::World,
};

const SIGNS_IN: &str = "signing in: nothing is stored of an answer that signs somebody in, and each proof is good once";
const ONE_TIME: &str = "by what is good once, so that it is not done twice";
const CONFIRMED: &str = "asks for the password each time, and nothing is stored of an answer that holds a secret";
const NAMES: &str = "sets what it names: done twice it is as done once";

/// What has no `Idempotency-Key`.
const UNREPEATABLE: Exceptions = &[
    ("POST /auth/accept-invitation", ONE_TIME),
    ("POST /auth/login", SIGNS_IN),
    ("POST /auth/logout", NAMES),
    ("POST /auth/passkey", SIGNS_IN),
    ("POST /auth/passkey/confirm", SIGNS_IN),
    ("POST /auth/providers/{name}", SIGNS_IN),
    ("POST /auth/refresh", SIGNS_IN),
    ("POST /auth/register", "a mail to an address; it is answered the same whether there is an account or not"),
    ("POST /auth/reset-password", "a mail to an address; they are counted"),
    ("POST /auth/reset-password/confirm", ONE_TIME),
    ("POST /auth/second-factor", SIGNS_IN),
    ("POST /auth/second-factor/passkey", SIGNS_IN),
    ("POST /auth/sign-in-link", "a mail to an address; they are counted"),
    ("POST /auth/sign-in-link/confirm", SIGNS_IN),
    ("POST /auth/verify-email", ONE_TIME),
    ("POST /auth/verify-email/resend", "a mail to an address; they are counted"),
    ("POST /invitations/accept", ONE_TIME),
    ("POST /members/invitations", "an address is invited once: a repetition takes the place of the first"),
    ("POST /members/transfer", CONFIRMED),
    ("POST /users/me/email", CONFIRMED),
    ("POST /users/me/email/confirm", ONE_TIME),
    ("POST /users/me/identities", CONFIRMED),
    ("POST /users/me/passkeys", CONFIRMED),
    ("POST /users/me/passkeys/confirm", ONE_TIME),
    ("POST /users/me/password", CONFIRMED),
    ("POST /users/me/second-factor", CONFIRMED),
    ("POST /users/me/second-factor/confirm", CONFIRMED),
    ("POST /users/me/second-factor/disable", CONFIRMED),
    ("POST /users/me/second-factor/passkey", ONE_TIME),
    ("POST /users/me/second-factor/passkey/confirm", ONE_TIME),
    ("POST /users/me/second-factor/recovery-codes", CONFIRMED),
];

/// What takes the header, and is not replayed as all others are.
const OTHERWISE: Exceptions = &[
    ("POST /events", "kept with the events, for as long as they are: see events.rs"),
    ("POST /webhooks/{id}/recover", "the document's example is a dry run, of which nothing is kept"),
    ("POST /webhooks/{id}/test", "waits for what a receiver answers: see deliveries.rs"),
    ("POST /admin/users/{id}/impersonate", "for somebody who has signed in: see admin_users.rs"),
];

#[tokio::test]
async fn what_is_sent_again_under_its_key_is_answered_as_before() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let all = operations();
        let posts: Vec<_> = all.iter().filter(|operation| operation.method == Method::POST).collect();
        let is_repeatable = |headers: &[String]| headers.iter().any(|header| header == "Idempotency-Key");
        all_needed(UNREPEATABLE, posts.iter().copied().filter(|operation| !is_repeatable(&operation.headers)));
        all_needed(OTHERWISE, posts.iter().copied().filter(|operation| is_repeatable(&operation.headers)));
        let mut faults = Vec::new();
        for operation in posts {
            let name = operation.name();
            if !is_repeatable(&operation.headers) {
                let excepted = reason(UNREPEATABLE, operation).is_some();
                faults.extend((!excepted).then(|| format!("{name} takes no Idempotency-Key")));
                continue;
            }
            if reason(OTHERWISE, operation).is_some() {
                continue;
            }
            let doer = Doer::of(&world, operation).await;
            let target = doer.target(operation).await;
            let keyed = || doer.client().header("idempotency-key", &name);
            let first = world.try_on(keyed(), operation, &target).await;
            let again = world.try_on(keyed(), operation, &target).await;
            if !first.status.is_success() {
                faults.push(format!("{name} answers {}: {}", first.status, first.body["error"]));
            } else if first.headers.contains_key("idempotency-replayed") {
                faults.push(format!("{name}: the first is no repetition"));
            } else if again.status != first.status || again.headers.get("idempotency-replayed").is_none_or(|yes| yes != "true") {
                faults.push(format!("{name} answers {} to a repetition: {}", again.status, again.body["error"]));
            } else if again.body["data"]["id"] != first.body["data"]["id"] {
                faults.push(format!("{name} was done again"));
            }
            let mut other = target.clone();
            other.body = if target.body.is_empty() { "{}".into() } else { format!("{} ", target.body) };
            let reused = world.try_on(keyed(), operation, &other).await;
            if (reused.status.as_u16(), reused.code()) != (422, "idempotency_key_reused") {
                faults.push(format!("{name} answers {} to another request under its key", reused.status));
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}
