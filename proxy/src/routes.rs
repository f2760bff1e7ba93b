//! The operator's routes: read at start, followed while running. They come from files and from control,
//! as one document; what a file says comes first, and control is told what it has said in vain.
//!
//! Files are looked at every second and on SIGHUP. A changed set of files that is right takes the place
//! of the old one between two requests; one that is wrong is refused with one line in the log, and the
//! old one stays.

mod documents;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use clearway_config::settings::{
    Document, Gateway, Route, SettingsError, Source, Upstream as Settings, UpstreamAddress,
    gateway::{CONTROL_UPSTREAM, Policy},
};
use clearway_config::sync::v1::RefusedObject;
use clearway_filters::route::Routes;
use parking_lot::Mutex;

use documents::FileDocuments;

use crate::{
    auth::Callers,
    metrics::{Metrics, RouteMetrics},
    upstreams::Upstream,
};

/// Routes, upstreams and metric handles that belong together.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) routes: Routes,
    /// By the route's `upstream`.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// By the route's index.
    pub(crate) metrics: Vec<Arc<RouteMetrics>>,
    /// By the route's index, and by the upstream's: whether plain requests are forwarded byte by byte.
    plain_routes: Vec<bool>,
    plain_upstreams: Vec<bool>,
    /// By the route's index; the same only where nothing about the route or its upstreams is different.
    definitions: Vec<u64>,
    keeps_answers: bool,
    pub(crate) callers: Callers,
    /// By name, for accounts that name their own.
    pub(crate) policies: HashMap<String, Arc<Policy>>,
}

impl Table {
    /// What has not changed since `before` is kept, with all that its upstreams know about their targets.
    fn new(gateway: &Gateway, before: Option<&Self>, metrics: &Arc<Metrics>) -> Result<Self, SettingsError> {
        let known = before.map_or(&[][..], |before| &before.upstreams);
        let known: HashMap<_, _> = known.iter().map(|upstream| (upstream.name.as_str(), upstream)).collect();
        let upstream = |settings: &Settings| Upstream::new(settings, known.get(settings.name.as_str()).copied(), metrics);
        let upstreams = gateway.upstreams.iter().map(upstream).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            definitions: gateway.routes.iter().map(|route| definition(route, gateway)).collect(),
            keeps_answers: gateway.routes.iter().any(|route| route.policy.cache.is_some()),
            plain_routes: gateway.routes.iter().map(is_plain).collect(),
            plain_upstreams: upstreams.iter().map(|upstream| upstream.is_plain()).collect(),
            routes: Routes::new(gateway),
            upstreams,
            metrics: gateway.routes.iter().map(|route| RouteMetrics::new(&route.name)).collect(),
            policies: gateway.policies.iter().cloned().collect(),
            callers: Callers::new(gateway, before.map(|before| &before.callers)),
        })
    }

    /// Whether this route with this upstream asks for nothing that only Pingora's way does.
    pub(crate) fn is_plain(&self, route: usize, upstream: usize) -> bool {
        self.plain_routes[route] && self.plain_upstreams[upstream]
    }

    /// Tells the definition of a route with a cache from all others that it had or may have.
    pub(crate) fn definition(&self, route: usize) -> u64 {
        self.definitions[route]
    }

    /// Whether any route has a cache.
    pub(crate) fn keeps_answers(&self) -> bool {
        self.keeps_answers
    }

    /// Resolves the names of upstreams and reads their certificates again; blocks while it does.
    pub(crate) fn refresh(&self) {
        for upstream in &self.upstreams {
            upstream.refresh();
        }
    }
}

/// The index of [`CONTROL_UPSTREAM`]; settings put it first.
pub(crate) const CONTROL: usize = 0;

/// The files and what they say now.
#[derive(Debug)]
pub(crate) struct RouteFiles {
    files: Vec<PathBuf>,
    control: UpstreamAddress,
    current: ArcSwap<Table>,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

/// What the table was made of.
#[derive(Debug)]
struct Seen {
    /// What the files looked like when they were last read.
    stamps: Vec<Option<(SystemTime, u64)>>,
    content: u64,
    /// Which files said nothing at all.
    blank: Vec<bool>,
    files: FileDocuments,
    /// What control says, as far as it could be taken.
    objects: Arc<Document>,
    /// What it says since, which could not be.
    pending: Option<Arc<Document>>,
    /// What of all that it says is not in force.
    refused: Vec<RefusedObject>,
}

/// A table, and what of control's part is left out of it.
type Built = (Table, Vec<RefusedObject>);

impl RouteFiles {
    pub(crate) fn open(files: Vec<PathBuf>, control: UpstreamAddress, metrics: Arc<Metrics>) -> Result<Self, SettingsError> {
        let stamps = files.iter().map(stamp).collect();
        let sources = read(&files)?;
        let content = content(&sources);
        let blank = sources.iter().map(Source::is_blank).collect();
        let read = FileDocuments::read(sources)?;
        let objects = Arc::new(Document::default());
        let (gateway, refused) = read.with(&objects, &control)?;
        debug_assert_eq!(gateway.upstreams[CONTROL].name, CONTROL_UPSTREAM);
        Ok(Self {
            seen: Mutex::new(Seen { stamps, content, blank, files: read, objects, pending: None, refused }),
            current: ArcSwap::from_pointee(Table::new(&gateway, None, &metrics)?),
            files,
            control,
            metrics,
        })
    }

