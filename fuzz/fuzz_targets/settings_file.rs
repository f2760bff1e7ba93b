//! A settings file of either kind: it resolves, or is refused in one line that names a place.

#![no_main]

use clearway_config::settings::{Gateway, Plans, Source, UpstreamAddress};
use clearway_filters::route::Routes;
use http::Method;
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
    for route in &gateway.routes {
        let method = route.methods.first().unwrap_or(&Method::GET);
        let found = routes.find(route.host.as_deref().unwrap_or("any.host.example"), &route.path, method);
        // Another file may not stand in between: a route's own path finds it, or one of the same path that names the host.
        assert!(found.is_ok_and(|found| found.route.path == route.path || found.route.host.is_some()));
    }
});
