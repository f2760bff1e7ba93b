//! What is named elsewhere than in a path: in a query or in a body. Another's is not found there either.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    strangers::key_of,
    world::{Person, Target, World},
};
use crate::{
    app::{TestApp, on_both},
    document::{Access, Operation, operations},
};

/// What a body selects by, as a query does.
const SELECTIONS: &[&str] = &["POST /deliveries/replay"];

/// What names something in an account, by the name of the member or of the parameter. `None`: it names nothing of ours.
async fn of_ann(world: &World) -> BTreeMap<&'static str, Option<String>> {
    let ann = &world.ann;
    let ids = BTreeMap::from([
        ("account_id", Some(ann.account.clone())),
        ("app_id", Some(world.draft_app(ann).await)),
        ("client_id", Some(world.client(ann).await)),
        ("event_id", Some(world.event(ann).await.1)),
        ("key_id", Some(world.key(ann, &["read:apps"]).await)),
        ("user_id", Some(ann.id.clone())),
        ("webhook_id", Some(world.webhook(ann).await)),
        // The caller's own word for what an event is about.
        ("object_id", None),
    ]);
    ids.values().flatten().for_each(|id| world.hide(id));
    ids
}

#[tokio::test]
async fn what_is_anothers_is_not_found_by_a_query_or_a_body_either() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let ids = of_ann(&world).await;
        let key = key_of(&world, &world.carl).await;
        let (mut faults, mut tried) = (Vec::new(), 0);
        for operation in operations() {
            let names = operation.query.iter().map(|name| (true, name)).chain(operation.fields.iter().map(|name| (false, name)));
            for (in_query, name) in names.filter(|(_, name)| name.ends_with("_id")) {
                let known = ids.get(name.as_str());
                let Some(id) = known.unwrap_or_else(|| panic!("{}: say what `{name}` names", operation.name())) else { continue };
                let fault = tried_with(&world, &key, &operation, (in_query, name, id)).await;
                faults.extend(fault.map(|fault| format!("{} with {name}: {fault}", operation.name())));
                tried += 1;
            }
        }
        assert!(tried > 20, "the document lost its references: {tried}");
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}

async fn tried_with(world: &World, key: &str, operation: &Operation, given: (bool, &str, &String)) -> Option<String> {
    let (in_query, name, id) = given;
    let person: Person = world.person("eve").await;
    let client = if operation.access == Access::Session { world.by(&person) } else { world.app.with_key(key) };
    let mine = if operation.access == Access::Session { &person } else { &world.carl };
    let target: Target = world.tried_on(operation, mine, mine).await;
    let (mut path, mut body) = (operation.at(&target.ids), target.body);
    if in_query {
        path += &format!("?{name}={id}");
    } else {
        let mut with: Value = serde_json::from_str(&body).unwrap();
        with[name] = id.as_str().into();
        body = with.to_string();
    }
    let before = world.rows_of_ann(std::slice::from_ref(id)).await;
    let answer = client.send(operation.method.clone(), &path, &body).await;
    let after = world.rows_of_ann(std::slice::from_ref(id)).await;
    let (status, leaks) = (answer.status.as_u16(), world.leaks(operation, &answer));
    if before != after {
        return Some(format!("{status}, and it changes {:#?}", before.symmetric_difference(&after)));
    }
    if !leaks.is_empty() {
        return Some(format!("{status}, and it shows {leaks:?}"));
    }
    // A filter may find nothing. An account, and whatever is to be changed, is not found.
    let right = match (name, operation.reads()) {
        ("account_id", _) => status == 404 || operation.access == Access::Open,
        (_, true) => status == 200 || status == 404,
        _ if SELECTIONS.contains(&operation.name().as_str()) => status == 200,
        (_, false) => (400..500).contains(&status),
    };
    (!right).then(|| format!("{status}: {:#}", answer.body))
}
