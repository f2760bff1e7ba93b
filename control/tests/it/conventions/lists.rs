//! Every list comes in pages of a bounded size, one after the other by a cursor, and loses and repeats nothing.

use serde_json::Value;

use super::{Doer, Exceptions, all_needed, reason};
use crate::{
    app::{Answer, TestApp, on_both},
    document::{Operation, operations},
    isolation::world::{Target, World},
};

/// Lists that come whole.
const UNPAGED: Exceptions = &[
    ("GET /apps/categories", "a closed set, which the code names"),
    ("GET /apps/collections", "at most 100"),
    ("GET /apps/suggestions", "at most 10: what is shown below a field while somebody writes"),
    ("GET /billing/plans", "those of a file that whoever runs Clearway writes"),
    ("GET /users/me/identities", "at most 10"),
    ("GET /users/me/passkeys", "at most 20"),
];

/// Pages without an offset: by a cursor alone.
const NO_OFFSET: Exceptions = &[
    ("GET /admin/audit/chain", "links are in one order, and asked for after the last that was read"),
    ("GET /analytics/usage", "its pages are of the keys that were used; offsets are refused"),
    ("GET /marketplace/analytics/usage", "as GET /analytics/usage"),
    ("GET /events", "a feed, which is read after the last event that was seen"),
    ("GET /events/types", "by name; offsets are refused"),
];

/// Where the lines stand.
fn items<'a>(operation: &Operation, answer: &'a Answer) -> Option<&'a Vec<Value>> {
    let name = match operation.path.trim_start_matches("/marketplace") {
        "/analytics/usage" => "keys",
        "/webhooks/{id}/logs" => "logs",
        _ => "items",
    };
    answer.body["data"][name].as_array()
}

fn is_paged(operation: &Operation) -> bool {
    operation.query.iter().any(|name| name == "limit")
}

async fn page(doer: &Doer<'_>, operation: &Operation, target: &Target, query: &str) -> Answer {
    let query = if operation.path == "/apps/suggestions" { format!("{query}&q=off") } else { query.to_owned() };
    doer.client().get(&format!("{}?{query}", operation.at(&target.ids))).await
}

#[tokio::test]
async fn every_list_comes_in_bounded_pages() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let all = operations();
        let reads: Vec<_> = all.iter().filter(|operation| operation.reads()).collect();
        // Three of each kind, so that there is something to page.
        for _ in 0..3 {
            for operation in &reads {
                let doer = Doer::of(&world, operation).await;
                doer.target(operation).await;
            }
        }
        let (mut faults, mut whole) = (Vec::new(), Vec::new());
        for operation in reads.iter().copied() {
            let doer = Doer::of(&world, operation).await;
            let target = world.tried_on(operation, &world.ann, &doer.person).await;
            if is_paged(operation) {
                let found = paged(&doer, operation, &target).await;
                faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", operation.name())));
            } else if items(operation, &page(&doer, operation, &target, "").await).is_some() {
                whole.push(operation);
                if reason(UNPAGED, operation).is_none() {
                    faults.push(format!("{} is a list without pages", operation.name()));
                }
            }
        }
        all_needed(UNPAGED, whole);
        all_needed(NO_OFFSET, reads.iter().copied().filter(|operation| is_paged(operation)));
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}

async fn paged(doer: &Doer<'_>, operation: &Operation, target: &Target) -> Vec<String> {
    let mut faults = Vec::new();
    for wrong in ["limit=0", "limit=1000001", "limit=x", "limit=-1", "limit="] {
        let answer = page(doer, operation, target, wrong).await;
        if (answer.status.as_u16(), answer.code()) != (400, "validation_error") {
            faults.push(format!("{wrong} is answered {}", answer.status));
        }
    }
    let has = |name: &str| operation.query.iter().any(|other| other == name);
    if !has("cursor") && !has("after") {
        faults.push("there is no cursor".into());
    }
    if !has("offset") && reason(NO_OFFSET, operation).is_none() {
        faults.push("there is no offset".into());
    }
    let whole = page(doer, operation, target, "limit=100").await;
    let Some(lines) = items(operation, &whole) else {
        faults.push(format!("the lines are not found in {:#}", whole.body));
        return faults;
    };
    let first = page(doer, operation, target, "limit=1").await;
    if items(operation, &first).is_none_or(|lines| lines.len() > 1) {
        faults.push("limit=1 has more than one line".into());
    }
    if has("cursor") {
        match through(doer, operation, target, lines.len()).await {
            Ok(read) if read == *lines => {}
            Ok(read) => faults.push(format!("page by page it has {} lines, and at once {}", read.len(), lines.len())),
            Err(fault) => faults.push(fault),
        }
    }
    if has("offset") && reason(NO_OFFSET, operation).is_none() && lines.len() > 1 {
        let second = page(doer, operation, target, "limit=1&offset=1").await;
        if items(operation, &second).and_then(|lines| lines.first()) != lines.get(1) {
            faults.push("offset=1 does not begin with the second line".into());
        }
    }
    faults
}

/// Every page of two lines, by the cursor.
async fn through(doer: &Doer<'_>, operation: &Operation, target: &Target, count: usize) -> Result<Vec<Value>, String> {
    let (mut read, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = if cursor.is_empty() { "limit=2".to_owned() } else { format!("limit=2&cursor={cursor}") };
        let answer = page(doer, operation, target, &query).await;
        let lines =
            items(operation, &answer).ok_or_else(|| format!("{query} is answered {}: {:#}", answer.status, answer.body))?;
        read.extend(lines.iter().cloned());
        match answer.body["data"]["next_cursor"].as_str() {
            // What is listed may have been more than a hundred.
            Some(_) if read.len() >= count.max(100) => return Ok(read),
            Some(next) => cursor = next.to_owned(),
            None => return Ok(read),
        }
    }
}
