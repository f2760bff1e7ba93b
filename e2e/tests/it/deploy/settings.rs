//! The settings that ship are taken by the programs that they are for.

use std::{fs, path::Path, process::Command};

use super::{Shipped, said, text};
use crate::fleet::binary;

const PLANES: [&str; 2] = ["control", "proxy"];

fn check(plane: &str, settings: &Path) -> Result<String, String> {
    let mut command = Command::new(binary(&format!("clearway-{plane}")));
    said(command.arg("--config").arg(settings).arg("--check").env_remove("CLEARWAY_DATABASE_URL"))
}

#[test]
fn both_planes_take_the_settings_of_every_deployment() {
    let copy = Shipped::new();
    for settings in ["config/clearway.toml", "deploy/systemd/clearway.toml", "deploy/fleet/clearway.toml"] {
        for plane in PLANES {
            let said = check(plane, &copy.installed(settings, plane));
            assert!(said.as_ref().is_ok_and(|said| said.contains("settings are")), "{settings}: {plane}: {said:?}");
        }
    }
    copy.edit("deploy/fleet/clearway.toml", "[sync.tls]", "[sync.tsl]");
    let said = check("proxy", &copy.installed("deploy/fleet/clearway.toml", "proxy")).expect_err("an unknown word");
    assert!(said.contains("unknown field `tsl`"), "{said}");
    copy.edit("deploy/systemd/clearway.toml", "\"127.0.0.1:9001\"", "\"localhost\"");
    check("control", &copy.installed("deploy/systemd/clearway.toml", "control")).expect_err("no address");
}

/// A comment that is a setting, as an operator would take its mark away: `# word = …` and `# [section]`.
fn uncommented(line: &str) -> &str {
    let Some(setting) = line.strip_prefix("# ") else { return line };
    let word = setting.split([' ', ']']).next().unwrap_or_default().trim_start_matches('[');
    let is_setting = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
    if is_setting && (setting.starts_with('[') || setting[word.len()..].starts_with(" = ")) { setting } else { line }
}

#[test]
fn what_is_commented_out_is_taken_too() {
    let copy = Shipped::new();
    let settings = "deploy/systemd/clearway.toml";
    let all: Vec<_> = text(settings).lines().map(|line| uncommented(line).to_owned()).collect();
    assert!(all.contains(&"[sync.tls]".to_owned()) && all.iter().any(|line| line.starts_with("database_url_file")));
    fs::write(copy.path(settings), all.join("\n")).expect("writable");
    for plane in PLANES {
        let said = check(plane, &copy.installed(settings, plane));
        assert!(said.is_ok(), "{plane}: {said:?}");
    }
}
