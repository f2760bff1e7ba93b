//! The CORS protocol (Fetch standard): what a browser asks before a page's request, and what an answer tells it.
//!
//! Nothing here guards anything: a client that is no browser does as it likes. It is the browser that keeps an answer
//! from a page whose origin is not named.

use clearway_config::settings::gateway::policy::{Cors, Origins, cors::AllowedHeaders};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use super::Head;

/// What a browser asks for is mirrored up to so many bytes.
const MIRRORED_BYTES_MAX: usize = 1024;
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// A browser's question before a request.
#[derive(Debug, Clone)]
pub struct Preflight<'r> {
    pub origin: &'r HeaderValue,
    /// Of the request that it is about.
    pub method: Method,
    /// Names of headers that the request is going to carry.
    pub headers: Option<&'r HeaderValue>,
}

impl<'r> Preflight<'r> {
    /// `None` for every other request.
    pub fn read(method: &Method, headers: &'r HeaderMap) -> Option<Self> {
        if *method != Method::OPTIONS {
            return None;
        }
        let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self {
            origin: headers.get(ORIGIN)?,
            method: Method::from_bytes(asked.as_bytes()).ok()?,
            headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS),
        })
    }

    /// The headers of the answer, which is a 204 without a body.
    pub fn answer(&self, cors: &Cors) -> HeaderMap {
        let mut head = HeaderMap::with_capacity(8);
        let vary = "origin, access-control-request-method, access-control-request-headers";
        head.insert(VARY, HeaderValue::from_static(vary));
        let Some(origin) = allowed_origin(cors, self.origin) else { return head };
        head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            head.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        head.insert(ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone());
        let headers = match &cors.headers {
            AllowedHeaders::All => self.headers.filter(|headers| headers.len() <= MIRRORED_BYTES_MAX).cloned(),
            AllowedHeaders::These(names) => Some(names.clone()),
            AllowedHeaders::None => None,
        };
        if let Some(headers) = headers {
            head.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        if let Some(age) = &cors.max_age {
            head.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        head
    }
}

/// Tells the browser of an answer's page whether it may read it. What the upstream says about that is gone: two
/// answers to one question are none.
pub fn answer(cors: &Cors, head: &mut impl Head, origin: Option<&HeaderValue>) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
        ALLOW_PRIVATE_NETWORK,
    ] {
        if head.headers().contains_key(&name) {
            head.remove(&name);
        }
    }
    // Also where this origin may not, or there is none: a cache must not give the answer to the next one.
    if cors.origins != Origins::All && !varies_by_origin(head.headers()) {
        head.add(&VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = origin.and_then(|origin| allowed_origin(cors, origin)) else { return };
    head.set(&ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        head.set(&ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(exposed) = &cors.exposed {
        head.set(&ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
    }
}

fn allowed_origin(cors: &Cors, origin: &HeaderValue) -> Option<HeaderValue> {
    match &cors.origins {
        Origins::All => Some(HeaderValue::from_static("*")),
        Origins::These { exact, below } => {
            let text = origin.to_str().ok()?;
            let named = exact.binary_search_by(|one| one.as_str().cmp(text)).is_ok();
            let is_below = || below.iter().any(|(scheme, name)| is_below(text, scheme, name));
            (named || is_below()).then(|| origin.clone())
        }
    }
}

/// Whether an origin is a host below a name: `name` begins with a dot, and ends with the port where there is one.
fn is_below(origin: &str, scheme: &str, name: &str) -> bool {
    let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_suffix(name));
    host.is_some_and(|host| {
        host.split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    })
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    let values = headers.get_all(VARY).iter();
    let mut words = values.flat_map(|value| value.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    words.any(|word| word == b"*" || word.eq_ignore_ascii_case(b"origin"))
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::policy::PolicySpec;

    use super::*;

    fn cors(text: &str) -> Cors {
        let text = format!(r#"{{"name": "p", "cors": {{{text}}}}}"#);
        Cors::clone(&serde_json::from_str::<PolicySpec>(&text).unwrap().resolve().unwrap().cors.unwrap())
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    fn allowed(cors: &Cors, origin: &str) -> Option<String> {
        let mut head = HeaderMap::new();
        answer(cors, &mut head, Some(&origin.parse().unwrap()));
        head.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_named_or_below_a_name_and_nothing_that_looks_like_it() {
        let cors = cors(r#""origins": ["https://app.example.com", "https://*.example.org", "http://*.local:3000"]"#);
        for origin in ["https://app.example.com", "https://a.example.org", "https://a.b.example.org", "http://x.local:3000"] {
            assert_eq!(allowed(&cors, origin).as_deref(), Some(origin));
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://example.org",
            "https://.example.org",
            "https://evilexample.org",
            "https://evil.example/.example.org",
            "https://evil.example#.example.org",
            "https://user@.example.org",
            "http://x.local",
            "null",
            "",
        ] {
            assert_eq!(allowed(&cors, origin), None, "{origin}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_the_policy_allows() {
        let cors = cors(
            r#""origins": ["https://a.example"], "methods": ["PUT"], "headers": ["authorization"], "credentials": true, "max_age": "10m""#,
        );
        let asked = |origin: &str| {
            let headers = map(&[("origin", origin), ("access-control-request-method", "PUT")]);
            Preflight::read(&Method::OPTIONS, &headers).unwrap().answer(&cors)
        };
        let told = asked("https://a.example");
        for (name, value) in [
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-headers", "authorization"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(told[name], value);
        }
        assert!(told[VARY].to_str().unwrap().contains("origin"));
        assert_eq!(asked("https://b.example").len(), 1, "nothing but Vary");
    }

    #[test]
    fn what_is_no_preflight_is_an_ordinary_request() {
        let all = [("origin", "https://a"), ("access-control-request-method", "PUT")];
        assert!(Preflight::read(&Method::OPTIONS, &map(&all)).is_some());
        assert!(Preflight::read(&Method::GET, &map(&all)).is_none());
        assert!(Preflight::read(&Method::OPTIONS, &map(&all[..1])).is_none());
        assert!(Preflight::read(&Method::OPTIONS, &map(&all[1..])).is_none());
        assert!(Preflight::read(&Method::OPTIONS, &map(&[all[0], ("access-control-request-method", "a b")])).is_none());
    }

    #[test]
    fn the_gateways_word_takes_the_place_of_the_upstreams_and_caches_are_told() {
        let cors = cors(r#""origins": ["https://a.example"], "exposed": ["x-request-id"]"#);
        let upstream = [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true"), ("vary", "accept")];
        let mut head = map(&upstream);
        answer(&cors, &mut head, Some(&"https://a.example".parse().unwrap()));
        assert_eq!(
            (&head[ACCESS_CONTROL_ALLOW_ORIGIN], head.get(ACCESS_CONTROL_ALLOW_CREDENTIALS)),
            (&"https://a.example".parse().unwrap(), None)
        );
        assert_eq!(
            (head[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap(), head.get_all(VARY).iter().count()),
            ("x-request-id", 2)
        );
        let mut head = map(&upstream);
        answer(&cors, &mut head, None);
        assert_eq!((head.get(ACCESS_CONTROL_ALLOW_ORIGIN), head.get_all(VARY).iter().count()), (None, 2));
        let mut head = map(&[("vary", "Accept, Origin")]);
        answer(&cors, &mut head, None);
        assert_eq!(head.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn where_all_origins_may_nothing_varies_and_headers_are_mirrored_on_request() {
        let cors = cors(r#""origins": ["*"], "headers": ["*"]"#);
        assert_eq!(allowed(&cors, "null").as_deref(), Some("*"));
        let mut headers = map(&[
            ("origin", "https://a"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "x-a, x-b"),
        ]);
        let told = |headers: &HeaderMap| Preflight::read(&Method::OPTIONS, headers).unwrap().answer(&cors);
        assert_eq!(told(&headers)[ACCESS_CONTROL_ALLOW_HEADERS], "x-a, x-b");
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, "x".repeat(MIRRORED_BYTES_MAX + 1).parse().unwrap());
        assert!(!told(&headers).contains_key(ACCESS_CONTROL_ALLOW_HEADERS));
    }
}
