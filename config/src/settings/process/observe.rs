//! `[metrics]`, `[access_log]` and `[tracing]`: what the processes tell of themselves and of requests.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// Request headers that the access log may name at most.
pub const HEADERS_MAX: usize = 16;

/// Headers in which proxies in front of the gateway pass on a client's address.
const ADDRESS_HEADERS: [&str; 6] =
    ["cf-connecting-ip", "forwarded", "true-client-ip", "x-client-ip", "x-forwarded-for", "x-real-ip"];

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Prometheus and health of the proxy.
    pub proxy_addr: SocketAddr,
    /// Prometheus and health of the control plane.
    pub control_addr: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogSettings {
    pub enabled: bool,
    /// Relative to the data directory; `-` is standard output.
    pub file: PathBuf,
    /// The part of requests that is logged, from 0 to 1. Billing never depends on it.
    pub sample: f64,
    /// What a line says; empty is all of [`Field`] but those that have to be named.
    pub fields: Vec<Field>,
    /// What a line says less of.
    pub redact: Vec<Redaction>,
    /// Request headers whose values are logged, in lower case; at most [`HEADERS_MAX`], and never a credential.
    pub headers: Vec<String>,
}

/// One field of an access log line, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Time,
    RequestId,
    TraceId,
    Method,
    Host,
    Path,
    /// Only where it is named: query strings carry what should not be kept.
    Query,
    Route,
    Status,
    Admitted,
    Reject,
    AccountId,
    KeyId,
    /// What a message posted at the egress listener is for; of nothing else.
    WebhookId,
    Plan,
    Auth,
    Subject,
    Address,
    DurationUs,
    UpstreamUs,
    Upstream,
    BytesIn,
    BytesOut,
    Cache,
    Interrupted,
    /// `http/1.0`, `http/1.1`, `h2`, `grpc` or `websocket`. Only where it is named.
    Protocol,
    /// `1.2` or `1.3`, of an encrypted connection. Only where it is named.
    Tls,
}

/// What is kept of a value that is sensitive as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// The network: an IPv4 address to /24, an IPv6 address to /48.
    Address,
    /// The path of the route, `/orders/*`; nothing of a request without one.
    Path,
    /// The names of the parameters: `from=*&to=*`.
    Query,
}

/// Where traces go, and how many.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracingSettings {
    /// An OpenTelemetry collector's OTLP over HTTP, `http://…:4318`; empty is nowhere.
    pub otlp_endpoint: String,
    /// The part of requests that begin a trace here and are traced, from 0 to 1. Where the caller has decided, its decision holds.
    pub sample: f64,
    /// What this proxy is called in a trace.
    pub service_name: String,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { proxy_addr: ([127, 0, 0, 1], 9090).into(), control_addr: ([127, 0, 0, 1], 9091).into() }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            file: "access.log".into(),
            sample: 1.0,
            fields: Vec::new(),
            redact: Vec::new(),
            headers: Vec::new(),
        }
    }
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample: 0.01, service_name: "clearway-proxy".into() }
    }
}

impl AccessLogSettings {
    /// What is wrong: the key's last word and why.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        if !(0.0..=1.0).contains(&self.sample) {
            return Some(("access_log.sample", "must be from 0 to 1".into()));
        }
        if !self.fields.is_empty() && !self.fields.contains(&Field::RequestId) {
            let why = "must hold request_id: after a crash it tells which lines are missing";
            return Some(("access_log.fields", why.into()));
        }
        if self.headers.len() > HEADERS_MAX {
            return Some(("access_log.headers", format!("must be at most {HEADERS_MAX}")));
        }
        let hides_address = self.redact.contains(&Redaction::Address);
        if let Some(name) = self.headers.iter().find(|name| hides_address && ADDRESS_HEADERS.contains(&name.as_str())) {
            return Some(("access_log.headers", format!("`{name}` shows the address that access_log.redact hides")));
        }
        let wrong = self.headers.iter().find_map(|name| Some((name, header_fault(name)?)));
        wrong.map(|(name, why)| ("access_log.headers", format!("`{name}` {why}")))
    }
}

impl TracingSettings {
    /// What is wrong: the key's last word and why.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        if !(0.0..=1.0).contains(&self.sample) {
            return Some(("tracing.sample", "must be from 0 to 1".into()));
        }
        let endpoint = self.otlp_endpoint.as_str();
        let is_url = endpoint.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() && !endpoint.contains('@')
        });
        if !endpoint.is_empty() && !is_url {
            let why = "must be http:// or https://, host and port, without a user or a query";
            return Some(("tracing.otlp_endpoint", why.into()));
        }
        None
    }
}

fn header_fault(name: &str) -> Option<&'static str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) || http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some("is not a header's name in lower case");
    }
    carries_credentials(name).then_some("carries credentials and is never logged")
}

/// Known names, and what people call their own; better one too many.
fn carries_credentials(name: &str) -> bool {
    const PARTS: [&str; 11] =
        ["auth", "cookie", "api-key", "apikey", "access-key", "token", "secret", "password", "passwd", "signature", "credential"];
    // Many servers take `_` and `.` for `-`.
    let name = name.replace(['_', '.'], "-");
    // Every part of it but this one, which names a host.
    let name = name.replace("authority", ""); // a host, not a permission
    PARTS.iter().any(|part| name.contains(part)) || name == "x-key" || name.starts_with("x-clearway-") || name == "dpop"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_that_carries_a_credential_can_be_logged() {
        for bad in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x_api_key",
            "x.api.key",
            "apikey",
            "x-amz-security-token",
            "x-csrf-token",
            "x-hub-signature-256",
            "client-secret",
            "www-authenticate",
            "x-clearway-account-id",
            "dpop",
        ] {
            let settings = AccessLogSettings { headers: vec!["user-agent".into(), bad.into()], ..Default::default() };
            let why = format!("`{bad}` carries credentials and is never logged");
            assert_eq!(settings.fault(), Some(("access_log.headers", why)), "{bad}");
        }
        let harmless = ["user-agent", "referer", "content-type", "accept-language", "x-api-version", "x-forwarded-for"];
        let settings = AccessLogSettings { headers: harmless.map(str::to_owned).to_vec(), ..Default::default() };
        assert_eq!(settings.fault(), None);
        let hidden = AccessLogSettings { redact: vec![Redaction::Address], ..settings };
        assert!(hidden.fault().unwrap().1.contains("`x-forwarded-for` shows the address"));
    }

    #[test]
    fn a_line_cannot_be_without_the_id_that_a_crash_is_settled_by() {
        let of = |fields| AccessLogSettings { fields, ..Default::default() }.fault().map(|(key, _)| key);
        assert_eq!(of(vec![Field::Method]), Some("access_log.fields"));
        assert_eq!(of(vec![Field::RequestId, Field::Method]), None);
        assert_eq!(of(vec![]), None);
    }

    #[test]
    fn a_collector_is_named_by_a_plain_url() {
        let of = |url: &str| TracingSettings { otlp_endpoint: url.into(), ..Default::default() }.fault().is_none();
        assert!(of("") && of("http://127.0.0.1:4318") && of("https://otel.example.com/base"));
        assert!(!of("127.0.0.1:4318") && !of("ftp://x") && !of("http://user:pw@x:1") && !of("http://x/?token=1"));
    }
}
