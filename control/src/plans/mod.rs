//! Plans: what accounts subscribe to. They come from `plans.toml` at every start. A plan that is no
//! longer in the file is retired: no account can move to it, those that are on it stay.

mod feed;
mod http;
mod store;

use std::collections::HashMap;

use clearway_config::settings::{Plan, Plans};

pub use feed::PlanFeed;
pub use http::routes;
pub use store::first_offered;

use crate::{
    db::{self, Db},
    sync::{self, ChangeKind},
    world::World,
};

/// What a load found worth saying.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub changed: usize,
    /// Retired plans that accounts are still on, and how many.
    pub in_use: Vec<(String, i64)>,
}

/// Brings the database to what the file says; proxies hear of every plan that changed.
pub async fn load(db: &Db, world: &World, file: &Plans) -> db::Result<Loaded> {
    let mut tx = db.begin().await?;
    let stored: HashMap<String, store::Stored> =
        store::all(&mut tx).await?.into_iter().map(|plan| (plan.plan.name.clone(), plan)).collect();
    let mut loaded = Loaded::default();
    let mut changed = Vec::new();
    for (position, plan) in file.plans.iter().enumerate() {
        let wanted = store::Stored { plan: plan.clone(), position: i64::try_from(position).unwrap_or(i64::MAX), retired: false };
        if stored.get(&plan.name) != Some(&wanted) {
            store::put(&mut tx, &wanted).await?;
            changed.push(plan.name.clone());
        }
    }
    for (name, old) in stored {
        if file.plans.iter().any(|plan| plan.name == name) {
            continue;
        }
        if !old.retired {
            store::put(&mut tx, &store::Stored { retired: true, ..old }).await?;
        }
        let accounts = store::accounts_on(&mut tx, &name).await?;
        if accounts > 0 {
            loaded.in_use.push((name, accounts));
        }
    }
    loaded.in_use.sort();
    loaded.changed = changed.len();
    for name in changed {
        sync::record(&mut tx, ChangeKind::Plan, &name, world.now_ms()).await?;
    }
    tx.commit().await?;
    Ok(loaded)
}

/// The plan that the platform's own account is on: `enterprise`, or the last of the file.
pub fn of_the_platform(file: &Plans) -> Option<&Plan> {
    file.plans.iter().find(|plan| plan.name == "enterprise").or(file.plans.last())
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::Source;

    use super::*;
    use crate::db::testing::{TestDb, on_both};

    fn file(text: &str) -> Plans {
        Plans::resolve(&Source::new("plans.toml", text)).unwrap()
    }

    fn plan(name: &str, per_day: u32) -> String {
        format!("[[plans]]\nname = \"{name}\"\ntitle = \"T\"\ncurrency = \"USD\"\nlimits = {{ per_day = {per_day} }}\n")
    }

    #[tokio::test]
    async fn a_plan_in_use_cannot_vanish_and_an_unchanged_one_is_not_told_again() {
        on_both(async |TestDb { db, .. }: TestDb| {
            let world = World::fixed(0, 0);
            let both = file(&(plan("small", 10) + &plan("large", 20)));
            assert_eq!(load(&db, &world, &both).await.unwrap().changed, 2);
            assert_eq!(load(&db, &world, &both).await.unwrap(), Loaded::default());

            db.query("INSERT INTO accounts (id, name, created_at) VALUES ('acct_1', '', 0)").execute().await.unwrap();
            db.query("INSERT INTO subscriptions (id, account_id, plan, started_at) VALUES ('sub_1', 'acct_1', 'small', 0)")
                .execute()
                .await
                .unwrap();
            let one = file(&plan("large", 30));
            let loaded = load(&db, &world, &one).await.unwrap();
            assert_eq!(loaded, Loaded { changed: 1, in_use: vec![("small".into(), 1)] });
            let kept = store::all(&mut db.begin().await.unwrap()).await.unwrap();
            let small = kept.iter().find(|stored| stored.plan.name == "small").unwrap();
            assert!(small.retired && small.plan.limits.per_day == Some(10));

            // It can come back.
            assert_eq!(load(&db, &world, &both).await.unwrap(), Loaded { changed: 2, in_use: vec![] });
        })
        .await;
    }
}
