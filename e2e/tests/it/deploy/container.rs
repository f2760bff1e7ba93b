//! The container file, by hadolint, and against the repository that it is built from.

use std::{path::Path, process::Command};

use super::{Shipped, root, said, text};
use crate::fleet::binary;

const FILE: &str = "deploy/container/Dockerfile";
const PLANES: [(&str, &str); 2] = [("control", "clearway-control"), ("proxy", "clearway-proxy")];

fn linted(file: &Path) -> Result<String, String> {
    let hadolint = root().join("target/linters/bin/hadolint");
    said(Command::new(hadolint).args(["--no-color", "--failure-threshold", "style"]).arg(file))
}

/// A word and what follows it.
type Instruction = (String, String);

/// The instructions of a stage with what they inherit, lines that go on joined.
fn stage(name: &str) -> Vec<Instruction> {
    let joined = text(FILE).replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut stages: Vec<(String, String, Vec<Instruction>)> = Vec::new();
    for line in lines {
        let (word, rest) = line.split_once(' ').expect("an instruction and its words");
        let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        if word == "FROM" {
            let (base, name) = rest.split_once(" AS ").expect("every stage has a name");
            stages.push((name.to_owned(), base.to_owned(), Vec::new()));
        } else {
            let (.., all) = stages.last_mut().expect("a FROM comes first");
            all.push((word.to_owned(), rest));
        }
    }
    let found = |name: &str| stages.iter().find(|(stage, ..)| stage == name);
    let (_, base, own) = found(name).unwrap_or_else(|| panic!("no stage {name}"));
    let inherited = found(base).map(|(.., all)| all.clone()).unwrap_or_default();
    [inherited, own.clone()].concat()
}

fn last(stage: &[Instruction], word: &str) -> String {
    stage.iter().rev().find(|(found, _)| found == word).unwrap_or_else(|| panic!("no {word}")).1.clone()
}

/// The words of an instruction in its JSON form.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

#[test]
fn hadolint_has_nothing_against_the_container_file() {
    assert_eq!(linted(&root().join(FILE)), Ok(String::new()));
    for (from, to) in [
        ("--no-install-recommends ", ""),
        ("rust:1.95.0-bookworm", "rust:latest"),
        ("WORKDIR /src", "WORKDIR src"),
        ("FROM plane AS proxy", "FROM plane AS control"),
        ("STOPSIGNAL", "STOPSIGNL"),
    ] {
        let copy = Shipped::new();
        copy.edit(FILE, from, to);
        linted(&copy.path(FILE)).expect_err(to);
    }
}

#[test]
fn what_is_built_and_copied_is_in_the_repository() {
    let build = stage("build");
    let cargo = build.iter().find(|(_, rest)| rest.contains("cargo build")).expect("a build").1.clone();
    let packages: Vec<_> = cargo.split(" -p ").skip(1).map(|rest| rest.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(packages, ["clearway", "clearway-control", "clearway-proxy"]);
    for package in &packages {
        assert!(cargo.contains(&format!("target/dist/{package}")), "{package} is taken out of the cache");
        binary(package);
    }
    assert!(text("Cargo.toml").contains("[profile.dist]") && cargo.contains("--locked --profile dist"));
    let channel = text("rust-toolchain.toml");
    let channel = channel.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).expect("a channel");
    assert!(text(FILE).contains(&format!("FROM rust:{channel}-")), "the toolchain is {channel}");
    assert_eq!(last(&build, "ENV"), format!("RUSTUP_TOOLCHAIN={channel}"));

    let ignored = text("deploy/container/Dockerfile.dockerignore");
    for (_, rest) in stage("proxy").iter().filter(|(word, rest)| word == "COPY" && !rest.contains("--from=")) {
        let sources: Vec<_> = rest.split(' ').collect();
        for source in &sources[..sources.len() - 1] {
            assert!(root().join(source).is_file(), "{source}");
            assert!(!ignored.lines().any(|line| source.starts_with(line)), "{source} is kept from the build");
        }
    }
    assert!(ignored.lines().any(|line| line == "deploy/fleet/secrets"), "secrets are no part of an image");
}

#[test]
fn an_image_runs_as_nobody_with_flags_that_its_program_takes() {
    let copy = Shipped::new();
    for (plane, program) in PLANES {
        let stage = stage(plane);
        assert_eq!(last(&stage, "USER"), "65532:65532", "by number, for runAsNonRoot");
        let mut entry = words(&last(&stage, "ENTRYPOINT"));
        assert_eq!(entry.remove(0), format!("/usr/bin/{program}"));
        let settings = copy.installed("config/clearway.toml", plane);
        for word in &mut entry {
            *word = word.replace("/etc/clearway/clearway.toml", &settings.to_string_lossy());
        }
        let checked = said(Command::new(binary(program)).args(&entry).arg("--check"));
        assert!(checked.is_ok(), "{program} {entry:?}: {checked:?}");

        let probe = last(&stage, "HEALTHCHECK");
        let (_, probe) = probe.split_once("CMD ").expect("a command");
        let probe = words(probe);
        assert_eq!(probe[..2], ["/usr/bin/clearway", "ready"]);
        let port = probe[2].rsplit(':').next().expect("a port");
        assert!(last(&stage, "EXPOSE").split(' ').any(|exposed| exposed == port), "{probe:?}");
    }
}
