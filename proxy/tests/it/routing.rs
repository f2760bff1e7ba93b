//! Where requests go, and as what: conditions, parameters, rewriting, redirects, canaries.

use std::collections::BTreeSet;

use clearway_config::sync::v1;

use crate::{
    client::Answer,
    rig::{Rig, bearer, credential, get, request},
    upstream::Upstream,
};

/// The same request both ways: as plain HTTP/1.1, and with a body in chunks, which Pingora forwards.
pub(crate) fn both(rig: &Rig, method: &str, path: &str, headers: &[&str]) -> [Answer; 2] {
    let chunked: Vec<&str> = headers.iter().copied().chain(["Transfer-Encoding: chunked"]).collect();
    [rig.ask(request(method, path, headers, "")), rig.ask(request(method, path, &chunked, "0\r\n\r\n"))]
}

/// Routes to `up`, and to `next`, which is the second upstream.
pub(crate) fn rig_with(routes: &str, next: Option<&Upstream>) -> Rig {
    let upstream = Upstream::start();
    let next = next.map_or(upstream.address, |next| next.address);
    let upstreams = format!(
        "[[upstreams]]\nname = \"up\"\naddresses = [\"http://{}\"]\n[[upstreams]]\nname = \"next\"\naddresses = [\"http://{next}\"]\n",
        upstream.address
    );
    Rig::start_with(upstream, &format!("{upstreams}{routes}"), |_| {})
}

#[test]
fn the_most_specific_route_takes_a_request_by_method_header_and_query() {
    let rig = rig_with(
        r#"
[[routes]]
name = "any"
path = "/items/{id}"
upstream = "up"
auth = "open"
rewrite = { path = "/any/{id}" }
[[routes]]
name = "v2"
path = "/items/{id}"
headers = { X-API-Version = "2" }
upstream = "up"
auth = "open"
rewrite = { path = "/v2/items/{id}", host = "Internal.example:81" }
[[routes]]
name = "beta"
path = "/items/{id}"
query = { channel = "beta", who = "*" }
upstream = "up"
auth = "open"
rewrite = { path = "/beta/{id}" }
[[routes]]
name = "one"
path = "/items/one"
path_match = "exact"
methods = ["GET"]
upstream = "up"
auth = "open"
rewrite = { host = "upstream" }
"#,
        None,
    );
    for (path, header, wanted) in [
        ("/items/17/x?q=1", "", "/any/17/x?q=1"),
        ("/items/17", "X-API-Version: 2", "/v2/items/17"),
        ("/items/17?channel=beta&who", "", "/beta/17?channel=beta&who"),
        ("/items/one", "X-API-Version: 2", "/items/one"),
    ] {
        let header = if header.is_empty() { "X-None: 1" } else { header };
        for answer in both(&rig, "GET", path, &[header]) {
            assert_eq!((answer.status, rig.upstream.last().target()), (200, wanted), "{path}");
        }
    }
    for answer in both(&rig, "DELETE", "/items/one", &[]) {
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    }
    both(&rig, "GET", "/items/1", &["X-API-Version: 2"]);
    both(&rig, "GET", "/items/one", &[]);
    let received = rig.upstream.received();
    let hosts: Vec<_> = received[received.len() - 4..].iter().map(|sent| sent.header("host").concat()).collect();
    let own = rig.upstream.address.to_string();
    assert_eq!(hosts, ["internal.example:81", "internal.example:81", &own, &own]);
    assert!(received.iter().all(|sent| sent.header("x-forwarded-host") == ["api.example.com"]), "the client's");
}

#[test]
fn a_redirect_is_answered_without_any_upstream_and_keeps_the_connection() {
    let rig = rig_with(
        r#"
[[routes]]
name = "moved"
path = "/old/{id}"
auth = "open"
redirect = { to = "https://{host}/new/{id}{query}" }
[[routes]]
name = "found"
path = "/found"
auth = "key"
redirect = { to = "{path}/there", status = 302 }
"#,
        None,
    );
    let mut client = rig.client();
    for _ in 0..2 {
        client.send(get("/old/17/x?a=b", &[]));
        let answer = client.read();
        assert_eq!((answer.status, answer.header("location")), (308, Some("https://api.example.com/new/17?a=b")));
        assert_eq!((answer.header("content-length"), answer.header("content-type")), (Some("0"), None));
    }
    assert!(
        both(&rig, "GET", "/found", &[&bearer(1)])
            .iter()
            .all(|a| a.status == 302 && a.header("location") == Some("/found/there"))
    );
    assert_eq!(rig.get("/found").status, 302);
    assert_eq!(rig.ask(get("/found", &[])).error(), "key_missing");
    assert_eq!((rig.counted(), rig.upstream.received().len()), (3, 0));
}

#[test]
fn a_canary_takes_its_header_and_its_share_of_the_accounts() {
    let next = Upstream::start();
    let mut rig = rig_with(
        r#"
[[routes]]
name = "split"
path = "/split"
upstream = "up"
auth = "key"
split = [{ upstream = "next", percent = 50 }, { upstream = "next", header = { X-Canary = "yes" } }]
"#,
        Some(&next),
    );
    for n in 2..34 {
        let account = [n; 16];
        rig.set(v1::Changes {
            accounts: vec![v1::Account { id: account.to_vec(), plan: "test".into(), ..v1::Account::default() }],
            credentials: vec![v1::Credential { account_id: account.to_vec(), ..credential(n) }],
            ..v1::Changes::default()
        });
        for _ in 0..3 {
            assert_eq!(rig.ask(get("/split", &[&bearer(n)])).status, 200);
        }
    }
    let accounts = |upstream: &Upstream| -> BTreeSet<String> {
        upstream.received().iter().map(|sent| sent.header("x-clearway-account-id").concat()).collect()
    };
    let (old, new) = (accounts(&rig.upstream), accounts(&next));
    assert!(old.is_disjoint(&new) && old.len() + new.len() == 32, "each account stays on its side");
    assert!((6..=26).contains(&new.len()), "{}", new.len());
    let before = next.received().len();
    for n in 2..12 {
        assert_eq!(rig.ask(get("/split", &[&bearer(n), "X-Canary: yes"])).status, 200);
    }
    assert_eq!(next.received().len(), before + 10);
}

#[test]
fn a_method_asks_for_its_scopes_and_head_for_gets() {
    let mut rig = rig_with(
        r#"
[[routes]]
name = "orders"
path = "/orders"
upstream = "up"
auth = "key"
scopes_by_method = { GET = ["read:orders"], POST = ["write:orders"] }
"#,
        None,
    );
    rig.set_credential(v1::Credential { scopes: vec!["read:orders".into()], ..credential(1) });
    for (method, status) in [("GET", 200), ("POST", 403), ("DELETE", 200)] {
        for answer in both(&rig, method, "/orders", &[&bearer(1)]) {
            assert_eq!(answer.status, status, "{method}");
        }
    }
    rig.set_credential(v1::Credential { scopes: vec!["write:orders".into()], ..credential(1) });
    let mut client = rig.client();
    client.send(request("HEAD", "/orders", &[&bearer(1)], ""));
    assert_eq!(client.read_head_only().status, 403);
}
