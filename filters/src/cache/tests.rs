use std::time::Duration;

use clearway_config::settings::gateway::policy::PolicySpec;

use super::*;

const NOW_S: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

fn settings(text: &str) -> Cache {
    let spec: PolicySpec = serde_json::from_str(&format!("{{\"name\": \"p\", \"cache\": {{{text}}}}}")).unwrap();
    spec.resolve().unwrap().cache.unwrap().as_ref().clone()
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn kept(headers: &[(&str, &str)], known: bool) -> Result<Keep, Unkept> {
    keep(&settings(""), 200, &map(headers), known, NOW_S)
}

const fn fresh(fresh_s: u64) -> Keep {
    Keep { fresh_s, age_s: 0, stale_while_revalidate_s: 0, stale_if_error_s: 0 }
}

#[test]
fn an_answer_is_kept_only_for_as_long_as_it_says() {
    assert_eq!(kept(&[("cache-control", "max-age=60")], false), Ok(fresh(60)));
    assert_eq!(kept(&[("cache-control", "max-age=60, s-maxage=10")], false), Ok(fresh(10)));
    assert_eq!(kept(&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], false), Ok(fresh(60)));
    assert_eq!(kept(&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("cache-control", "max-age=5")], false), Ok(fresh(5)));
    assert_eq!(kept(&[("cache-control", "max-age=99999999999999999999")], false), Ok(fresh(86_400)), "bounded by ttl_max");
    for none in [
        &[][..],
        &[("cache-control", "public")],
        &[("last-modified", "Sun, 06 Nov 1984 08:49:37 GMT")],
        &[("expires", "0")],
        &[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=x")],
        &[("cache-control", "max-age=60"), ("age", "60")],
        &[("cache-control", "max-age=60"), ("date", "Sun, 06 Nov 1994 08:48:37 GMT")],
    ] {
        assert_eq!(kept(none, false), Err(Unkept::Fresh), "{none:?}");
    }
    assert_eq!(kept(&[("cache-control", "max-age=60"), ("age", "20")], false), Ok(Keep { age_s: 20, ..fresh(60) }));
}

#[test]
fn what_varies_by_a_word_of_the_gateways_that_is_in_no_key_is_not_kept() {
    let shared = |vary: &str| {
        let headers = map(&[("cache-control", "public, max-age=60"), ("vary", vary)]);
        keep(&settings("\"shared\": true"), 200, &headers, true, NOW_S)
    };
    for vary in ["X-Forwarded-For", "accept, x-request-id", "Traceparent"] {
        assert_eq!(kept(&[("cache-control", "max-age=60"), ("vary", vary)], false), Err(Unkept::Kind), "{vary}");
        assert_eq!(shared(vary), Err(Unkept::Kind), "{vary}");
    }
    for vary in ["X-Clearway-Account-Id", "accept,x-clearway-plan"] {
        assert_eq!(shared(vary), Err(Unkept::Kind), "{vary}");
        let mine = kept(&[("cache-control", "public, max-age=60"), ("vary", vary)], true);
        assert_eq!(mine, Ok(fresh(60)), "{vary}: the caller is in the key");
    }
    assert_eq!(shared("accept, x-forwarded-proto, x-forwarded-host"), Ok(fresh(60)));
}

#[test]
fn what_says_no_sets_cookies_or_varies_by_everything_is_not_kept() {
    for value in ["no-store", "private", "no-cache", "private=\"x-a\"", "no-cache=\"set-cookie\"", "public, no-store"] {
        assert_eq!(kept(&[("cache-control", &format!("max-age=60, {value}"))], false), Err(Unkept::Said), "{value}");
    }
    for (name, value) in
        [("set-cookie", "a=b"), ("vary", "accept, *"), ("content-encoding", "gzip"), ("content-range", "bytes 0-1/2")]
    {
        assert_eq!(kept(&[("cache-control", "public, max-age=60"), (name, value)], false), Err(Unkept::Kind), "{name}");
    }
    let public = map(&[("cache-control", "public, max-age=60")]);
    for status in [100, 206, 302, 304, 400, 401, 403, 429, 500, 502, 503, 504] {
        assert_eq!(keep(&settings(""), status, &public, false, NOW_S), Err(Unkept::Status), "{status}");
    }
    assert!(keep(&settings(""), 404, &public, false, NOW_S).is_ok());
}

