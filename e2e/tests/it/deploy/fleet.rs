//! The compose file, by the Compose Specification's schema, and against the settings that its containers get.

use std::{collections::BTreeSet, path::Path, time::Duration};

use clearway_config::settings::Settings;
use serde_json::Value;

use super::{Shipped, documents, python, said, text};

const FILE: &str = "deploy/fleet/compose.yaml";
pub(super) const SETTINGS: &str = "deploy/fleet/clearway.toml";

fn judged(file: &Path) -> Result<String, String> {
    said(python().args(["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]).arg(file))
}

fn compose() -> Value {
    documents(&super::root().join(FILE)).remove(0)
}

/// The services that run `plane`.
fn services<'a>(compose: &'a Value, plane: &str) -> Vec<(&'a String, &'a Value)> {
    let all = compose["services"].as_object().expect("services").iter();
    all.filter(|(_, service)| service["build"]["target"] == plane).collect()
}

/// The files below `/run/secrets` that `plane` is told of by the settings.
pub(super) fn secrets_read(plane: &str) -> BTreeSet<String> {
    let of_the_other = if plane == "control" { &["redis-password"][..] } else { &["database-url", "master-key"] };
    let settings = text(SETTINGS);
    let named = settings.split("\"/run/secrets/").skip(1).filter_map(|rest| rest.split('"').next());
    named.filter(|name| !of_the_other.contains(name)).map(str::to_owned).collect()
}

pub(super) fn drain() -> Duration {
    let copy = Shipped::new();
    Settings::load(Some(&copy.path(SETTINGS))).expect("it is checked elsewhere").gateway.drain_timeout
}

#[test]
fn the_compose_file_is_one() {
    let copy = Shipped::new();
    let said = judged(&copy.path(FILE));
    assert!(said.is_ok(), "{said:?}");
    for (from, to) in [
        ("read_only: true", "readonly: true"),
        ("    healthcheck:\n      test:", "    healthcheck:\n      tests:"),
        ("condition: service_healthy", "condition: service_well"),
        ("services:\n", "service:\n"),
    ] {
        let copy = Shipped::new();
        copy.edit(FILE, from, to);
        judged(&copy.path(FILE)).expect_err(to);
    }
}

#[test]
fn the_fleet_is_two_control_planes_and_three_gateways_each_with_a_disk_of_its_own() {
    let compose = compose();
    assert_eq!((services(&compose, "control").len(), services(&compose, "proxy").len()), (2, 3));
    let mut taken = BTreeSet::new();
    for (name, service) in services(&compose, "proxy") {
        for what in service["ports"].as_array().expect("ports").iter().chain(service["volumes"].as_array().expect("volumes")) {
            let outside = what.as_str().expect("text").split(':').next().unwrap_or_default().to_owned();
            assert!(taken.insert(outside.clone()), "{name}: {outside} is another's");
        }
        assert!(service["volumes"][0].as_str().is_some_and(|volume| volume.ends_with(":/var/lib/clearway")));
    }
    assert!(text(SETTINGS).contains("data_dir = \"/var/lib/clearway\""));
}

#[test]
fn the_containers_can_do_little_and_are_given_the_time_to_drain() {
    let compose = compose();
    for (name, service) in services(&compose, "control").into_iter().chain(services(&compose, "proxy")) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert!(service.get("privileged").is_none() && service.get("environment").is_none(), "{name}");
        let grace = service["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s')?.parse().ok());
        assert!(Duration::from_secs(grace.expect("in seconds")) >= drain() + Duration::from_secs(15), "{name}");
    }
}

#[test]
fn secrets_come_as_files_and_those_that_are_read_are_there() {
    let (compose, copy) = (compose(), Shipped::new());
    for (name, service) in compose["services"].as_object().expect("services") {
        for variable in service["environment"].as_object().into_iter().flatten().map(|(variable, _)| variable) {
            assert!(!variable.contains("PASSWORD") || variable.ends_with("_FILE"), "{name}: {variable}");
        }
        let mounted = |secret: &Value| secret.as_str().or(secret["source"].as_str()).map(str::to_owned);
        for secret in service["secrets"].as_array().into_iter().flatten().filter_map(mounted) {
            let file = compose["secrets"][&secret]["file"].as_str().unwrap_or_else(|| panic!("{secret} is not declared"));
            assert!(copy.path("deploy/fleet").join(file).is_file(), "make-secrets makes no {file}");
        }
    }
    for plane in ["control", "proxy"] {
        for (name, service) in services(&compose, plane) {
            let target = |secret: &Value| secret.as_str().or(secret["target"].as_str()).map(str::to_owned);
            let mounted: BTreeSet<_> = service["secrets"].as_array().expect("secrets").iter().filter_map(target).collect();
            assert_eq!(mounted, secrets_read(plane), "{name}: what is mounted is what is read");
            assert_eq!(service["configs"][0]["target"], "/etc/clearway/clearway.toml", "{name}");
        }
    }
    assert_eq!(compose["configs"]["settings"]["file"], "clearway.toml");
}

#[test]
fn ports_and_names_are_those_of_the_settings() {
    let (compose, copy) = (compose(), Shipped::new());
    let settings = Settings::load(Some(&copy.path(SETTINGS))).expect("it is checked elsewhere");
    let open =
        [settings.gateway.addr.port(), settings.gateway.tls_addr.expect("encrypted too").port()].map(|port| port.to_string());
    for (name, service) in services(&compose, "proxy") {
        let inside = |port: &Value| port.as_str().and_then(|port| port.rsplit(':').next()).map(str::to_owned);
        let ports: Vec<_> = service["ports"].as_array().expect("ports").iter().filter_map(inside).collect();
        assert_eq!(ports, open, "{name}");
    }
    for (name, service) in services(&compose, "control") {
        assert_eq!(service["networks"]["planes"]["aliases"][0], "control", "{name}");
    }
    assert_eq!(settings.gateway.control_url, format!("http://control:{}", settings.control.addr.port()));
    assert!(text(SETTINGS).contains(&format!("connect = \"https://control:{}\"", settings.sync.addr.port())));
    for addr in [settings.metrics.proxy_addr, settings.metrics.control_addr, settings.control.addr, settings.sync.addr] {
        assert!(addr.ip().is_unspecified(), "{addr} is for other containers");
    }
}
