//! A whole document in the place of the stored one: what differs, and making it so.

use std::collections::BTreeMap;

use clearway_config::settings::{
    Document,
    gateway::{Object, ObjectKind},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    RouteError, Stored, check,
    named::ACCOUNT,
    put::{note, write},
    store,
};
use crate::{
    db::{self, Tx},
    http::Caller,
    sync::Revision,
    world::World,
};

/// Objects read at once.
const PAGE_ROWS: u32 = 1_000;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Create,
    Update,
    Delete,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Difference {
    pub(super) action: Action,
    pub(super) kind: ObjectKind,
    pub(super) name: String,
}

/// A plan to make the stored objects those of a document.
#[derive(Debug)]
pub(super) struct Plan {
    /// With what is stored now, where there is something.
    put: Vec<(Object, Option<Stored>)>,
    remove: Vec<Stored>,
}

impl Plan {
    pub(super) fn differences(&self) -> Vec<Difference> {
        let put = self.put.iter().map(|(object, old)| Difference {
            action: if old.is_some() { Action::Update } else { Action::Create },
            kind: object.kind,
            name: object.name.clone(),
        });
        let remove = self.remove.iter().map(|stored| &stored.object);
        let removed = remove.map(|object| Difference { action: Action::Delete, kind: object.kind, name: object.name.clone() });
        put.chain(removed).collect()
    }
}

/// Every stored object, by kind and name.
pub(super) async fn all(tx: &mut Tx) -> db::Result<BTreeMap<(ObjectKind, String), Stored>> {
    let mut found = BTreeMap::new();
    let (mut kind, mut name) = (String::new(), String::new());
    loop {
        let page = store::after(&mut *tx, &kind, &name, PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        (kind, name) = (last.object.kind.as_str().to_owned(), last.object.name.clone());
        found.extend(page.into_iter().map(|stored| ((stored.object.kind, stored.object.name.clone()), stored)));
    }
}

/// Checks `document` and says what it would change.
pub(super) async fn plan(tx: &mut Tx, document: Document) -> Result<Plan, RouteError> {
    check::whole(&document)?;
    let mut stored = all(tx).await?;
    let mut put = Vec::new();
    for object in document.into_objects() {
        let old = stored.remove(&(object.kind, object.name.clone()));
        if old.as_ref().is_none_or(|old| old.object != object) {
            put.push((object, old));
        }
    }
    for gone in stored.values().filter(|stored| stored.object.kind == ObjectKind::Policy) {
        // Routes that name it are in the document; accounts are in none.
        let mut by = store::referrers(tx, ObjectKind::Policy, &gone.object.name).await?;
        by.retain(|(kind, _)| kind == ACCOUNT);
        if !by.is_empty() {
            return Err(RouteError::InUse(by));
        }
    }
    // Those that name others come last in a document, and have to go first.
    let remove = stored.into_values().rev().collect();
    Ok(Plan { put, remove })
}

/// Carries it out. What is named is there before what names it, and goes after it.
pub(super) async fn carry_out(tx: &mut Tx, world: &World, caller: &Caller, plan: Plan) -> Result<Option<Revision>, RouteError> {
    let mut last = None;
    let (routes, others): (Vec<_>, Vec<_>) = plan.remove.into_iter().partition(|old| old.object.kind == ObjectKind::Route);
    for old in routes {
        last = Some(remove(tx, world, caller, &old).await?);
    }
    for (object, old) in plan.put {
        let links = check::links(&check::read([object.clone()])?);
        last = Some(write(tx, world, caller, old.as_ref(), object, &links).await?.1);
    }
    for old in others {
        last = Some(remove(tx, world, caller, &old).await?);
    }
    Ok(last)
}

async fn remove(tx: &mut Tx, world: &World, caller: &Caller, old: &Stored) -> Result<Revision, RouteError> {
    store::delete(tx, old.object.kind, &old.object.name).await?;
    note(tx, world, caller, "gateway.deleted", Some(old), None).await
}