#[test]
fn what_somebody_known_was_answered_must_say_that_others_may_have_it() {
    assert_eq!(kept(&[("cache-control", "max-age=60")], true), Err(Unkept::Known));
    for value in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        assert!(kept(&[("cache-control", value)], true).is_ok(), "{value}");
    }
    let shared = settings(r#""shared": true, "default_ttl": "30s""#);
    let of = |value: &str, known| keep(&shared, 200, &map(&[("cache-control", value)]), known, NOW_S);
    assert!(of("public, max-age=60", true).is_ok() && of("s-maxage=60", true).is_ok());
    for known in [true, false] {
        assert_eq!(of("must-revalidate, max-age=60", known), Err(Unkept::Known));
        assert_eq!(of("max-age=60", known), Err(Unkept::Known));
        assert_eq!(of("", known), Err(Unkept::Known), "a default is never for all");
    }
}

#[test]
fn a_default_is_for_a_200_that_says_nothing() {
    let settings = settings(r#""default_ttl": "30s""#);
    let of = |status, headers: &[(&str, &str)], known| keep(&settings, status, &map(headers), known, NOW_S);
    assert_eq!(of(200, &[], true), Ok(fresh(30)));
    assert_eq!(of(200, &[("cache-control", "max-age=60")], true), Err(Unkept::Known), "it says something");
    assert_eq!(of(404, &[], false), Err(Unkept::Fresh));
}

#[test]
fn what_must_be_asked_for_again_is_never_given_out_late() {
    let stale = "max-age=60, stale-while-revalidate=10, stale-if-error=99999999999";
    let keep = kept(&[("cache-control", stale)], false).unwrap();
    assert_eq!((keep.stale_while_revalidate_s, keep.stale_if_error_s), (10, 86_400));
    for strict in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let keep = kept(&[("cache-control", &format!("{stale}, {strict}"))], false).unwrap();
        assert_eq!((keep.stale_while_revalidate_s, keep.stale_if_error_s), (0, 0), "{strict}");
    }
}

#[test]
fn a_request_says_what_it_takes() {
    let settings = settings("");
    let read = |method: Method, headers: &[(&str, &str)]| Asked::read(&method, &map(headers), &settings);
    let plain = read(Method::GET, &[]).unwrap();
    assert!(plain.takes(u64::MAX, 0) && !plain.only_if_cached);
    let asked = |value: &str| read(Method::HEAD, &[("cache-control", value)]).unwrap();
    assert!(!asked("no-cache").takes(0, 60) && !asked("max-age=0").takes(1, 60) && asked("max-age=5").takes(5, 0));
    assert!(!asked("min-fresh=10").takes(0, 9) && asked("min-fresh=10").takes(0, 10) && asked("only-if-cached").only_if_cached);
    for none in [("cache-control", "no-store"), ("range", "bytes=0-1"), ("content-length", "1"), ("transfer-encoding", "chunked")]
    {
        assert_eq!(read(Method::GET, &[none]), None, "{none:?}");
    }
    assert_eq!(read(Method::GET, &[("accept", &"x".repeat(KEYED_BYTES_MAX))]), None);
    assert!(read(Method::GET, &[("user-agent", &"x".repeat(4096)), ("content-length", "0")]).is_some());
    assert_eq!(read(Method::POST, &[]), None);
    assert_eq!(settings.lock_timeout, Duration::from_secs(5));
}

#[test]
fn what_belongs_to_one_request_is_not_kept_with_an_answer() {
    for name in ["set-cookie", "x-request-id", "x-ratelimit-remaining", "ratelimit", "connection", "age", "transfer-encoding"] {
        assert!(!is_kept(name), "{name}");
    }
    assert!(is_kept("content-type") && is_kept("etag") && is_kept("cache-control") && is_kept("date"));
}

#[test]
fn only_what_may_have_changed_something_invalidates() {
    assert!(invalidates(&Method::POST, 201) && invalidates(&Method::DELETE, 204) && invalidates(&Method::PUT, 502));
    assert!(!invalidates(&Method::POST, 422) && !invalidates(&Method::GET, 200) && !invalidates(&Method::OPTIONS, 204));
    assert!(invalidates(&Method::from_bytes(b"PURGE").unwrap(), 200), "what is not known is not safe");
}