    pub(crate) fn current(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Follows the files if they changed; `asked` reads them in any case. Blocks while it does.
    pub(crate) fn follow(&self, asked: bool) {
        if asked {
            self.current().refresh();
        }
        let mut seen = self.seen.lock();
        let stamps: Vec<_> = self.files.iter().map(stamp).collect();
        if stamps == seen.stamps && !asked {
            return;
        }
        seen.stamps = stamps;
        let table = read(&self.files).and_then(|sources| {
            let content = content(&sources);
            if content == seen.content {
                return Ok(None);
            }
            let blank: Vec<_> = sources.iter().map(Source::is_blank).collect();
            if let Some((emptied, _)) = sources.iter().zip(blank.iter().zip(&seen.blank)).find(|(_, (now, was))| **now && !**was)
            {
                // Whoever writes a file in place empties it first.
                return Err(emptied.fault_in_all("is empty; a file that says nothing on purpose says so in a comment"));
            }
            let files = FileDocuments::read(sources)?;
            // What control's last change was in conflict with may be gone.
            let pending = seen.pending.take();
            let built = pending.as_ref().and_then(|objects| self.table(&files, objects).ok());
            let (table, refused) = match (built, pending) {
                (Some(built), Some(objects)) => {
                    seen.objects = objects;
                    built
                }
                (_, pending) => {
                    let refused = pending.is_some().then(|| seen.refused.clone());
                    seen.pending = pending;
                    let (table, left_out) = self.table(&files, &seen.objects)?;
                    (table, refused.unwrap_or(left_out))
                }
            };
            (seen.content, seen.blank, seen.files, seen.refused) = (content, blank, files, refused);
            Ok(Some(table))
        });
        self.swap(table);
    }

    /// Follows what control says. Blocks while it does.
    pub(crate) fn follow_objects(&self, objects: Arc<Document>) {
        let mut seen = self.seen.lock();
        if Arc::ptr_eq(seen.pending.as_ref().unwrap_or(&seen.objects), &objects) {
            return;
        }
        let table = self.table(&seen.files, &objects).map(|(table, refused)| {
            (seen.objects, seen.pending, seen.refused) = (objects.clone(), None, refused);
            Some(table)
        });
        if let Err(error) = &table {
            // The old table stays, and with it everything in it: what is refused is the change as a whole.
            seen.pending = Some(objects);
            seen.refused = vec![RefusedObject { reason: error.to_string(), ..RefusedObject::default() }];
        }
        self.swap(table);
    }

    /// What control says and requests are not routed by; without a kind it is all of its last change.
    pub(crate) fn refused(&self) -> Vec<RefusedObject> {
        self.seen.lock().refused.clone()
    }

    /// Control has been told how many objects are refused.
    pub(crate) fn note_refused(&self, objects: usize) {
        self.metrics.observed.objects_refused.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    fn table(&self, files: &FileDocuments, objects: &Document) -> Result<Built, SettingsError> {
        let (gateway, refused) = files.with(objects, &self.control)?;
        Ok((Table::new(&gateway, Some(&self.current()), &self.metrics)?, refused))
    }

    fn swap(&self, table: Result<Option<Table>, SettingsError>) {
        match table {
            Ok(None) => {}
            Ok(Some(table)) => {
                tracing::info!(routes = table.routes.all().len(), upstreams = table.upstreams.len(), "routes changed");
                let names: HashSet<_> = table.routes.all().iter().map(|route| route.name.clone()).collect();
                self.current.store(Arc::new(table));
                self.metrics.retain_routes(|name| names.contains(name));
                self.metrics.reloaded(true);
            }
            Err(e) => {
                tracing::error!(error = %e, "routes refused, the old ones stay");
                self.metrics.reloaded(false);
            }
        }
    }
}

/// Nothing is done to bodies. A feature that looks into them (a cache, compression, rewriting) has to be
/// named here.
fn is_plain(route: &Route) -> bool {
    route.mirror.is_none() && !route.policy.touches_bodies()
}

/// Of what an answer depends on beside the request. 0 for a route without a cache.
fn definition(route: &Route, gateway: &Gateway) -> u64 {
    if route.policy.cache.is_none() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    format!("{route:?}").hash(&mut hasher);
    for upstream in route.upstream.into_iter().chain(route.split.upstreams()) {
        format!("{:?}", gateway.upstreams[upstream]).hash(&mut hasher);
    }
    hasher.finish()
}

fn stamp(file: &PathBuf) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(files: &[PathBuf]) -> Result<Vec<Source>, SettingsError> {
    files.iter().map(|file| Source::read(file)).collect()
}

fn content(sources: &[Source]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for source in sources {
        source.text().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "[[routes]]\nname = \"NAME\"\npath = \"/\"\nupstream = \"control\"\nauth = \"open\"\n";

    fn open(text: &str) -> (tempfile::TempDir, PathBuf, RouteFiles) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        let control = UpstreamAddress::parse("http://127.0.0.1:9").unwrap();
        let files = RouteFiles::open(vec![file.clone()], control, Arc::new(Metrics::new())).unwrap();
        (dir, file, files)
    }

    #[test]
    fn a_changed_file_is_followed_and_a_wrong_one_is_refused_with_the_old_one_kept() {
        let (_dir, file, files) = open(&ROUTE.replace("NAME", "one"));
        let name = || files.current().routes.all()[0].name.clone();
        assert_eq!(name(), "one");

        std::fs::write(&file, ROUTE.replace("NAME", "second")).unwrap();
        files.follow(false);
        assert_eq!(name(), "second");

        std::fs::write(&file, "[[routes]]\nnmae = 1\n").unwrap();
        files.follow(false);
        std::fs::remove_file(&file).unwrap();
        files.follow(false);
        assert_eq!(name(), "second");
        assert!(files.metrics.render().contains("clearway_routes_reloads_total{result=\"refused\"} 2"));

        std::fs::write(&file, ROUTE.replace("NAME", "third")).unwrap();
        files.follow(false);
        assert_eq!(name(), "third");
    }

    #[test]
    fn a_file_that_is_being_written_does_not_take_its_routes_away() {
        let (_dir, file, files) = open(&ROUTE.replace("NAME", "one"));
        std::fs::write(&file, "").unwrap();
        files.follow(true);
        files.follow(true);
        assert_eq!(files.current().routes.all()[0].name, "one");
        std::fs::write(&file, "# nothing\n").unwrap();
        files.follow(true);
        assert!(files.current().routes.all().is_empty());
    }

    #[test]
    fn a_route_to_an_encrypted_upstream_is_not_plain() {
        let upstream = "[[upstreams]]\nname = \"up\"\naddresses = [\"http://127.0.0.1:1\", \"https://127.0.0.1:2\"]\n";
        let other = "[[routes]]\nname = \"b\"\npath = \"/b\"\nupstream = \"up\"\nauth = \"open\"\n";
        let (_dir, _, files) = open(&format!("{upstream}{}{other}", ROUTE.replace("NAME", "a")));
        let table = files.current();
        assert_eq!((table.is_plain(0, 0), table.is_plain(1, 1)), (true, false));
    }

    #[test]
    fn a_file_that_was_only_touched_keeps_its_table() {
        let (_dir, file, files) = open(&ROUTE.replace("NAME", "one"));
        let before = files.current();
        std::fs::write(&file, ROUTE.replace("NAME", "one")).unwrap();
        files.follow(true);
        assert!(Arc::ptr_eq(&before, &files.current()));
    }

    fn told(text: &str) -> Arc<Document> {
        Arc::new(toml::from_str(text).unwrap())
    }

    #[test]
    fn what_control_says_in_vain_is_named_with_its_reason_until_a_file_makes_room() {
        let (_dir, file, files) = open(&ROUTE.replace("NAME", "one"));
        let refused = || files.refused().into_iter().map(|r| format!("{}/{}: {}", r.kind, r.name, r.reason)).collect::<Vec<_>>();
        let free = "[[routes]]\nname = \"free\"\npath = \"/free\"\nupstream = \"control\"\nauth = \"open\"\n";
        files.follow_objects(told(&format!("{}{}{free}", ROUTE.replace("NAME", "one"), ROUTE.replace("NAME", "two"))));
        assert_eq!(
            refused(),
            [
                "route/one: a file of this gateway has one of this name",
                "route/two: path: takes requests that route `one` takes too, and neither is more specific"
            ]
        );
        assert_eq!(files.current().routes.all().len(), 2, "the one that is free is in force");

        // Too much at once is refused as a whole, and what was in force stays.
        let many: Vec<_> = (0..20).map(|n| ROUTE.replace("NAME", &format!("r{n}"))).collect();
        files.follow_objects(told(&many.concat()));
        assert!(refused().len() == 1 && refused()[0].starts_with("/: "), "{:?}", refused());
        assert_eq!(files.current().routes.all().len(), 2);

        std::fs::write(&file, ROUTE.replace("NAME", "other").replace("\"/\"", "\"/other\"")).unwrap();
        files.follow(false);
        assert!(refused().len() == 1 && files.current().routes.all().len() == 3, "still wrong by itself: {:?}", refused());
        files.follow_objects(told(&many[0]));
        assert_eq!((refused().len(), files.current().routes.all().len()), (0, 2));
    }
}
