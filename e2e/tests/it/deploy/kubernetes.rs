//! The manifests, put together by kustomize, judged by the API's own schemas, and against the settings of the pods.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use base64::Engine as _;
use clearway_config::settings::Settings;
use serde_json::{Value, json};

use super::{
    Shipped, documents,
    fleet::{SETTINGS, drain, secrets_read},
    python, said, text,
};

/// Of the API: the oldest that has what is used.
const VERSION: &str = "1.30";

/// What `kubectl apply -k` would send.
fn rendered(copy: &Shipped) -> Result<Vec<Value>, String> {
    let yaml = said(Command::new("kubectl").arg("kustomize").arg(copy.path("deploy/fleet")))?;
    let file = copy.path("rendered.yaml");
    fs::write(&file, yaml).expect("writable");
    Ok(documents(&file))
}

/// What the schemas of the API say of what was rendered. A kind that they do not know only makes them warn.
fn judged(copy: &Shipped) -> Result<(), String> {
    let objects = rendered(copy)?.len();
    let judge = "import sys; from kubernetes_validate.__main__ import main; sys.exit(main())";
    let mut validate = python();
    validate.args(["-c", judge, "--strict", "--kubernetes-version", VERSION]).arg(copy.path("rendered.yaml"));
    let said = said(&mut validate)?;
    if said.matches(" passed for resource ").count() == objects { Ok(()) } else { Err(said) }
}

fn of<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = all
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"].as_str().is_some_and(|n| n.starts_with(name)));
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// Kind, name and template of what runs each plane.
const PLANES: [(&str, &str); 2] = [("Deployment", "control"), ("StatefulSet", "proxy")];

#[test]
fn the_api_would_take_the_manifests() {
    let copy = Shipped::new();
    assert_eq!(judged(&copy), Ok(()));
    for (file, from, to) in [
        ("kubernetes/control.yaml", "replicas: 2", "replicas: two"),
        ("kubernetes/control.yaml", "readinessProbe:", "readynessProbe:"),
        ("kubernetes/proxy.yaml", "apiVersion: autoscaling/v2", "apiVersion: autoscaling/v3"),
        ("kubernetes/proxy.yaml", "serviceName: proxies", "serviceNames: proxies"),
        ("kubernetes/network.yaml", "policyTypes: [Egress]", "policyTypes: Egress"),
        ("kustomization.yaml", "kubernetes/proxy.yaml", "kubernetes/gone.yaml"),
    ] {
        let copy = Shipped::new();
        copy.edit(&format!("deploy/fleet/{file}"), from, to);
        judged(&copy).expect_err(to);
    }
}

#[test]
fn every_manifest_is_part_of_the_whole() {
    let whole = text("deploy/fleet/kustomization.yaml");
    for entry in fs::read_dir(super::root().join("deploy/fleet/kubernetes")).expect("manifests") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(whole.contains(&format!("- kubernetes/{name}\n")), "{name} is in kustomization.yaml");
    }
}

