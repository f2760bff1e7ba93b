//! What each decision of the request path costs, one at a time, on an ordinary request.

use std::{
    fmt::Write as _,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use clearway_config::{
    Environment, Limits, PlainKey, Scopes,
    settings::{Gateway, Source, UpstreamAddress},
};
use clearway_filters::{
    access::{self, Held},
    headers,
    quota::{Now, Windows, decide, release},
    ratelimit::{self, Text},
    request::{Credential, RequestView},
    route::{Asked, Routes},
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, Request, request::Parts};

const NOW_MS: u64 = 1_770_724_800_123;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const TARGET: &str = "/v1/orders/17/items?page=2";

/// What a browser or an SDK sends.
fn ordinary(key: &PlainKey) -> Parts {
    let request = Request::builder()
        .uri(TARGET)
        .header("host", "api.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, br")
        .header("accept-language", "en")
        .header("authorization", format!("Bearer {}", key.reveal()))
        .header("cache-control", "no-cache")
        .header("connection", "keep-alive")
        .header("referer", "https://example.com/")
        .header("x-app-version", "4.2.1");
    request.body(()).expect("a well-formed request").into_parts().0
}

fn keys_and_views(c: &mut Criterion) {
    let key = PlainKey::mint(Environment::Live, [7; 32]);
    let parts = ordinary(&key);
    c.bench_function("decisions/key: parse and hash", |b| {
        b.iter(|| PlainKey::parse(black_box(key.reveal().as_bytes())).map(|key| key.hash()));
    });
    c.bench_function("decisions/request: read the view", |b| {
        b.iter(|| RequestView::read(black_box(&parts), black_box(TARGET.as_bytes()), PEER, &[]).is_ok());
    });
    let view = RequestView::read(&parts, TARGET.as_bytes(), PEER, &[]).expect("an ordinary request");
    assert!(matches!(view.credential(), Credential::Key(_)));
    c.bench_function("decisions/headers: find what is stripped", |b| {
        b.iter(|| headers::stripped(black_box(&parts.headers), false).count());
    });
}

/// `count` routes as an API has them: literals, parameters, half of them on a host of their own.
fn gateway(count: usize) -> Gateway {
    let mut text = String::new();
    for n in 0..count {
        let id = if n % 4 < 2 { "/{id}" } else { "" };
        let _ = write!(text, "[[routes]]\nname = \"r{n}\"\nupstream = \"control\"\nauth = \"key\"\n");
        let _ = write!(text, "methods = [\"GET\", \"POST\"]\npath = \"/v1/resource-{n}{id}/items\"\n");
        if n % 2 == 1 {
            let _ = writeln!(text, "host = \"host-{}.example.com\"", n / 100);
        }
    }
    let control = UpstreamAddress::parse("http://127.0.0.1:1").expect("an address");
    Gateway::resolve(&[Source::new("gateway.toml", text)], &control).expect("routes that do not meet")
}

fn routes(c: &mut Criterion) {
    let headers = HeaderMap::new();
    for count in [10, 1_000, 100_000] {
        let gateway = gateway(count);
        let routes = Routes::new(&gateway);
        // In no order that a cache could learn.
        let mut asked: Vec<(String, String)> = (0..count)
            .map(|n| {
                let n = n * 7_919 % count;
                let id = if n % 4 < 2 { "/17" } else { "" };
                (format!("host-{}.example.com", n / 100), format!("/v1/resource-{n}{id}/items/3"))
            })
            .collect();
        asked.dedup();
        let mut next = 0;
        c.bench_function(&format!("decisions/route: find among {count}"), |b| {
            b.iter(|| {
                next = (next + 1) % asked.len();
                let (host, path) = &asked[next];
                let asked = Asked { host, path, method: &Method::GET, query: None, headers: &headers, announced: None };
                routes.find(black_box(&asked)).map(|found| found.index).expect("one of the routes")
            });
        });
        if count == 100_000 {
            c.bench_function("decisions/route: build 100000", |b| b.iter(|| Routes::new(black_box(&gateway))));
        }
    }
}

fn access_and_quota(c: &mut Criterion) {
    let scopes: Scopes = ["read:apps", "read:orders", "write:orders"].iter().filter_map(|scope| scope.parse().ok()).collect();
    let wanted: Scopes = ["read:orders"].iter().filter_map(|scope| scope.parse().ok()).collect();
    let allowed = ["10.0.0.0/8", "192.0.2.0/24"].map(|net| net.parse().expect("a network"));
    let held = Held { revoked: false, expires_at: Some(u64::MAX), suspended: false, allowed: &allowed, scopes: &scopes };
    c.bench_function("decisions/access: check", |b| {
        b.iter(|| access::check(black_box(&held), &wanted, PEER, NOW_MS).is_ok());
    });

    c.bench_function("decisions/quota: take a moment apart", |b| b.iter(|| Now::at(black_box(NOW_MS))));
    let now = Now::at(NOW_MS);
    let much = Some(10_000_000);
    let limits = Limits::new(much, Some(1_000_000_000_000), Some(1_000_000_000_000), much, false).expect("within bounds");
    let (mut account, mut key) = (Windows::default(), Windows::default());
    c.bench_function("decisions/quota: decide and release", |b| {
        b.iter(|| {
            account.second_count = 0;
            key.second_count = 0;
            let admitted = decide(black_box(&now), (&mut account, &limits), (&mut key, &limits)).is_ok();
            release(&mut account);
            release(&mut key);
            admitted
        });
    });
    let standing = decide(&now, (&mut account, &limits), (&mut key, &limits)).expect("no limit is met");
    let mut text = Text::default();
    c.bench_function("decisions/ratelimit: write all headers", |b| {
        b.iter(|| {
            let nearest = ratelimit::nearest(black_box(&standing)).map_or(0, |nearest| nearest.remaining);
            ratelimit::number(&mut text, nearest);
            ratelimit::policy(&mut text, &standing).len() + ratelimit::left(&mut text, &standing).len()
        });
    });
}

criterion_group!(benches, keys_and_views, routes, access_and_quota);
criterion_main!(benches);
