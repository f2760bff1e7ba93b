//! What each feature costs, switched on alone, beside a gateway that only forwards; and how many routes cost what.

use std::{fmt::Write as _, time::Duration};

use crate::{
    fixture::Keys,
    systems::{Setup, System},
    traffic::Upstream,
};

/// Nobody is asked who they are, nothing is counted or logged.
const BARE: &str = "[access_log]\nenabled = false\n";
const OPEN: &str = "auth = \"open\"";
const KEYS: usize = 1_000;
/// Gateways that take turns at a time, the bare one among them: they share the machine's memory and caches.
const AT_A_TIME: usize = 7;

/// A feature: its name, settings in place of [`BARE`], the route's words and what else the routes' file says.
type Feature = (&'static str, &'static str, &'static str, &'static str);

const FEATURES: &[Feature] = &[
    ("access log", "", OPEN, ""),
    ("spans of 1 %", "[access_log]\nenabled = false\n[tracing]\notlp_endpoint = \"http://127.0.0.1:9\"\n", OPEN, ""),
    ("key and quotas", BARE, "auth = \"key\"", ""),
    ("key, quotas, access log", "", "auth = \"key\"", ""),
    ("rewrite", BARE, "auth = \"open\"\nrewrite = { path = \"/other\", host = \"internal.example\" }", ""),
    ("canary split", BARE, "auth = \"open\"\nsplit = [{ upstream = \"bench\", percent = 50 }]", ""),
    ("addresses", BARE, POLICY, "[[policies]]\nname = \"p\"\naddresses = { allow = [\"127.0.0.0/8\", \"2001:db8::/32\"] }"),
    ("body length", BARE, POLICY, "[[policies]]\nname = \"p\"\nbody_max = \"1MiB\""),
    ("CORS", BARE, POLICY, "[[policies]]\nname = \"p\"\ncors = { origins = [\"https://app.example.com\"] }"),
    (
        "request headers",
        BARE,
        POLICY,
        "[[policies]]\nname = \"p\"\nrequest_headers = { set = { x-a = \"1\" }, remove = [\"x-b\"] }",
    ),
    (
        "response headers",
        BARE,
        POLICY,
        "[[policies]]\nname = \"p\"\nresponse_headers = { set = { x-a = \"1\" }, remove = [\"x-b\"] }",
    ),
    ("deprecation", BARE, POLICY, "[[policies]]\nname = \"p\"\ndeprecated = { since = \"2026-01-01\" }"),
    ("compression, not asked for", BARE, POLICY, "[[policies]]\nname = \"p\"\ncompression = {}"),
    ("cache, miss", BARE, POLICY, "[[policies]]\nname = \"p\"\ncache = {}"),
    ("JSON of answers", BARE, POLICY, "[[policies]]\nname = \"p\"\nresponse_json = { rename = { \"/a\" = \"b\" } }"),
];
const POLICY: &str = "auth = \"open\"\npolicies = [\"p\"]";
const ROUTES: [usize; 3] = [10, 1_000, 100_000];

pub(crate) async fn run(rounds: u32, slice: Duration, connections: usize) -> Result<(), String> {
    let upstream = Upstream::start().await.map_err(|e| e.to_string())?;
    let keys = Keys::mint(KEYS);
    heading(connections, rounds, slice);
    let routes: Vec<(String, String)> = ROUTES.iter().map(|&count| (format!("{count} routes"), many(count))).collect();
    let routes = routes.iter().map(|(name, document)| (name.as_str(), BARE, OPEN, document.as_str()));
    let all: Vec<(&str, &str, &str, &str)> = FEATURES.iter().copied().chain(routes).collect();
    for some in all.chunks(AT_A_TIME - 1) {
        let mut systems = Vec::new();
        for (name, settings, route, document) in std::iter::once(("forwarding alone", BARE, OPEN, "")).chain(some.iter().copied())
        {
            let setup = Setup { settings, document, route, control: None };
            systems.push(System::clearway_as(name, &setup, &upstream, &keys).await?);
        }
        for system in &mut systems {
            system.slice(connections, slice).await?;
            system.slices_us.clear();
        }
        for _ in 0..rounds {
            for system in &mut systems {
                system.slice(connections, slice).await?;
            }
        }
        report(&systems);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn heading(connections: usize, rounds: u32, slice: Duration) {
    println!(
        "\n{connections} connections, {rounds} slices of {} ms each in turn; processor time is the median slice's\n",
        slice.as_millis()
    );
    println!("{:<28} {:>10} {:>8} {:>8} {:>8}", "", "CPU us/req", "ratio", "more us", "start s");
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn report(systems: &[System]) {
    let bare = systems[0].cpu_us();
    for system in systems {
        let cpu = system.cpu_us();
        let started = system.started_in.as_secs_f64();
        println!("{:<28} {:>10.2} {:>8.3} {:>+8.2} {:>8.2}", system.name, cpu, cpu / bare, cpu - bare, started);
    }
    println!();
}

/// So many routes with the one that is asked for, of all kinds.
fn many(count: usize) -> String {
    let mut document = String::new();
    for n in 1..count {
        let matched = match n % 4 {
            0 => format!("path = \"/items/{n}\""),
            1 => format!("path = \"/orders/{{id}}/lines/{n}\""),
            2 => format!("path = \"/bench/item/{n}\""),
            _ => format!("host = \"h{n}.example.com\"\npath = \"/bench\""),
        };
        let route = format!("[[routes]]\nname = \"r{n}\"\n{matched}\nupstream = \"bench\"\nauth = \"open\"\n\n");
        document.write_str(&route).expect("a String takes everything");
    }
    document
}
