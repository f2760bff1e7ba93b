//! Routes as tables, and as a property: the tree finds what looking at every route finds.

use std::collections::BTreeMap;

use clearway_config::settings::{
    Document, Gateway, Source, UpstreamAddress,
    gateway::{
        host::HostPattern,
        path::{PathMatch, Segment},
    },
};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Reject;

/// Routes named `r0`, `r1` …; each line is what one says besides.
pub(super) fn gateway(lines: &[&str]) -> Gateway {
    let route =
        |(n, line): (usize, &&str)| format!("{{ name = \"r{n}\", upstream = \"control\", auth = \"open\", {} }}", commas(line));
    let routes: Vec<_> = lines.iter().enumerate().map(route).collect();
    let text = format!("routes = [{}]", routes.join(",\n"));
    Gateway::resolve(&[Source::new("gateway.toml", text)], &control()).unwrap()
}

/// `a = "1" b = "2"` with a comma between.
fn commas(line: &str) -> String {
    line.replace("\" ", "\", ").replace("] ", "], ").replace("} ", "}, ").replace("true ", "true, ").replace("\", }", "\" }")
}

fn control() -> UpstreamAddress {
    UpstreamAddress::parse("http://127.0.0.1:1").unwrap()
}

fn routes(lines: &[&str]) -> Routes {
    Routes::new(&gateway(lines))
}

/// A request in one line: `GET api.example/a/b?c x: 1, y: 2`.
fn find<'r>(routes: &'r Routes, request: &str) -> Result<MatchedRoute<'r>, Reject> {
    let mut words = request.splitn(3, ' ');
    let method: Method = words.next().unwrap().parse().unwrap();
    let target = words.next().unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let headers = words.next().unwrap_or_default().split(", ").filter_map(|header| header.split_once(": "));
    let headers = headers.map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse::<HeaderValue>().unwrap())).collect();
    routes.find(&Asked { host, path, method: &method, query, headers: &headers, announced: None })
}

fn check(lines: &[&str], requests: &[(&str, Option<usize>)]) {
    let routes = routes(lines);
    for (request, wanted) in requests {
        let found = match find(&routes, request) {
            Ok(found) => Some(found.index),
            Err(Reject::RouteNotFound) => None,
            Err(other) => panic!("{request}: {other:?}"),
        };
        assert_eq!(found, *wanted, "{request}");
    }
}

#[test]
fn the_most_specific_route_wins_a_host_before_a_path() {
    check(
        &[
            r#"path = "/""#,
            r#"path = "/orders""#,
            r#"path = "/orders/open""#,
            r#"host = "a.example" path = "/""#,
            r#"host = "b.example" path = "/orders""#,
            r#"host = "*.example" path = "/orders""#,
            r#"host = ["c.example", "*.d.example"] path = "/orders""#,
        ],
        &[
            ("GET x/", Some(0)),
            ("GET x/other", Some(0)),
            ("GET x/orders", Some(1)),
            ("GET x/orders/", Some(1)),
            ("GET x/ordersx", Some(0)),
            ("GET x/orders/17/items", Some(1)),
            ("GET x/orders/open/1", Some(2)),
            ("GET a.example/orders/open", Some(3)),
            ("GET b.example/orders/open", Some(4)),
            ("GET b.example/other", Some(0)),
            ("GET z.example/orders", Some(5)),
            ("GET y.z.example/orders", Some(5)),
            ("GET example/orders", Some(1)),
            ("GET xexample/orders", Some(1)),
            ("GET c.example/orders", Some(6)),
            ("GET d.example/orders", Some(5)),
            ("GET x.y.d.example/orders", Some(6)),
            ("GET x.y.d.example/other", Some(0)),
        ],
    );
}

