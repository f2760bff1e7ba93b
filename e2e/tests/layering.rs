//! The import rules of ARCHITECTURE.md, checked over what Cargo resolved, and over the sources where
//! Cargo cannot see them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata runs")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e stands in the workspace").to_owned()
}

/// What each member depends on directly when it is built for use: `(member, dependency)`.
fn direct_edges(metadata: &Metadata) -> BTreeSet<(String, String)> {
    let mut edges = BTreeSet::new();
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            edges.insert((package.name.to_string(), dependency.name.clone()));
        }
    }
    edges
}

/// Everything that a member is built from, its dependencies' dependencies too.
fn built_from(metadata: &Metadata, member: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("metadata resolves dependencies");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let names: BTreeMap<&PackageId, &str> = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    let start = metadata.workspace_packages().into_iter().find(|p| p.name == member).expect("a member").id.clone();
    let mut seen = BTreeSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    while let Some(id) = queue.pop_front() {
        for dependency in &nodes[&id].deps {
            let normal = dependency.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
            if normal && seen.insert(dependency.pkg.clone()) {
                queue.push_back(dependency.pkg.clone());
            }
        }
    }
    seen.iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn members_import_each_other_only_downwards() {
    let allowed = [
        ("clearway-filters", "clearway-config"),
        ("clearway-proxy", "clearway-config"),
        ("clearway-proxy", "clearway-filters"),
        ("clearway-control", "clearway-config"),
        ("clearway-control", "clearway-filters"),
        ("clearway", "clearway-config"),
        ("clearway", "clearway-filters"),
        ("clearway-benches", "clearway-config"),
        ("clearway-benches", "clearway-control"),
        ("clearway-benches", "clearway-filters"),
        ("clearway-benches", "clearway-proxy"),
        ("clearway-benches", "clearway-testkit"),
    ];
    let allowed: BTreeSet<(String, String)> = allowed.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let found = direct_edges(&metadata());
    let broken: Vec<_> = found.iter().filter(|edge| edge.1.starts_with("clearway") && !allowed.contains(*edge)).collect();
    assert!(broken.is_empty(), "these imports go the wrong way: {broken:?}");
}

#[test]
fn each_framework_stays_in_its_plane() {
    let homes = [
        ("pingora", &["clearway-proxy", "clearway-benches"][..]),
        ("sqlx", &["clearway-control", "clearway-testkit"]),
        ("axum", &["clearway-control"]),
        ("async-graphql", &["clearway-control"]),
        ("clap", &["clearway-control", "clearway-proxy", "clearway", "clearway-benches"]),
    ];
    let found = direct_edges(&metadata());
    for (framework, homes) in homes {
        let strays: Vec<_> = found
            .iter()
            .filter(|(from, to)| (to == framework || to.starts_with(&format!("{framework}-"))) && !homes.contains(&from.as_str()))
            .collect();
        assert!(strays.is_empty(), "{framework} belongs in {homes:?} only: {strays:?}");
    }
}

#[test]
fn the_decisions_know_no_runtime() {
    let metadata = metadata();
    for member in ["clearway-config", "clearway-filters"] {
        let parts = built_from(&metadata, member);
        for runtime in ["tokio", "hyper", "pingora-core", "async-std", "mio"] {
            assert!(!parts.contains(runtime), "{member} is built from {runtime}");
        }
    }
}

#[test]
fn pure_crates_read_no_clock() {
    for member in ["config", "filters"] {
        for (file, text) in sources(&root().join(member).join("src")) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for clock in ["SystemTime::now", "Instant::now", "Timestamp::now"] {
                assert!(!code.contains(clock), "{} reads a clock: {clock}", file.display());
            }
        }
    }
}

#[test]
fn sql_stands_only_in_stores() {
    let control = root().join("control/src");
    for (file, text) in sources(&control) {
        let path = file.strip_prefix(&control).expect("below control/src").to_string_lossy().into_owned();
        // `store.rs`, `type_store.rs`, and the parts of a store that is a folder: `deliveries/store/due.rs`.
        let is_store = path.ends_with("store.rs") || path.contains("/store/");
        let is_exempt = path.starts_with("db") || path.ends_with("tests.rs") || path.contains("/tests/");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        // A statement is a literal or a constant; other methods of that name take variables or nothing.
        let holds_sql =
            code.split(".query(").skip(1).any(|rest| rest.trim_start().starts_with(|c: char| c == '"' || c.is_ascii_uppercase()));
        assert!(is_store || is_exempt || !holds_sql, "{path} holds SQL: move it to its feature's store");
    }
}

#[test]
fn plumbing_imports_no_feature() {
    let control = root().join("control/src");
    let features: Vec<String> = std::fs::read_dir(&control)
        .expect("control/src is there")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("model.rs").exists() || entry.path().join("store.rs").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !PLUMBING.contains(&name.as_str()))
        .collect();
    assert!(features.contains(&"keys".to_owned()), "the features were found: {features:?}");
    for plumbing in PLUMBING {
        let folder = control.join(plumbing);
        let file = control.join(format!("{plumbing}.rs"));
        let texts = if folder.is_dir() { sources(&folder) } else { sources(&file) };
        for (file, text) in texts {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for feature in &features {
                assert!(!code.contains(&format!("crate::{feature}::")), "{} imports the feature {feature}", file.display());
            }
        }
    }
}

/// Parts of control that every feature stands on. `app.rs` is where they are put together.
const PLUMBING: [&str; 8] = ["db", "egress", "http", "sync", "jobs", "mail", "providers", "secrets"];

/// Every Rust file at or below `at`, with its text.
fn sources(at: &Path) -> Vec<(PathBuf, String)> {
    if at.is_file() {
        return vec![(at.to_owned(), std::fs::read_to_string(at).expect("a readable source"))];
    }
    let Ok(entries) = std::fs::read_dir(at) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == "rs"))
        .flat_map(|path| sources(&path))
        .collect()
}
