//! The functions of docs/webhooks/verify.md, each run as the page has it against the shared vectors.

use std::{fs, path::Path, process::Command};

use clearway_filters::webhook::{self, VerifyingSecret};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

const PAGE: &str = include_str!("../../../docs/webhooks/verify.md");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdks/webhooks/vectors.json");

/// The page's Rust.
#[expect(unreachable_pub, reason = "a receiver puts it where it likes")]
mod page {
    include!(concat!(env!("OUT_DIR"), "/quickstart.rs"));
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    secrets: Vec<String>,
    now: u64,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    valid: bool,
}

fn vectors() -> Vec<Vector> {
    #[derive(Deserialize)]
    struct File {
        vectors: Vec<Vector>,
    }
    let text = fs::read_to_string(VECTORS).expect("the vectors");
    serde_json::from_str::<File>(&text).expect("vectors").vectors
}

/// The one block of the page in a language.
fn block(language: &str) -> &'static str {
    let fence = format!("\n```{language}\n");
    let mut blocks = PAGE.split(&fence).skip(1);
    let block = blocks.next().and_then(|block| block.split_once("\n```\n")).unwrap_or_else(|| panic!("no block of {language}")).0;
    assert!(blocks.next().is_none(), "one block of {language}");
    block
}

fn judge(language: &str, says: impl IntoIterator<Item = bool>) {
    let mut says = says.into_iter();
    for vector in vectors() {
        assert_eq!(says.next(), Some(vector.valid), "{language}: {}", vector.name);
    }
    assert_eq!(says.next(), None);
}

/// What a program says of the vectors, a line each. It is given the page's block and behind it what calls it.
fn run(language: &str, package: &str, program: &str, arguments: &[&str], files: &[(&str, String)]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().expect("a file in a directory")).expect("a writable directory");
        fs::write(file, text).expect("a writable directory");
    }
    let mut command = Command::new(program);
    command.args(arguments).arg(Path::new(VECTORS).canonicalize().expect("the vectors")).current_dir(directory.path());
    command.env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go")).env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local");
    let ran = command.output().unwrap_or_else(|e| panic!("{program} cannot be run ({e}): apt-get install {package}"));
    assert!(ran.status.success(), "{language}: {}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8(ran.stdout).expect("words");
    judge(language, said.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{language}: {line}"))));
}

#[test]
fn the_node_of_the_page_takes_what_is_right_and_nothing_else() {
    let text = [block("js"), include_str!("../../quickstarts/node.js")].join("\n");
    run("Node", "nodejs", "node", &["verify.js"], &[("verify.js", text)]);
}

#[test]
fn the_python_of_the_page_takes_what_is_right_and_nothing_else() {
    let text = [block("python"), include_str!("../../quickstarts/python.py")].join("\n");
    run("Python", "python3", "python3", &["verify.py"], &[("verify.py", text)]);
}

#[test]
fn the_ruby_of_the_page_takes_what_is_right_and_nothing_else() {
    let text = [block("ruby"), include_str!("../../quickstarts/ruby.rb")].join("\n");
    run("Ruby", "ruby", "ruby", &["verify.rb"], &[("verify.rb", text)]);
}

#[test]
fn the_go_of_the_page_takes_what_is_right_and_nothing_else() {
    let files = [
        ("go.mod", "module quickstart\n\ngo 1.19\n".to_owned()),
        ("webhook/verify.go", block("go").to_owned()),
        ("main.go", include_str!("../../quickstarts/main.go").to_owned()),
    ];
    run("Go", "golang-go", "go", &["run", "."], &files);
}

#[test]
fn the_php_of_the_page_takes_what_is_right_and_nothing_else() {
    let text = ["<?php", block("php"), include_str!("../../quickstarts/php.php")].join("\n");
    run("PHP", "php-cli", "php", &["verify.php"], &[("verify.php", text)]);
}

#[test]
fn the_rust_of_the_page_takes_what_is_right_and_nothing_else() {
    let says = vectors().into_iter().map(|vector| {
        let header = |name: &str| vector.headers.get(name).map(String::as_str);
        let secrets: Vec<&str> = vector.secrets.iter().map(String::as_str).collect();
        page::verify(vector.body.as_bytes(), header, &secrets, vector.now)
    });
    judge("Rust", says);
}

#[test]
fn our_own_verification_agrees_with_the_vectors() {
    let says = vectors().into_iter().map(|vector| {
        let headers: HeaderMap = vector
            .headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let secrets: Vec<VerifyingSecret> = vector.secrets.iter().map(|secret| secret.parse().unwrap()).collect();
        webhook::verify(&headers, vector.body.as_bytes(), &secrets, vector.now).is_ok()
    });
    judge("filters::webhook", says);
}
