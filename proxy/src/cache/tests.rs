use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pingora::{
    cache::{CacheMeta, Storage as _, storage::HandleMiss as _, trace::Span},
    http::ResponseHeader,
};

use super::{fill::Fill, *};

fn cache(bytes_max: u64) -> Cache {
    Cache::new(bytes_max, Arc::default())
}

fn key(cache: &Cache, route: &str, path: &str, caller: &str) -> CacheKey {
    Words::new(cache.store, route, "api.example.com", path).and(path.as_bytes()).and(caller.as_bytes()).key(cache.store)
}

fn meta(length: Option<usize>) -> CacheMeta {
    let mut head = ResponseHeader::build(200, None).unwrap();
    if let Some(length) = length {
        head.insert_header("content-length", length).unwrap();
    }
    let now = SystemTime::now();
    CacheMeta::new(now + Duration::from_secs(60), now, 0, 0, head)
}

async fn fill(cache: &Cache, key: &CacheKey, body: &str, length: Option<usize>) -> bool {
    let mut fill = Box::new(Fill::new(cache.store, key, &meta(length)).unwrap());
    fill.write_body(Bytes::copy_from_slice(body.as_bytes()), false).await.unwrap();
    fill.finish().await.is_ok()
}

async fn found(cache: &Cache, key: &CacheKey) -> Option<Vec<u8>> {
    let (_, mut hit) = cache.store.lookup(key, &Span::inactive().handle()).await.unwrap()?;
    let mut body = Vec::new();
    while let Some(part) = hit.read_body().await.unwrap() {
        body.extend_from_slice(&part);
    }
    Some(body)
}

#[tokio::test]
async fn what_is_kept_is_found_by_the_same_words_only() {
    let cache = cache(1 << 20);
    assert!(fill(&cache, &key(&cache, "r", "/a", "x"), "one", Some(3)).await);
    assert_eq!(found(&cache, &key(&cache, "r", "/a", "x")).await.as_deref(), Some(&b"one"[..]));
    for (path, caller) in [("/a", "y"), ("/b", "x"), ("/a", ""), ("/", "ax")] {
        assert_eq!(found(&cache, &key(&cache, "r", path, caller)).await, None);
    }
}

#[tokio::test]
async fn a_body_that_is_not_whole_is_not_kept() {
    let cache = cache(1 << 20);
    let key = key(&cache, "r", "/a", "");
    assert!(!fill(&cache, &key, "half", Some(8)).await);
    let mut dropped = Box::new(Fill::new(cache.store, &key, &meta(None)).unwrap());
    dropped.write_body(Bytes::from_static(b"half"), false).await.unwrap();
    drop(dropped);
    assert_eq!(found(&cache, &key).await, None);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_so_is_what_was_under_way() {
    let cache = cache(1 << 20);
    let (one, two) = (key(&cache, "r", "/a", "x"), key(&cache, "s", "/a", "y"));
    let other = key(&cache, "r", "/b", "x");
    for key in [&one, &two, &other] {
        assert!(fill(&cache, key, "old", None).await);
    }
    let early = key(&cache, "r", "/a", "z");
    assert_eq!(cache.store.forget(Forget::Resource(cache.store.resource("api.example.com", "/a"))), 2);
    assert!(!fill(&cache, &early, "of before", None).await, "it was asked for before");
    assert!(fill(&cache, &key(&cache, "r", "/a", "z"), "new", None).await);
    assert_eq!((found(&cache, &one).await, found(&cache, &two).await), (None, None));
    assert!(found(&cache, &other).await.is_some());
    let early = key(&cache, "r", "/c", "");
    assert_eq!(cache.store.forget(Forget::Route(cache.store.route("r"))), 2);
    assert!(!fill(&cache, &early, "of before", None).await);
    assert!(found(&cache, &other).await.is_none());
}

#[tokio::test]
async fn one_resource_takes_no_more_than_its_share() {
    let cache = cache(1 << 30);
    for n in 0.. {
        let key = key(&cache, "r", "/a", &n.to_string());
        if !cache.store.has_room(&key) {
            assert_eq!(n, 1024);
            break;
        }
        assert!(fill(&cache, &key, "x", None).await);
    }
    assert!(cache.store.has_room(&key(&cache, "r", "/a", "0")), "in the place of itself");
    assert!(cache.store.has_room(&key(&cache, "r", "/b", "")));
}

#[test]
fn a_route_is_forgotten_while_requests_of_others_come_and_go() {
    let cache = cache(1 << 20);
    let all = move || (0..64).map(|n| key(&cache, "s", &format!("/{n}"), "")).collect::<Vec<_>>();
    let asks = std::thread::spawn(move || (0..2_000).for_each(|_| drop(all())));
    while !asks.is_finished() {
        cache.store.forget(Forget::Route(cache.store.route("r")));
    }
    asks.join().unwrap();
}
