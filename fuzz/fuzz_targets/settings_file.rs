//! A settings file of either kind: it resolves, or is refused in one line that names a place.

#![no_main]

use clearway_config::settings::{Gateway, Plans, Source, UpstreamAddress, gateway::host::HostPattern};
use clearway_filters::{
    Reject,
    route::{Asked, Routes},
};
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("settings.toml", text);
    let control = UpstreamAddress::parse("http://127.0.0.1:9000").expect("an address");
    let plans = Plans::resolve(&source).map(drop);
    let gateway = Gateway::resolve(&[source], &control);
    for error in [plans.err(), gateway.as_ref().err().cloned()].into_iter().flatten() {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let Ok(gateway) = gateway else { return };
    let routes = Routes::new(&gateway);
    let headers = HeaderMap::new();
    for route in gateway.routes.iter().filter(|route| route.conditions.is_empty()) {
        let host = match &route.hosts[0] {
            HostPattern::Any => "any.host.example".to_owned(),
            HostPattern::Wildcard(below) => format!("x.{below}"),
            HostPattern::Exact(host) => host.clone(),
        };
        let segments: Vec<_> = route.path.as_str().split('/').map(|s| if s.starts_with('{') { "x" } else { s }).collect();
        let (path, method) = (segments.join("/"), route.methods.first().unwrap_or(&Method::GET));
        let found = routes.find(&Asked { host: &host, path: &path, method, query: None, headers: &headers, announced: None });
        // It is found, or one more specific that may not take the method.
        assert!(!matches!(found, Err(Reject::RouteNotFound)), "{host}{path}");
    }
});
