//! Routes, upstreams and what else control tells its proxies of the gateway: held as one document, which
//! the routing table is built from elsewhere.
//!
//! A change here is not in force yet: [`Objects::built`] is told when it is, and only then may the change
//! be acknowledged.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clearway_config::{
    settings::{
        Document,
        gateway::{Collection, Object, ObjectKind},
    },
    sync::v1,
};
use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Debug)]
pub struct Objects {
    held: Mutex<Collection>,
    /// Counts the changes.
    version: AtomicU64,
    changed: watch::Sender<u64>,
    built: watch::Sender<u64>,
}

/// Those that a whole snapshot has named so far.
pub(super) type Named = HashSet<(ObjectKind, String)>;

impl Default for Objects {
    fn default() -> Self {
        Self { held: Mutex::default(), version: AtomicU64::new(0), changed: watch::Sender::new(0), built: watch::Sender::new(0) }
    }
}

impl Objects {
    /// How many changes there were.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is held, and at which version.
    pub fn document(&self) -> (u64, Arc<Document>) {
        let held = self.held.lock();
        (self.version(), held.document())
    }

    /// Follows the version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Requests are routed by this version from now on.
    pub fn set_built(&self, version: u64) {
        self.built.send_replace(version);
    }

    /// Follows the version that requests are routed by.
    pub fn built(&self) -> watch::Receiver<u64> {
        self.built.subscribe()
    }

    /// Whether it was understood. One that is not goes, rather than staying as it was before.
    pub(super) fn put(&self, wire: &v1::GatewayObject, named: Option<&mut Named>) -> bool {
        let Some(kind) = ObjectKind::parse(&wire.kind) else { return false };
        if let Some(named) = named {
            named.insert((kind, wire.name.clone()));
        }
        let mut held = self.held.lock();
        let put = serde_json::from_slice(&wire.spec)
            .and_then(|spec| held.put(Object { kind, name: wire.name.clone(), spec }))
            .inspect_err(
                |error| tracing::error!(object.kind = %kind, object.name = wire.name, %error, "gateway object not understood"),
            );
        if put.is_err() {
            held.remove(kind, &wire.name);
        }
        self.note();
        put.is_ok()
    }

    pub(super) fn remove(&self, wire: &v1::GatewayObjectName) -> bool {
        let Some(kind) = ObjectKind::parse(&wire.kind) else { return false };
        if self.held.lock().remove(kind, &wire.name) {
            self.note();
        }
        true
    }

    /// Removes what a whole snapshot has not named.
    pub(super) fn retain(&self, named: &Named) {
        let mut held = self.held.lock();
        let gone: Vec<_> = held.names().map(|(kind, name)| (kind, name.to_owned())).filter(|id| !named.contains(id)).collect();
        for (kind, name) in &gone {
            held.remove(*kind, name);
        }
        if !gone.is_empty() {
            self.note();
        }
    }

    /// As the messages they came in.
    pub(super) fn export(&self) -> Vec<v1::GatewayObject> {
        let (_, document) = self.document();
        let objects = Document::clone(&document).into_objects().into_iter();
        let wire = |object: Object| v1::GatewayObject {
            kind: object.kind.as_str().to_owned(),
            name: object.name,
            spec: serde_json::Value::Object(object.spec).to_string().into_bytes(),
        };
        objects.map(wire).collect()
    }

    /// The lock is held, so that a version and its document belong together.
    fn note(&self) {
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(version);
    }
}
