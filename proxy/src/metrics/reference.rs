//! What `docs/observability` says of metrics, kept true: the page, the dashboard and the alerts.
//! `UPDATE_DOCS=1 cargo test -p clearway-proxy the_page_explains` writes the page's table anew.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, time::Duration};

use prometheus::proto::{MetricFamily, MetricType};

use super::*;
use crate::upstreams::{BreakerState, TargetHealth, TargetState, UpstreamHealth};

const BEGIN: &str = "<!-- proxy: generated -->\n";
const END: &str = "<!-- /proxy -->\n";

fn page(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../docs/observability", name].iter().collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(page(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every family, each with something in it.
fn families() -> Vec<MetricFamily> {
    let metrics = Metrics::new();
    let took = Duration::from_millis(1);
    metrics.answered(None, &Answered { status: 200, took, upstream: Some(took), rejected: false, traced: None });
    metrics.rejected(ErrorCode::NotReady);
    metrics.upstream_failed("orders", "connect");
    metrics.jwks_fetched("login", true);
    metrics.wanted_at_zero();
    metrics.upstreams.retried("orders");
    metrics.upstreams.budget_exhausted("orders");
    metrics.upstreams.ejected("orders");
    metrics.upstreams.breaker_opened("orders");
    metrics.upstreams.mirrored("orders", "sent");
    let target = TargetHealth {
        address: ([127, 0, 0, 1], 7000).into(),
        named: "127.0.0.1:7000".into(),
        tls: false,
        weight: 1,
        state: TargetState::Healthy,
        in_flight: 0,
        failures: 0,
        check_failed: None,
    };
    let breaker = Some(BreakerState::Closed);
    metrics.upstreams.observe([UpstreamHealth { name: "orders".into(), breaker, targets: vec![target] }].into_iter());
    metrics.cache.answered("orders", "hit");
    metrics.egress.gave_up(0);
    metrics.encryption.certificates([("a.test", 1.0)].into_iter());
    metrics.encryption.certificate_reloaded(true);
    metrics.encryption.ordered(true);
    metrics.encryption.handshake(true);
    metrics.lease.called("take", "given");
    metrics.lease.granted(&crate::lease::Added { day: 1, ..Default::default() });
    metrics.lease.waited("answered", Some(took));
    metrics.lease.unspent((0, 0));
    metrics.registry.gather()
}

fn table() -> String {
    let mut table = "| name | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for family in families() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let labels = family.get_metric()[0].get_label();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
        writeln!(table, "| `{}` | {kind} | {} | {} |", family.name(), labels.join(" "), family.help()).unwrap();
    }
    table
}

/// Names in a text that look like ours.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("clearway_") || word.starts_with("process_")).collect()
}

#[test]
fn the_page_explains_every_metric_of_the_proxy() {
    let text = read("metrics.md");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (found, after) = rest.split_once(END).expect("the place ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page("metrics.md"), format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(found, table(), "`make generate` writes it anew");
}

#[test]
fn no_metric_is_forgotten_by_the_page() {
    let sources = [
        include_str!("cache.rs"),
        include_str!("egress.rs"),
        include_str!("encryption.rs"),
        include_str!("lease.rs"),
        include_str!("mod.rs"),
        include_str!("refused.rs"),
        include_str!("routes.rs"),
        include_str!("upstreams.rs"),
    ];
    let declared = sources.iter().flat_map(|source| {
        let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        code.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("clearway_") || literal.starts_with("process_"))
    });
    let table = table();
    let explained = named(&table);
    let forgotten: Vec<_> = declared.filter(|name| !explained.contains(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn the_dashboard_and_the_alerts_name_only_what_exists() {
    let text = read("metrics.md");
    let mut known = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let name = row.split('`').nth(1).unwrap_or_default();
        known.insert(name.to_owned());
        if row.contains("| histogram |") {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
    }
    assert!(known.contains("clearway_control_store_up") && known.contains("clearway_request_duration_seconds_bucket"));
    for file in ["grafana-dashboard.json", "alerts.yml"] {
        let text = read(file);
        let unknown: Vec<_> = named(&text).into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
        let codes = text.split("code=").skip(1).filter_map(|rest| rest.split('"').nth(1));
        for code in codes.flat_map(|codes| codes.split('|')) {
            assert!(ErrorCode::ALL.iter().any(|c| c.as_str() == code), "{file} names the code {code}");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
}
