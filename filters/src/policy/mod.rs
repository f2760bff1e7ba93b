//! What policies do to a request and its answer, decided: the settings are
//! [`clearway_config::settings::gateway::policy`].

pub mod addresses;
pub mod body;
pub mod cors;
pub mod edits;

use std::{net::IpAddr, sync::Arc};

use clearway_config::settings::gateway::policy::Policy;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Reject;

/// A message's head whose headers can be changed. Servers keep more than a map.
pub trait Head {
    fn headers(&self) -> &HeaderMap;
    /// In the place of all of this name.
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    /// Besides those of this name.
    fn add(&mut self, name: &HeaderName, value: HeaderValue);
    fn remove(&mut self, name: &HeaderName);
}

impl Head for HeaderMap {
    fn headers(&self) -> &HeaderMap {
        self
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.append(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }
}

/// Whether a policy lets a request on, before anybody asks who sends it: addresses, maintenance, and the length that
/// its body says it has.
pub fn check(policy: &Policy, address: IpAddr, headers: &HeaderMap) -> Result<(), Reject> {
    if let Some(addresses) = &policy.addresses
        && !addresses::admit(addresses, address)
    {
        return Err(Reject::AddressNotAllowed);
    }
    if let Some(maintenance) = &policy.maintenance
        && !addresses::is_in(&maintenance.allow, address)
    {
        return Err(Reject::Maintenance(Arc::clone(maintenance)));
    }
    match policy.body_max {
        Some(max) if body::is_longer(headers, max) => Err(Reject::BodyTooLarge),
        _ => Ok(()),
    }
}

/// What a request is under: its route's policy, and its account's once the caller is known. The account's narrows:
/// both have [`check`]ed the request, the route's changes come first and the account's after them. What a browser may
/// read is the route's alone, because it is asked before anybody says who asks.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'p> {
    pub route: &'p Policy,
    pub account: Option<&'p Policy>,
}

impl Policies<'_> {
    /// The longest body, in bytes, that both allow.
    pub fn body_max(&self) -> Option<u64> {
        let account = self.account.and_then(|account| account.body_max);
        self.route.body_max.into_iter().chain(account).min()
    }

    /// Whether a request's headers are changed at all.
    pub fn changes_requests(&self) -> bool {
        self.all().any(|policy| policy.request_headers.is_some())
    }

    /// Makes of a request's head what the upstream is to read.
    pub fn request(&self, head: &mut impl Head) {
        for edits in self.all().filter_map(|policy| policy.request_headers.as_ref()) {
            edits::apply(edits, head);
        }
    }

    /// Whether an answer on the way to the client is changed at all.
    pub fn changes_answers(&self) -> bool {
        self.route.cors.is_some() || self.all().any(|policy| policy.response_headers.is_some() || policy.deprecated.is_some())
    }

    /// Makes of an answer what the policies want of it. `forwarded` is one of an upstream: of the gateway's own answers
    /// the operator's changes stay away. `origin` is the request's Origin.
    pub fn answer(&self, head: &mut impl Head, origin: Option<&HeaderValue>, forwarded: bool) {
        for edits in self.all().filter_map(|policy| policy.response_headers.as_ref()).filter(|_| forwarded) {
            edits::apply(edits, head);
        }
        if let Some(deprecated) = self.all().filter_map(|policy| policy.deprecated.as_ref()).last() {
            for (name, value) in &deprecated.set {
                head.set(name, value.clone());
            }
            if let Some(link) = &deprecated.link {
                head.add(&http::header::LINK, link.clone());
            }
        }
        if let Some(cors) = &self.route.cors {
            cors::answer(cors, head, origin);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(self.route).chain(self.account)
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::PolicySpec;

    use super::*;

    fn policy(text: &str) -> Policy {
        let spec: PolicySpec = serde_json::from_str(&format!("{{\"name\": \"p\", {text}}}")).unwrap();
        spec.resolve().unwrap()
    }

    #[test]
    fn the_address_is_looked_at_before_the_maintenance_and_that_before_the_body() {
        let policy = policy(
            r#""addresses": {"deny": ["192.0.2.1"]}, "maintenance": {"allow": ["10.0.0.0/8"], "retry_after": "5m"}, "body_max": "1KiB""#,
        );
        let long = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, "1025".parse().unwrap())]);
        let answer = |address: &str| check(&policy, address.parse().unwrap(), &long);
        assert_eq!(answer("192.0.2.1"), Err(Reject::AddressNotAllowed));
        assert!(matches!(answer("192.0.2.2"), Err(Reject::Maintenance(m)) if m.retry_after_s == 300));
        assert_eq!(answer("10.1.1.1"), Err(Reject::BodyTooLarge));
        assert_eq!(check(&policy, "10.1.1.1".parse().unwrap(), &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_deprecated_version_says_so_in_every_answer_and_keeps_the_upstreams_links() {
        let policy =
            policy(r#""deprecated": {"since": "2026-01-01", "link": "https://a/b"}, "response_headers": {"set": {"x-a": "1"}}"#);
        for forwarded in [true, false] {
            let mut head = HeaderMap::from_iter([(http::header::LINK, "</next>; rel=next".parse().unwrap())]);
            Policies { route: &policy, account: None }.answer(&mut head, None, forwarded);
            assert_eq!((head["deprecation"].to_str().unwrap(), head.get_all("link").iter().count()), ("@1767225600", 2));
            assert_eq!(head.contains_key("x-a"), forwarded);
        }
        let none = Policy::default();
        assert!(Policies { route: &none, account: Some(&policy) }.changes_answers());
        assert!(!Policies { route: &none, account: None }.changes_answers());
    }

    #[test]
    fn an_accounts_policy_narrows_its_routes_and_has_the_last_word_on_headers() {
        let route = policy(
            r#""body_max": "2KiB", "request_headers": {"set": {"x-a": "route", "x-b": "route"}}, "deprecated": {"since": "2026-01-01", "version": "v1"},
               "cors": {"origins": ["https://a.example"]}"#,
        );
        let account = policy(
            r#""body_max": "1KiB", "request_headers": {"set": {"x-a": "account"}}, "deprecated": {"since": "2026-01-01", "version": "v2"},
               "cors": {"origins": ["https://b.example"]}"#,
        );
        let both = Policies { route: &route, account: Some(&account) };
        assert_eq!((both.body_max(), Policies { account: None, ..both }.body_max()), (Some(1024), Some(2048)));
        let mut head = HeaderMap::new();
        both.request(&mut head);
        assert!(head["x-a"] == "account" && head["x-b"] == "route");
        let mut head = HeaderMap::new();
        both.answer(&mut head, Some(&"https://b.example".parse().unwrap()), true);
        assert_eq!(head["x-api-version"], "v2");
        assert!(!head.contains_key("access-control-allow-origin"), "what browsers may read is the route's");
    }
}
