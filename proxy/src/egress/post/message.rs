//! What is posted, and the headers that it is posted with.

use bytes::Bytes;
use clearway_filters::webhook::{self, Signatures};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;

use crate::egress::receiver::Ready;

const EVENT_TYPE: HeaderName = HeaderName::from_static("clearway-event-type");
const ATTEMPT: HeaderName = HeaderName::from_static("clearway-attempt");
const ENDPOINT_ID: HeaderName = HeaderName::from_static("clearway-endpoint-id");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Clearway-Webhooks/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One attempt's message, as it is handed over.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`.
    pub id: String,
    /// `clearway-attempt`, from 1.
    pub attempt: u32,
    /// `clearway-event-type`; empty for none.
    pub event_type: String,
    pub body: Bytes,
}

/// A message that has been signed.
#[derive(Debug)]
pub(in crate::egress) struct Signed {
    pub(in crate::egress) id: HeaderValue,
    pub(in crate::egress) timestamp_s: u64,
    pub(in crate::egress) signatures: Signatures,
    pub(in crate::egress) attempt: Option<u32>,
    /// What describes the body, and what else is said of the event.
    pub(in crate::egress) described: HeaderMap,
    pub(in crate::egress) body: Bytes,
}

impl Message {
    /// `None` where its id or type is none that a header can carry.
    pub(in crate::egress) fn described(&self) -> Option<(HeaderValue, HeaderMap)> {
        let id = HeaderValue::try_from(self.id.as_str()).ok().filter(|id| webhook::is_message_id(id.as_bytes()))?;
        let mut described = HeaderMap::with_capacity(2);
        described.insert(CONTENT_TYPE, JSON);
        if !self.event_type.is_empty() {
            described.insert(EVENT_TYPE, HeaderValue::try_from(self.event_type.as_str()).ok()?);
        }
        Some((id, described))
    }
}

impl Signed {
    /// The request, made anew for each time it is sent. `token`: an access token's Authorization.
    pub(in crate::egress) fn request(&self, to: &Ready, token: Option<&HeaderValue>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = to.target.path.clone();
        let mut headers = HeaderMap::with_capacity(16 + to.headers.len());
        headers.insert(HOST, to.target.authority.clone());
        for (name, value) in &self.described {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(USER_AGENT, AGENT);
        headers.insert(webhook::ID, self.id.clone());
        headers.insert(webhook::TIMESTAMP, self.timestamp_s.into());
        headers.insert(webhook::SIGNATURE, self.signatures.standard.clone());
        if let Some(brand) = &to.brand {
            headers.insert(brand.clone(), self.signatures.brand.clone());
        }
        if let Some(attempt) = self.attempt {
            headers.insert(ATTEMPT, attempt.into());
        }
        headers.insert(ENDPOINT_ID, to.id.clone());
        for (name, value) in &to.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(authorization) = token.or(to.authorization.as_ref()) {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        *request.headers_mut() = headers;
        request
    }
}

/// Whether only this process says a header of this name, whatever a webhook's owner would like.
pub(in crate::egress) fn is_ours(name: &HeaderName, brand: Option<&HeaderName>) -> bool {
    let text = name.as_str();
    let hop = matches!(
        text,
        "connection" | "host" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "expect" | "authorization"
    );
    let ours = ["content-", "proxy-", "webhook-", "clearway-"].iter().any(|start| text.starts_with(start));
    hop || ours || Some(name) == brand || name == USER_AGENT
}