#[test]
fn a_parameter_is_one_segment_that_is_there_and_literals_come_first() {
    check(
        &[
            r#"path = "/orders/{id}""#,
            r#"path = "/orders/open""#,
            r#"path = "/orders/{id}/items" path_match = "exact""#,
            r#"path = "/a/{x}/c" path_match = "exact""#,
            r#"path = "/a/b/d" path_match = "exact""#,
            r#"path = "/a/{x}/{y}/e""#,
        ],
        &[
            ("GET x/orders/17", Some(0)),
            ("GET x/orders/17/more", Some(0)),
            ("GET x/orders/open", Some(1)),
            ("GET x/orders/17/items", Some(2)),
            ("GET x/orders/17/items/", Some(2)),
            ("GET x/orders/17/items/1", Some(0)),
            ("GET x/orders/open/items", Some(1)),
            ("GET x/orders", None),
            ("GET x/orders/", None),
            ("GET x/orders/;v=1", None),
            // Back from the literal's side to the parameter's.
            ("GET x/a/b/c", Some(3)),
            ("GET x/a/b/d", Some(4)),
            ("GET x/a/b/d/e", Some(5)),
            ("GET x/a/b/x", None),
            ("GET x/a/c/c", Some(3)),
        ],
    );
}

#[test]
fn parameters_are_where_they_were_read_also_after_a_way_back() {
    let routes = routes(&[
        r#"path = "/{a}/x/{b}/y" path_match = "exact" rewrite = { path = "/v2/{b}/of/{a}" }"#,
        r#"path = "/{a}/{c}/{d}" rewrite = { path = "/p/{d}" }"#,
    ]);
    let path = "/one/x/t%20wo;v=1/y";
    let found = find(&routes, &format!("GET h{path}")).unwrap();
    assert_eq!((found.param("a", path), found.param("b", path), found.param("c", path)), (Some("one"), Some("t%20wo;v=1"), None));
    assert_eq!(found.forwarded_path(path), "/v2/t%20wo;v=1/of/one");
    let path = "/one/x/two/z";
    let found = find(&routes, &format!("GET h{path}")).unwrap();
    assert_eq!(
        (found.param("c", path), found.param("d", path), found.forwarded_path(path).as_ref()),
        (Some("x"), Some("two"), "/p/two/z")
    );
}

