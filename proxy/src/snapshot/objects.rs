//! Routes, upstreams and what else control tells its proxies of the gateway: held as one document, which
//! the routing table is built from elsewhere.
//!
//! A change here is not in force yet: [`Objects::set_built`] says when it is, or that it is refused, and
//! only then may the change be acknowledged.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
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
    sync::{REFUSED_NAMED_MAX, REFUSED_REASON_CHARS_MAX, v1},
};
use parking_lot::Mutex;
use tokio::sync::watch;
use zeroize::Zeroizing;

#[derive(Debug)]
pub struct Objects {
    held: Mutex<Held>,
    /// Counts the changes.
    version: AtomicU64,
    changed: watch::Sender<u64>,
    built: watch::Sender<Built>,
}

#[derive(Debug, Default)]
struct Held {
    objects: Collection,
    /// What could not be read, as it came and with the reason: a later version of this program may read it.
    unreadable: BTreeMap<(String, String), (Vec<u8>, String)>,
    certificates: BTreeMap<String, Arc<ToldCertificate>>,
}

/// What requests are routed by.
#[derive(Debug, Clone, Default)]
pub struct Built {
    pub version: u64,
    /// What of that version is not in force.
    pub refused: Arc<v1::Refused>,
}

/// A certificate as control tells it, unread. Its key is not printed, and gone from memory with it.
pub struct ToldCertificate {
    pub name: String,
    /// PEM.
    pub chain: Vec<u8>,
    /// PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ToldCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToldCertificate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What certificates are among the objects that are named.
pub(crate) const CERTIFICATE: &str = "certificate";

/// Those that a whole snapshot has named so far.
pub(super) type Named = HashSet<(String, String)>;

impl Default for Objects {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            version: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            built: watch::Sender::default(),
        }
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
        (self.version(), held.objects.document())
    }

    /// Follows the version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Requests are routed by this version or a later one from now on, but for what is `refused`. That is asked for while nobody else
    /// can say something: who comes last says what holds. Answers how many objects are refused.
    pub fn set_built(&self, version: u64, refused: impl FnOnce() -> Vec<v1::RefusedObject>) -> usize {
        let mut count = 0;
        self.built.send_if_modified(|built| {
            let all = self.unreadable().into_iter().chain(refused());
            let all: Vec<_> = all.map(|object| v1::RefusedObject { reason: short(&object.reason), ..object }).collect();
            count = all.len();
            let refused = v1::Refused {
                count: u32::try_from(count).unwrap_or(u32::MAX),
                objects: all.into_iter().take(REFUSED_NAMED_MAX).collect(),
            };
            let version = built.version.max(version);
            let changed = built.version != version || *built.refused != refused;
            *built = Built { version, refused: Arc::new(refused) };
            changed
        });
        count
    }

    /// Follows what requests are routed by.
    pub fn built(&self) -> watch::Receiver<Built> {
        self.built.subscribe()
    }

    fn unreadable(&self) -> Vec<v1::RefusedObject> {
        let held = self.held.lock();
        let objects = held.unreadable.iter().map(|((kind, name), (_, reason))| v1::RefusedObject {
            kind: kind.clone(),
            name: name.clone(),
            reason: reason.clone(),
        });
        objects.collect()
    }

    /// Control's certificates, by name.
    pub fn certificates(&self) -> Vec<Arc<ToldCertificate>> {
        self.held.lock().certificates.values().cloned().collect()
    }

    pub(super) fn put_certificate(&self, wire: &v1::Certificate, named: Option<&mut Named>) {
        if let Some(named) = named {
            named.insert((CERTIFICATE.to_owned(), wire.name.clone()));
        }
        let mut held = self.held.lock();
        let is_same = |held: &Arc<ToldCertificate>| held.chain == wire.chain && *held.key == wire.key;
        if held.certificates.get(&wire.name).is_some_and(is_same) {
            return;
        }
        let key = Zeroizing::new(wire.key.clone());
        let told = ToldCertificate { name: wire.name.clone(), chain: wire.chain.clone(), key };
        held.certificates.insert(wire.name.clone(), Arc::new(told));
        self.note();
    }

    pub(super) fn remove_certificate(&self, name: &str) {
        let mut held = self.held.lock();
        if held.certificates.remove(name).is_some() {
            self.note();
        }
    }

    /// Whether it was understood. One that is not goes, rather than staying as it was before.
    pub(super) fn put(&self, wire: &v1::GatewayObject, named: Option<&mut Named>) -> bool {
        if let Some(named) = named {
            named.insert((wire.kind.clone(), wire.name.clone()));
        }
        let id = (wire.kind.clone(), wire.name.clone());
        let mut held = self.held.lock();
        let put = match ObjectKind::parse(&wire.kind) {
            Some(kind) => serde_json::from_slice(&wire.spec)
                .and_then(|spec| held.objects.put(Object { kind, name: wire.name.clone(), spec }))
                .map_err(|error| {
                    held.objects.remove(kind, &wire.name);
                    error.to_string()
                }),
            None => Err("is of a kind that this proxy does not know".to_owned()),
        };
        match &put {
            Ok(()) => drop(held.unreadable.remove(&id)),
            Err(reason) => {
                tracing::error!(object.kind = id.0, object.name = id.1, reason, "gateway object not understood");
                held.unreadable.insert(id, (wire.spec.clone(), short(reason)));
            }
        }
        self.note();
        put.is_ok()
    }

    pub(super) fn remove(&self, wire: &v1::GatewayObjectName) -> bool {
        let mut held = self.held.lock();
        let was_unreadable = held.unreadable.remove(&(wire.kind.clone(), wire.name.clone())).is_some();
        let kind = ObjectKind::parse(&wire.kind);
        if kind.is_some_and(|kind| held.objects.remove(kind, &wire.name)) || was_unreadable {
            self.note();
        }
        kind.is_some()
    }

    /// Removes what a whole snapshot has not named.
    pub(super) fn retain(&self, named: &Named) {
        let mut held = self.held.lock();
        let is_named = |kind: &str, name: &str| named.contains(&(kind.to_owned(), name.to_owned()));
        let names = held.objects.names().filter(|(kind, name)| !is_named(kind.as_str(), name));
        let gone: Vec<_> = names.map(|(kind, name)| (kind, name.to_owned())).collect();
        for (kind, name) in &gone {
            held.objects.remove(*kind, name);
        }
        let others = held.unreadable.len() + held.certificates.len();
        held.unreadable.retain(|id, _| named.contains(id));
        held.certificates.retain(|name, _| is_named(CERTIFICATE, name));
        if !gone.is_empty() || held.unreadable.len() + held.certificates.len() != others {
            self.note();
        }
    }

    /// As the messages they came in.
    pub(super) fn export(&self) -> Vec<v1::GatewayObject> {
        let held = self.held.lock();
        let (document, unreadable) = (held.objects.document(), held.unreadable.clone());
        drop(held);
        let objects = Document::clone(&document).into_objects().into_iter();
        let unreadable = unreadable.into_iter().map(|((kind, name), (spec, _))| v1::GatewayObject { kind, name, spec });
        let wire = |object: Object| v1::GatewayObject {
            kind: object.kind.as_str().to_owned(),
            name: object.name,
            spec: serde_json::Value::Object(object.spec).to_string().into_bytes(),
        };
        objects.map(wire).chain(unreadable).collect()
    }

    /// As the messages they came in, keys and all: for the disk, which seals them.
    pub(super) fn export_certificates(&self) -> Vec<v1::Certificate> {
        let certificate = |told: Arc<ToldCertificate>| v1::Certificate {
            name: told.name.clone(),
            chain: told.chain.clone(),
            key: told.key.to_vec(),
            sealed_key: Vec::new(),
        };
        self.certificates().into_iter().map(certificate).collect()
    }

    /// The lock is held, so that a version and its document belong together.
    fn note(&self) {
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(version);
    }
}

/// One line, cut where it is too long to be told.
fn short(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REFUSED_REASON_CHARS_MAX).collect()
}
