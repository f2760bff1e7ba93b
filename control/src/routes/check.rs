//! Whether an object is right, together with what it names and who else could take its requests.

use std::collections::{BTreeMap, BTreeSet};

use clearway_config::settings::{
    Document, Fault, Gateway, UpstreamAddress,
    gateway::{ARRANGEMENTS_MAX, Object, ObjectKind, arrangement},
};

use super::{RouteError, Stored, apply, store};
use crate::{
    db::{self, Tx},
    http::Paging,
};

/// All of them.
const ISSUERS: Paging<String> = Paging { limit: 1_000, offset: 0, cursor: None };

/// What an object names, and where a route stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) references: BTreeSet<(ObjectKind, String)>,
    pub(super) places: BTreeSet<String>,
}

/// Checks `object` as part of what is stored. The objects' lock is held.
pub(super) async fn one(tx: &mut Tx, object: &Object) -> Result<Links, RouteError> {
    let links = links(&read([object.clone()])?);
    let around = match object.kind {
        // There may be a hundred thousand of these: only what can matter to this one is looked at.
        ObjectKind::Upstream => BTreeMap::new(),
        ObjectKind::Route => around(tx, &object.name, &links).await?,
        _ => apply::all(tx).await?,
    };
    // The object itself comes last, so that what it is in conflict with is not what is called wrong.
    let others = around.into_values().map(|stored| stored.object);
    let others = others.filter(|other| (other.kind, &other.name) != (object.kind, &object.name));
    whole(&read(others.chain([object.clone()]))?).map_err(|fault| fault.inside(2))?;
    Ok(links)
}

/// Checks that a gateway takes one more of these. What a whole document holds is counted with it.
pub(super) async fn room(tx: &mut Tx, kind: ObjectKind) -> Result<(), RouteError> {
    let most = kind.max();
    if store::count(tx, kind).await? < i64::try_from(most).unwrap_or(i64::MAX) {
        return Ok(());
    }
    Err(RouteError::Full(format!("There are {most} {} already, which is the most.", kind.plural().replace('_', " "))))
}

/// Checks the hosts of a route that has just been stored: there may be routes that it does not stand beside.
pub(super) async fn arrangements(tx: &mut Tx, links: &Links) -> Result<(), RouteError> {
    let hosts: Vec<_> = links.places.iter().filter_map(|place| Some(arrangement(place)?.0.to_owned())).collect();
    if hosts.is_empty() {
        return Ok(());
    }
    match store::overcrowded(tx, &hosts).await? {
        None => Ok(()),
        Some(host) => Err(RouteError::Full(format!(
            "The routes of host {host} would have their parameters in more than {ARRANGEMENTS_MAX} different sets of places."
        ))),
    }
}

/// Checks what is left without an object that no other names.
pub(super) async fn without(tx: &mut Tx, kind: ObjectKind, name: &str) -> Result<(), RouteError> {
    if matches!(kind, ObjectKind::Upstream | ObjectKind::Route) {
        return Ok(());
    }
    let mut rest = apply::all(tx).await?;
    rest.remove(&(kind, name.to_owned()));
    Ok(whole(&read(rest.into_values().map(|stored| stored.object))?).map(drop)?)
}

/// What a route names, who stands at its place, and what those name.
async fn around(tx: &mut Tx, name: &str, links: &Links) -> Result<BTreeMap<(ObjectKind, String), Stored>, RouteError> {
    let mut around = BTreeMap::new();
    let places: Vec<_> = links.places.iter().cloned().collect();
    let rivals = store::at_places(tx, &places).await?;
    let mut named = links.references.clone();
    for rival in rivals.into_iter().filter(|rival| rival.object.name != name) {
        named.extend(self::links(&read([rival.object.clone()])?).references);
        around.insert((rival.object.kind, rival.object.name.clone()), rival);
    }
    for (kind, name) in named {
        if let Some(stored) = store::find(&mut *tx, kind, &name).await? {
            around.insert((kind, name), stored);
        }
    }
    // A route may take the tokens of all issuers without naming one; they are few.
    let issuers = store::list(&mut *tx, ObjectKind::Issuer, ISSUERS).await?.items;
    around.extend(issuers.into_iter().map(|stored| ((stored.object.kind, stored.object.name.clone()), stored)));
    Ok(around)
}

/// Checks a document by itself.
pub(super) fn whole(document: &Document) -> Result<Gateway, Fault> {
    // Where it is does not matter to whether a document is right.
    let control = UpstreamAddress { tls: false, host: "control.invalid".into(), port: 9000 };
    Gateway::of(std::slice::from_ref(document), &control).map_err(|(_, fault)| fault)
}

/// What every object of a document names.
pub(super) fn links(document: &Document) -> Links {
    let mut links = Links::default();
    for route in &document.routes {
        links.references.extend(route.references().into_iter().map(|(kind, name)| (kind, name.to_owned())));
        links.places.extend(route.places());
    }
    links
}

pub(super) fn read(objects: impl IntoIterator<Item = Object>) -> Result<Document, Fault> {
    Document::of_objects(objects).map_err(|(_, _, error)| Fault::new(error.to_string()))
}

/// Writes down what an object that was just stored names.
pub(super) async fn keep(tx: &mut Tx, stored: &Stored, links: &Links) -> db::Result<()> {
    let object = &stored.object;
    for (kind, name) in &links.references {
        store::refer(tx, (object.kind.as_str(), &object.name), (*kind, name)).await?;
    }
    for place in &links.places {
        store::place(tx, &object.name, place).await?;
    }
    Ok(())
}
