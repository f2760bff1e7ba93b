//! What `deploy/` ships, checked by the linters of those who read it, and against the programs themselves: each file's
//! words are known, its flags and settings are taken, its ports and probes are the real ones. For each check there is
//! something broken that it must notice.

mod container;
mod fleet;
mod kubernetes;
mod live;
mod settings;
mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e stands in the workspace")
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What a program said, on both outputs, and whether it ended with 0.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|e| panic!("{program} does not run ({e}): make prerequisites"));
    let all = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if status.success() { Ok(all) } else { Err(all) }
}

/// Python with the packages that `make prerequisites` puts aside for it.
fn python() -> Command {
    let packages = root().join("target/linters");
    assert!(packages.join("yaml").is_dir(), "{} has no packages: make prerequisites", packages.display());
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages);
    python
}

/// The documents of a YAML file.
fn documents(yaml: &Path) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump([d for d in yaml.safe_load_all(open(sys.argv[1])) if d], sys.stdout)";
    let json = said(python().args(["-c", script]).arg(yaml)).unwrap_or_else(|why| panic!("{}: {why}", yaml.display()));
    serde_json::from_str(&json).expect("what Python wrote")
}

/// A copy of `deploy/` and of the settings that ship, with the secrets made, to be broken.
#[derive(Debug)]
struct Shipped(TempDir);

impl Shipped {
    fn new() -> Self {
        let copy = Self(tempfile::tempdir().expect("a temporary directory"));
        for folder in ["deploy", "config"] {
            let from = root().join(folder);
            said(Command::new("cp").arg("-r").arg(&from).arg(copy.0.path())).unwrap_or_else(|why| panic!("{why}"));
        }
        // Of this machine's own use, if there are any.
        let _ = fs::remove_dir_all(copy.path("deploy/fleet/secrets"));
        said(&mut Command::new(copy.path("deploy/fleet/make-secrets"))).unwrap_or_else(|why| panic!("make-secrets: {why}"));
        copy
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Replaces something that must be there.
    fn edit(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.path(file);
        let before = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(before.contains(from), "{file} has no {from:?} any more");
        fs::write(path, before.replace(from, to)).expect("writable");
        self
    }

    /// Where the settings files of a deployment name what is only there once it is installed, what is in this copy.
    fn installed(&self, settings: &str, plane: &str) -> PathBuf {
        let mut text = fs::read_to_string(self.path(settings)).unwrap_or_else(|e| panic!("{settings}: {e}"));
        let secrets = self.path("deploy/fleet/secrets");
        let secret = |name: &str| secrets.join(name).display().to_string();
        for (from, to) in [
            ("/run/secrets/sync.crt", secret(&format!("{plane}-sync.crt"))),
            ("/run/secrets/sync.key", secret(&format!("{plane}-sync.key"))),
            ("/etc/clearway/sync.pem", secret(&format!("{plane}-sync.crt"))),
            ("/etc/clearway/sync.key", secret(&format!("{plane}-sync.key"))),
            ("/etc/clearway/sync-ca.pem", secret("sync-ca.crt")),
            ("/etc/clearway/sync.token", secret("sync-token")),
            ("/run/secrets", secrets.display().to_string()),
            ("/etc/clearway", secrets.display().to_string()),
        ] {
            text = text.replace(from, &to);
        }
        let beside = self.path(&format!("etc-{plane}"));
        fs::create_dir_all(&beside).expect("writable");
        for file in ["gateway.toml", "plans.toml"] {
            fs::copy(self.path("config").join(file), beside.join(file)).expect("writable");
        }
        let file = beside.join("clearway.toml");
        fs::write(&file, text).expect("writable");
        file
    }
}