#[test]
fn no_spelling_of_a_path_walks_around_its_route() {
    check(
        &[r#"path = "/""#, r#"path = "/admin:x/y""#, r#"path = "/only" path_match = "exact""#],
        &[
            ("GET h/admin:x/y", Some(1)),
            ("GET h/admin%3Ax/y", Some(1)),
            ("GET h/admin:x;v=1/y", Some(1)),
            ("GET h/admin:x;/y;", Some(1)),
            ("GET h/admin%3Ax%3Bv/y/z", Some(1)),
            ("GET h/admin:x/y/", Some(1)),
            ("GET h/only", Some(2)),
            ("GET h/only/", Some(2)),
            ("GET h/only;v=1/;", Some(2)),
            ("GET h/only/x", Some(0)),
            ("GET h/admin:x", Some(0)),
            ("GET h/admin/y", Some(0)),
            ("GET h/admin:X/y", Some(0)),
            ("GET h/admin%253Ax/y", Some(0)),
        ],
    );
}

#[test]
fn a_method_that_the_most_specific_route_refuses_is_not_tried_on_another() {
    let routes = routes(&[
        r#"path = "/""#,
        r#"path = "/a" methods = ["GET", "HEAD"]"#,
        r#"path = "/a" methods = ["POST"]"#,
        r#"path = "/b""#,
        r#"path = "/b" methods = ["GET", "PURGE"]"#,
        r#"path = "/{x}/c" methods = ["GET"]"#,
        r#"path = "/lit/c" methods = ["POST"]"#,
    ]);
    let index = |request: &str| find(&routes, request).map(|found| found.index);
    assert_eq!((index("POST h/a"), index("HEAD h/a"), index("GET h/b"), index("PUT h/b")), (Ok(2), Ok(1), Ok(4), Ok(3)));
    assert_eq!((index("PURGE h/b"), index("BREW h/b"), index("GET h/x/c")), (Ok(4), Ok(3), Ok(5)));
    let allowed = |request: &str| match find(&routes, request) {
        Err(Reject::MethodNotAllowed(methods)) => methods.to_string(),
        other => panic!("{request}: {other:?}"),
    };
    assert_eq!(
        (allowed("DELETE h/a"), allowed("PURGE h/a"), allowed("GET h/lit/c")),
        ("GET, HEAD, POST".into(), "GET, HEAD, POST".into(), "POST".into())
    );
}

#[test]
fn trace_and_connect_are_only_for_routes_that_name_them() {
    let routes = routes(&[r#"path = "/""#, r#"path = "/named" methods = ["TRACE"]"#]);
    for request in ["TRACE h/a", "CONNECT h/a"] {
        assert!(matches!(find(&routes, request), Err(Reject::MethodNotAllowed(_))), "{request}");
    }
    assert_eq!(find(&routes, "TRACE h/named").map(|found| found.index), Ok(1));
}

#[test]
fn conditions_choose_among_routes_of_one_path_and_fall_through_to_the_next() {
    let lines = [
        r#"path = "/a""#,
        r#"path = "/a" headers = { x-api-version = "2" }"#,
        r#"path = "/a" headers = { x-api-version = "2" x-beta = "*" }"#,
        r#"path = "/a" query = { channel = "beta" }"#,
        r#"path = "/a/b" headers = { x-api-version = "3" } methods = ["GET"]"#,
        r#"path = "/a/only" query = { q = "*" }"#,
    ];
    // One with a header and one with a parameter of the same number could both take a request.
    let result = std::panic::catch_unwind(|| gateway(&lines));
    assert!(result.is_err());
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| line.replace("{ channel = \"beta\" }", "{ channel = \"beta\" x = \"*\" z = \"*\" }"))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    check(
        &lines,
        &[
            ("GET h/a", Some(0)),
            ("GET h/a x-api-version: 1", Some(0)),
            ("GET h/a X-API-Version: 2", Some(1)),
            ("GET h/a x-api-version: 2, x-api-version: 2", Some(0)),
            ("GET h/a x-api-version: 2, x-beta: no", Some(2)),
            ("GET h/a?x&z=1&channel=b%65ta x-api-version: 2", Some(3)),
            ("GET h/a/b x-api-version: 3", Some(4)),
            ("POST h/a/b x-api-version: 2", Some(1)),
            ("GET h/a/b", Some(0)),
            ("GET h/a/only?q", Some(5)),
            ("GET h/a/only?p", Some(0)),
        ],
    );
    assert!(matches!(find(&routes(&lines), "POST h/a/b x-api-version: 3"), Err(Reject::MethodNotAllowed(_))));
}

#[test]
fn a_preflight_takes_announced_headers_for_conditions_met() {
    let routes = routes(&[r#"path = "/a""#, r#"path = "/a" headers = { x-api-version = "2" }"#]);
    let find = |announced: &[u8]| {
        let asked = Asked {
            host: "h",
            path: "/a",
            method: &Method::PUT,
            query: None,
            headers: &HeaderMap::new(),
            announced: Some(announced),
        };
        routes.find(&asked).map(|found| found.index)
    };
    assert_eq!((find(b"content-type, X-Api-Version"), find(b"content-type"), find(b"")), (Ok(1), Ok(0), Ok(0)));
}

#[test]
fn a_stripped_or_rewritten_prefix_leaves_a_path() {
    let routes = routes(&[
        r#"path = "/v1/orders" strip_prefix = true"#,
        r#"path = "/" strip_prefix = true"#,
        r#"path = "/old/{id}" rewrite = { path = "/new/items/{id}" }"#,
        r#"path = "/all" rewrite = { path = "/everything/" }"#,
    ]);
    for (path, forwarded) in [
        ("/v1/orders", "/"),
        ("/v1/orders/", "/"),
        ("/v1/orders/17", "/17"),
        ("/v1;x=2/orders;y/17;z", "/17;z"),
        ("/other/x", "/other/x"),
        ("/", "/"),
        ("/old/17", "/new/items/17"),
        ("/old/17/a/", "/new/items/17/a/"),
        ("/all", "/everything"),
        ("/all/b", "/everything/b"),
    ] {
        assert_eq!(find(&routes, &format!("GET h{path}")).unwrap().forwarded_path(path), forwarded, "{path}");
    }
}

#[test]
fn a_redirect_says_what_the_request_said_and_no_more() {
    let text =
        |to: &str| format!(r#"routes = [{{ name = "r", auth = "open", path = "/old/{{id}}", redirect = {{ to = "{to}" }} }}]"#);
    let location = |to: &str, host: &str, path: &str, query: Option<&str>| {
        let gateway = Gateway::resolve(&[Source::new("gateway.toml", text(to))], &control()).unwrap();
        let routes = Routes::new(&gateway);
        let asked = Asked { host, path, method: &Method::GET, query, headers: &HeaderMap::new(), announced: None };
        let found = routes.find(&asked).unwrap();
        target::location(found.route.redirect.as_ref().unwrap(), &found, &asked).map(|value| value.to_str().unwrap().to_owned())
    };
    for (to, path, query, wanted) in [
        ("https://{host}{path}{query}", "/old/17/x", Some("a=b"), "https://h.example/old/17/x?a=b"),
        ("https://{host}:8443{path}", "/old/17", Some("a"), "https://h.example:8443/old/17"),
        ("https://new.example/v2/{id}", "/old/1%2525/y", None, "https://new.example/v2/1%2525"),
        ("/new/{id}{query}", "/old/17", Some(""), "/new/17?"),
        ("/find?id={id}&x=1", "/old/a&x=2;+", None, "/find?id=a%26x%3D2%3B%2B&x=1"),
        ("{path}", "/old/@evil.example", None, "/old/@evil.example"),
    ] {
        assert_eq!(location(to, "h.example", path, query).as_deref(), Ok(wanted), "{to}");
    }
    assert!(matches!(location("https://{host}{path}", "", "/old/1", None), Err(Reject::Ambiguous(_))));
}

// The model: every route is looked at, and precedence alone decides.

fn host_fits(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name == host,
        HostPattern::Wildcard(below) => {
            host.strip_suffix(below.as_str()).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        }
    }
}

fn path_fits(route: &Route, path: &str) -> bool {
    let mut segments: Vec<&str> = path[1..].split('/').map(|s| s.split(';').next().unwrap()).collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    let wanted: Vec<_> = route.path.segments().collect();
    let long_enough = match route.path.kind {
        PathMatch::Exact => wanted.len() == segments.len(),
        PathMatch::Prefix => wanted.len() <= segments.len(),
    };
    long_enough
        && wanted.iter().zip(&segments).all(|(wanted, segment)| match wanted {
            Segment::Literal(text) => text == segment,
            Segment::Param(_) => !segment.is_empty(),
        })
}

fn model(routes: &[Route], asked: &Asked<'_>) -> Result<usize, bool> {
    let meets = |route: &Route| {
        let conditions = &route.conditions;
        conditions.hold_for_headers(asked.headers)
            && conditions.query().iter().all(|(name, wanted)| query::holds(asked.query.unwrap_or_default(), name, wanted))
    };
    let fits = routes.iter().enumerate().filter(|(_, route)| path_fits(route, asked.path) && meets(route));
    let best_host = |route: &Route| {
        let hosts = route.hosts.iter().filter(|host| host_fits(host, asked.host));
        hosts.map(|host| (Precedence::of(route, host), host.clone())).max_by_key(|(precedence, _)| *precedence)
    };
    let mut fits: Vec<_> = fits.filter_map(|(n, route)| best_host(route).map(|(p, host)| (p, host, n))).collect();
    fits.sort_by_key(|(precedence, ..)| std::cmp::Reverse(*precedence));
    // The host and path of the most specific route that is about the request.
    let Some((_, host, first)) = fits.first().cloned() else { return Err(false) };
    let place = |n: usize| {
        let shape = |segment| if let Segment::Literal(text) = segment { Some(text.to_owned()) } else { None };
        (routes[n].path.kind, routes[n].path.segments().map(shape).collect::<Vec<_>>())
    };
    let mut here = fits.iter().filter(|(_, theirs, n)| *theirs == host && place(*n) == place(first));
    let allows = |route: &Route| route.methods.is_empty() || route.methods.contains(asked.method);
    here.find(|(_, _, n)| allows(&routes[*n])).map(|(_, _, n)| *n).ok_or(true)
}

fn route() -> impl Strategy<Value = Value> {
    let host = prop::sample::subsequence(vec!["*", "*.b", "*.a.b", "a.b", "c"], 1..=2);
    let segment = prop::sample::select(vec!["a", "b", "{}"]);
    let path = prop::collection::vec(segment, 0..5);
    let kind = prop::sample::select(vec!["prefix", "exact"]);
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 0..=2);
    let value = prop::sample::select(vec!["*", "1", "2"]);
    let pairs = || prop::collection::btree_map(prop::sample::select(vec!["x", "y"]), value.clone(), 0..2);
    (host, path, kind, methods, pairs(), pairs()).prop_map(|(host, path, kind, methods, headers, query)| {
        let named = path.iter().enumerate().map(|(n, s)| if *s == "{}" { format!("/{{p{n}}}") } else { format!("/{s}") });
        let path: String = named.collect();
        json!({
            "path": if path.is_empty() { "/" } else { &path }, "path_match": kind, "host": host, "methods": methods,
            "headers": headers, "query": query, "upstream": "control", "auth": "open",
        })
    })
}

type Request = (&'static str, String, &'static str, BTreeMap<&'static str, &'static str>, Option<&'static str>);

fn request() -> impl Strategy<Value = Request> {
    let host = prop::sample::select(vec!["a.b", "x.a.b", "c", "b", "x.b", "z", ""]);
    let segment = prop::sample::select(vec!["a", "b", "c", "a;v=1"]);
    let path = (prop::collection::vec(segment, 0..6), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    });
    let method = prop::sample::select(vec!["GET", "POST", "PURGE", "BREW"]);
    let headers = prop::collection::btree_map(prop::sample::select(vec!["x", "y"]), prop::sample::select(vec!["1", "2"]), 0..3);
    (host, path, method, headers, prop::sample::select(vec![None, Some("x=1"), Some("y=2&x=2"), Some("y")]))
}

/// As many of the routes as can stand beside each other.
fn compatible(routes: Vec<Value>) -> Gateway {
    let mut document = Document::default();
    for (n, mut route) in routes.into_iter().enumerate() {
        route["name"] = json!(format!("r{n}"));
        document.routes.push(serde_json::from_value(route).unwrap());
        if Gateway::of(std::slice::from_ref(&document), &control()).is_err() {
            document.routes.pop();
        }
    }
    Gateway::of(&[document], &control()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_tree_finds_what_looking_at_every_route_finds(
        routes in prop::collection::vec(route(), 0..24),
        requests in prop::collection::vec(request(), 60),
    ) {
        let gateway = compatible(routes);
        let tree = Routes::new(&gateway);
        for (host, path, method, headers, query) in &requests {
            let method: Method = method.parse().unwrap();
            let headers = headers.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse::<HeaderValue>().unwrap())).collect();
            let asked = Asked { host, path, method: &method, query: *query, headers: &headers, announced: None };
            let found = tree.find(&asked).map(|found| found.index).map_err(|e| e != Reject::RouteNotFound);
            prop_assert_eq!(found, model(&gateway.routes, &asked), "{:?}", asked);
        }
    }
}
