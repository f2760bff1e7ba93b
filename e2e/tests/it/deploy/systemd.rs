//! The units, by systemd's own tools, which need no systemd that runs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use clearway_config::settings::Settings;

use super::{Shipped, root, said, text};
use crate::fleet::binary;

const UNITS: [(&str, &str); 2] =
    [("clearway-control", "clearway-control.service"), ("clearway-proxy", "clearway-proxy@.service")];
/// What exposure systemd may find, in tenths; 100 is a service without any of it.
const EXPOSURE_MAX: &str = "18";

fn unit(file: &str) -> String {
    format!("deploy/systemd/{file}")
}

/// The words after each `key=` of a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let prefix = format!("{key}=");
    unit.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

fn value(unit: &str, key: &str) -> String {
    let found = values(unit, key);
    assert_eq!(found.len(), 1, "{key} in {unit}");
    found[0].clone()
}

/// A machine with the units of `copy` installed, and nothing in its programs.
fn machine(copy: &Shipped) -> PathBuf {
    let machine = copy.path("machine");
    let _ = fs::remove_dir_all(&machine);
    for (file, mode, text) in [
        ("usr/bin/clearway-control", 0o755, "#!/bin/sh\n"),
        ("usr/bin/clearway-proxy", 0o755, "#!/bin/sh\n"),
        ("bin/kill", 0o755, "#!/bin/sh\n"),
        ("usr/lib/systemd/system/sysinit.target", 0o644, "[Unit]\n"),
        ("usr/lib/systemd/system/basic.target", 0o644, "[Unit]\n"),
        ("usr/lib/systemd/system/shutdown.target", 0o644, "[Unit]\n"),
        ("usr/lib/systemd/system/multi-user.target", 0o644, "[Unit]\n"),
        ("usr/lib/systemd/system/network-online.target", 0o644, "[Unit]\n"),
    ] {
        let path = machine.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(&path, text).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our file");
    }
    for (_, file) in UNITS {
        fs::copy(copy.path(&unit(file)), machine.join("usr/lib/systemd/system").join(file)).expect("writable");
    }
    machine
}

/// What `systemd-analyze` has against a unit: it ends with 0 where it only warns.
fn verified(copy: &Shipped, name: &str) -> Result<(), String> {
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(format!("--root={}", machine(copy).display())).arg(name);
    let said = said(&mut verify)?;
    if said.trim().is_empty() { Ok(()) } else { Err(said) }
}

fn exposed(copy: &Shipped, name: &str) -> Result<String, String> {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")]);
    said(security.arg(format!("--root={}", machine(copy).display())).arg(name))
}

#[test]
fn systemd_has_nothing_against_the_units() {
    let copy = Shipped::new();
    for name in ["clearway-control.service", "clearway-proxy@a.service"] {
        assert_eq!(verified(&copy, name), Ok(()), "{name}");
        let exposure = exposed(&copy, name);
        assert!(exposure.is_ok(), "{name}: {exposure:?}");
    }
    for (from, to) in [
        ("ProtectSystem=strict", "ProtectSystm=strict"),
        ("Restart=on-failure", "Restart=sometimes"),
        ("ExecStart=/usr/bin/", "ExecStart=/usr/local/"),
        ("[Service]", "[Servce]"),
    ] {
        let copy = Shipped::new();
        copy.edit(&unit("clearway-control.service"), from, to);
        verified(&copy, "clearway-control.service").expect_err(to);
    }
    copy.edit(&unit("clearway-proxy@.service"), "SystemCallFilter=", "# SystemCallFilter=");
    exposed(&copy, "clearway-proxy@a.service").expect_err("every system call is allowed");
}

#[test]
fn the_users_of_the_units_are_made() {
    let copy = Shipped::new();
    let machine = copy.path("machine");
    for dir in ["etc", "usr/lib/sysusers.d"] {
        fs::create_dir_all(machine.join(dir)).expect("writable");
    }
    let make = |file: PathBuf| said(Command::new("systemd-sysusers").arg(format!("--root={}", machine.display())).arg(file));
    make(copy.path("deploy/systemd/clearway.sysusers.conf")).unwrap_or_else(|why| panic!("{why}"));
    let (users, groups) = (machine.join("etc/passwd"), machine.join("etc/group"));
    let (users, groups) = (fs::read_to_string(users).expect("made"), fs::read_to_string(groups).expect("made"));
    for (program, file) in UNITS {
        let unit = text(&unit(file));
        let (user, group) = (value(&unit, "User"), value(&unit, "Group"));
        assert_eq!(user, program);
        assert!(users.contains(&format!("{user}:")) && groups.contains(&format!("{group}:")), "{users} {groups}");
    }
    copy.edit("deploy/systemd/clearway.sysusers.conf", "u clearway-proxy", "user clearway-proxy");
    make(copy.path("deploy/systemd/clearway.sysusers.conf")).expect_err("no such kind of line");
}

#[test]
fn the_programs_take_what_the_units_start_them_with() {
    let copy = Shipped::new();
    for (program, file) in UNITS {
        let unit = text(&unit(file));
        let command = value(&unit, "ExecStart");
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some(&*format!("/usr/bin/{program}")));
        let plane = program.trim_start_matches("clearway-");
        let settings = copy.installed("deploy/systemd/clearway.toml", plane);
        let flags: Vec<_> = words.map(|word| word.replace("/etc/clearway/clearway.toml", &settings.to_string_lossy())).collect();
        let checked = said(Command::new(binary(program)).args(&flags).arg("--check"));
        assert!(checked.is_ok(), "{program} {flags:?}: {checked:?}");
        said(Command::new(binary(program)).args(&flags).args(["--no-such-flag", "--check"])).expect_err("an unknown flag");

        let state = format!("/var/lib/{}", value(&unit, "StateDirectory"));
        assert!(command.contains(&format!("--data-dir {state}")), "the only place that it may write to is its data directory");
    }
}

#[test]
fn a_stop_lasts_as_long_as_the_drain() {
    let drain = Settings::load(Some(&root().join("deploy/systemd/clearway.toml")))
        .expect("it is checked elsewhere")
        .gateway
        .drain_timeout;
    for (_, file) in UNITS {
        let seconds = value(&text(&unit(file)), "TimeoutStopSec");
        let seconds = seconds.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).expect("in seconds");
        assert!(Duration::from_secs(seconds) >= drain + Duration::from_secs(15), "{file}");
    }
}