#[test]
fn pods_can_do_little_and_have_the_time_to_drain() {
    let all = rendered(&Shipped::new()).expect("it is judged elsewhere");
    for (kind, name) in PLANES {
        let pod = &of(&all, kind, name)["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "the image's user");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        let container = &pod["containers"][0];
        let expected =
            json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(container["securityContext"], expected);
        assert!(container.get("env").is_none(), "secrets are files");

        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a pause");
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
        assert!(Duration::from_secs(grace) >= Duration::from_secs(pause) + drain() + Duration::from_secs(15), "{name}");
        let budget = &of(&all, "PodDisruptionBudget", name)["spec"];
        assert_eq!(budget["selector"]["matchLabels"], of(&all, kind, name)["spec"]["selector"]["matchLabels"]);
    }
}

#[test]
fn ports_probes_and_services_are_those_of_the_settings() {
    let copy = Shipped::new();
    let all = rendered(&copy).expect("it is judged elsewhere");
    let settings = Settings::load(Some(&copy.path(SETTINGS))).expect("it is checked elsewhere");
    let encrypted = settings.gateway.tls_addr.expect("encrypted too");
    let wanted = [
        json!([{"name": "api", "containerPort": settings.control.addr.port()},
               {"name": "sync", "containerPort": settings.sync.addr.port()},
               {"name": "metrics", "containerPort": settings.metrics.control_addr.port()}]),
        json!([{"name": "http", "containerPort": settings.gateway.addr.port()},
               {"name": "https", "containerPort": encrypted.port()},
               {"name": "metrics", "containerPort": settings.metrics.proxy_addr.port()}]),
    ];
    for ((kind, name), ports) in PLANES.into_iter().zip(wanted) {
        let object = of(&all, kind, name);
        let template = &object["spec"]["template"];
        let container = &template["spec"]["containers"][0];
        assert_eq!(container["ports"], ports);
        for (probe, path) in [("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")] {
            let expected = json!({"path": format!("/health/{path}"), "port": "metrics"});
            assert_eq!(container[probe]["httpGet"], expected, "{name}: {probe}");
        }
        assert_eq!(object["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"], name);
        assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/name"], name);
        let scraped = template["metadata"]["annotations"]["prometheus.io/port"].as_str().expect("a port");
        assert_eq!(scraped, list(&ports)[2]["containerPort"].to_string());

        // Services and policies name the ports, and select by the label.
        let named: BTreeSet<_> = list(&ports).iter().filter_map(|port| port["name"].as_str()).collect();
        for service in all.iter().filter(|o| o["kind"] == "Service" && o["spec"]["selector"]["app.kubernetes.io/name"] == name) {
            for port in list(&service["spec"]["ports"]) {
                assert!(named.contains(port["targetPort"].as_str().expect("a name")), "{service}");
            }
        }
        let policy = &of(&all, "NetworkPolicy", name)["spec"];
        assert_eq!(policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"], name);
        let allowed: BTreeSet<_> = list(&policy["ingress"])
            .iter()
            .flat_map(|rule| list(&rule["ports"]))
            .filter_map(|port| port["port"].as_str())
            .collect();
        assert_eq!(allowed, named, "{name}: whoever needs a port is let in, and at no other");
        assert_eq!(container["image"], format!("registry.example.com/clearway-{name}:0.1.0"));
    }
    assert!(text(SETTINGS).contains(&format!("connect = \"https://control:{}\"", settings.sync.addr.port())));
    let service = &of(&all, "Service", "control")["spec"]["ports"];
    assert_eq!(list(service).iter().map(|port| &port["port"]).collect::<Vec<_>>(), [9000, 9001]);
    assert_eq!(of(&all, "StatefulSet", "proxy")["spec"]["serviceName"], of(&all, "Service", "proxies")["metadata"]["name"]);
    let scaled = &of(&all, "HorizontalPodAutoscaler", "proxy")["spec"];
    assert_eq!(scaled["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "proxy"}));
}

#[test]
fn pods_are_given_the_settings_and_the_secrets_that_they_read() {
    let copy = Shipped::new();
    let all = rendered(&copy).expect("it is judged elsewhere");
    let settings = of(&all, "ConfigMap", "settings-");
    assert_eq!(settings["data"]["clearway.toml"], text(SETTINGS));
    for (kind, name) in PLANES {
        let pod = &of(&all, kind, name)["spec"]["template"]["spec"];
        let volume = |name: &str| list(&pod["volumes"]).iter().find(|volume| volume["name"] == name);
        assert_eq!(volume("settings").expect("settings")["configMap"]["name"], settings["metadata"]["name"]);
        let secret = of(&all, "Secret", &format!("{name}-secrets-"));
        assert_eq!(volume("secrets").expect("secrets")["secret"]["secretName"], secret["metadata"]["name"]);
        let given: BTreeSet<_> = secret["data"].as_object().expect("secrets").keys().cloned().collect();
        assert_eq!(given, secrets_read(name), "{name}: what is given is what is read");
        let token = secret["data"]["sync-token"].as_str().expect("a token").split_whitespace().collect::<String>();
        let token = base64::prelude::BASE64_STANDARD.decode(token).ok();
        assert_eq!(token, fs::read(copy.path("deploy/fleet/secrets/sync-token")).ok());

        let mounts: Vec<_> = list(&pod["containers"][0]["volumeMounts"]).iter().map(|mount| &mount["mountPath"]).collect();
        assert_eq!(mounts, ["/var/lib/clearway", "/etc/clearway/clearway.toml", "/run/secrets"]);
    }
    let disks = &of(&all, "StatefulSet", "proxy")["spec"]["volumeClaimTemplates"];
    assert_eq!(disks[0]["metadata"]["name"], "data", "each gateway has a disk of its own");
}
