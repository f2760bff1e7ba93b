//! What a line says, as the settings choose it: fields, redactions, and the headers that are named.
//!
//! Query and headers are the request's and gone by the time its line is written; they are rendered as
//! JSON when the request comes in, and only if a setting asks for them.

use std::{fmt, net::IpAddr};

use clearway_config::settings::process::{AccessLogSettings, Field, Redaction};
use http::{HeaderMap, HeaderName};

use super::line::{cut, name, write_escaped};

/// Characters of a query that are logged.
const QUERY_CHARS_MAX: usize = 1024;
/// Characters of a header's value that are logged.
const HEADER_CHARS_MAX: usize = 256;

/// Fields that a line has only where they are named.
const NAMED_ONLY: [Field; 3] = [Field::Query, Field::Protocol, Field::Tls];
/// Fields without which lines and the ledger's counts cannot be compared.
const PROOF: [Field; 3] = [Field::Admitted, Field::AccountId, Field::KeyId];

#[derive(Debug)]
pub(crate) struct Shape {
    /// One bit a field.
    fields: u32,
    hides_address: bool,
    hides_path: bool,
    hides_query: bool,
    headers: Vec<HeaderName>,
}

impl Shape {
    pub(crate) fn new(settings: &AccessLogSettings) -> Self {
        let fields = match settings.fields.as_slice() {
            [] => !NAMED_ONLY.iter().fold(0, |bits, field| bits | bit(*field)),
            chosen => chosen.iter().fold(0, |bits, field| bits | bit(*field)),
        };
        let hides = |redaction| settings.redact.contains(&redaction);
        Self {
            fields,
            hides_address: hides(Redaction::Address),
            hides_path: hides(Redaction::Path),
            hides_query: hides(Redaction::Query),
            // Settings have checked them.
            headers: settings.headers.iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.fields & bit(field) != 0
    }

    pub(super) fn hides_address(&self) -> bool {
        self.hides_address
    }

    pub(crate) fn hides_path(&self) -> bool {
        self.hides_path
    }

    /// What the lines cannot prove for want of fields, to be said at start.
    pub(super) fn missing_proof(&self) -> Option<String> {
        let missing: Vec<_> = PROOF.into_iter().filter(|field| !self.has(*field)).map(name).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }

    /// Whether [`Shape::describe`] would write anything.
    pub(crate) fn describes(&self) -> bool {
        self.has(Field::Query) || !self.headers.is_empty()
    }

    /// The fields of a line that are read from the request itself. A header that came more than once is
    /// logged as it came first.
    pub(crate) fn describe(&self, query: Option<&[u8]>, headers: &HeaderMap, to: &mut String) {
        let mut text = Vec::new();
        if let Some(query) = query.filter(|_| self.has(Field::Query)) {
            text.extend_from_slice(b"\"query\":\"");
            let query = String::from_utf8_lossy(query);
            let query = cut(&query, QUERY_CHARS_MAX);
            if self.hides_query {
                write_names(&mut text, query);
            } else {
                write_escaped(&mut text, query);
            }
            text.push(b'"');
        }
        let mut separator = if text.is_empty() { "\"headers\":{" } else { ",\"headers\":{" };
        for name in &self.headers {
            let Some(value) = headers.get(name) else { continue };
            text.extend_from_slice(separator.as_bytes());
            text.push(b'"');
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b"\":\"");
            write_escaped(&mut text, cut(&String::from_utf8_lossy(value.as_bytes()), HEADER_CHARS_MAX));
            text.push(b'"');
            separator = ",";
        }
        if separator == "," {
            text.push(b'}');
        }
        // Made of strings and escapes of them.
        to.push_str(&String::from_utf8_lossy(&text));
    }
}

fn bit(field: Field) -> u32 {
    1 << field as u32
}

/// `a=1&b=2&c` as `a=*&b=*&*`: what stands alone may be a value.
fn write_names(to: &mut Vec<u8>, query: &str) {
    for (n, parameter) in query.split('&').enumerate() {
        if n > 0 {
            to.push(b'&');
        }
        if let Some((name, _)) = parameter.split_once('=') {
            write_escaped(to, name);
            to.push(b'=');
        }
        to.push(b'*');
    }
}

/// The network that an address is in, as it is logged in the address' place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network(ipnet::IpNet);

impl Network {
    /// An IPv4 address to /24, an IPv6 address to /48: what a household or an office has.
    pub(super) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 24 } else { 48 };
        let net = ipnet::IpNet::new(address, bits).expect("24 of 32 or 48 of 128 bits");
        Self(net.trunc())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;

    fn described(settings: &AccessLogSettings, query: &[u8], headers: &HeaderMap) -> Value {
        let mut text = String::new();
        Shape::new(settings).describe(Some(query), headers, &mut text);
        serde_json::from_str(&format!("{{{text}}}")).unwrap_or_else(|e| panic!("{e} in {text}"))
    }

    #[test]
    fn only_headers_that_are_named_are_logged_and_cannot_break_the_line() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_bytes(b"curl \"8\" \xff\t").unwrap());
        headers.insert("referer", HeaderValue::from_str(&"x".repeat(9_000)).unwrap());
        headers.insert("x-other", HeaderValue::from_static("secret"));
        let names = ["user-agent", "accept", "referer"].map(str::to_owned).to_vec();
        let settings = AccessLogSettings { headers: names, ..Default::default() };
        let json = described(&settings, b"a=1", &headers);
        assert_eq!(json["headers"]["user-agent"], "curl \"8\" \u{fffd}\t");
        assert_eq!(json["headers"]["referer"].as_str().unwrap().len(), HEADER_CHARS_MAX);
        assert_eq!((json["headers"].as_object().unwrap().len(), json.get("query")), (2, None));
        assert_eq!(described(&settings, b"", &HeaderMap::new()), json!({}));
    }

    #[test]
    fn a_query_is_logged_where_it_is_asked_for_and_redacted_to_its_names() {
        let fields = vec![Field::RequestId, Field::Query];
        let plain = AccessLogSettings { fields, headers: vec!["accept".into()], ..Default::default() };
        let redacted = AccessLogSettings { redact: vec![Redaction::Query], ..plain.clone() };
        let headers: HeaderMap = [(http::header::ACCEPT, HeaderValue::from_static("*/*"))].into_iter().collect();
        let of = |settings, query: &[u8]| described(settings, query, &headers)["query"].as_str().unwrap().to_owned();
        assert_eq!(of(&plain, b"from=1&\"x\"=\x01"), "from=1&\"x\"=\u{1}");
        assert_eq!(of(&redacted, b"from=1&token=hunter2=&hunter2"), "from=*&token=*&*");
        assert_eq!(described(&redacted, b"a=1", &headers), json!({"query": "a=*", "headers": {"accept": "*/*"}}));
        assert!(!Shape::new(&AccessLogSettings::default()).describes());
    }

    #[test]
    fn what_can_no_longer_be_proved_is_said() {
        let of = |fields| Shape::new(&AccessLogSettings { fields, ..Default::default() }).missing_proof();
        assert_eq!(of(vec![]), None);
        assert_eq!(of(vec![Field::RequestId, Field::KeyId]).unwrap(), "admitted, account_id");
    }
}
