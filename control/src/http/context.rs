//! Who one request is: its id, its trace, where it came from, and what the gateway counted for it.
//!
//! Only the gateway can say these things, and the gateway is a peer on this machine's loopback: from any
//! other peer they are made anew.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{ConnectInfo, Request};
use clearway_config::{RequestId, envelope::RateLimit};
use http::HeaderMap;

use crate::world::World;

/// What is left, as `limit;remaining;reset`; set by the gateway, which removes a client's.
pub const RATE_LIMIT: &str = "x-clearway-ratelimit";

#[derive(Debug, Clone)]
pub struct Context {
    pub request_id: RequestId,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    pub rate_limit: Option<RateLimit>,
    pub address: IpAddr,
    /// Whole: routers that are nested see only what is behind their own place.
    pub path: Arc<str>,
}

impl Context {
    pub fn read(request: &Request, world: &World) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip().to_canonical());
        let gateway = peer.is_loopback();
        let said = |name: &str| text(headers, name).filter(|_| gateway);
        Self {
            request_id: said("x-request-id").and_then(|id| id.parse().ok()).unwrap_or_else(|| world.id(RequestId::new)),
            trace_id: text(headers, "traceparent").and_then(trace_id).unwrap_or_else(|| hex(&world.random()[..16])),
            rate_limit: said(RATE_LIMIT).and_then(rate_limit),
            address: said("x-forwarded-for").and_then(last_address).unwrap_or(peer),
            path: request.uri().path().into(),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// W3C Trace Context: version, trace id, parent id, flags.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let lower_hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 32 && lower_hex && id.bytes().any(|b| b != b'0')).then(|| id.to_owned())
}

fn rate_limit(text: &str) -> Option<RateLimit> {
    let mut numbers = text.split(';').map(|number| number.trim().parse().ok());
    let mut next = || numbers.next().flatten();
    Some(RateLimit { limit: next()?, remaining: next()?, reset: next()? })
}

/// The last entry is the one that the gateway itself wrote.
fn last_address(list: &str) -> Option<IpAddr> {
    list.rsplit(',').next()?.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(peer: &str) -> Request {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut request = Request::builder()
            .header("x-request-id", "req_0000000000000000000001")
            .header("traceparent", trace)
            .header("x-forwarded-for", "198.51.100.1, 203.0.113.9")
            .header(RATE_LIMIT, "10;9;1700000000")
            .body(axum::body::Body::empty())
            .unwrap();
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        request
    }

    #[test]
    fn the_gateway_is_believed() {
        let context = Context::read(&request("127.0.0.1:7"), &World::fixed(0, 0));
        assert_eq!(context.request_id.to_string(), "req_0000000000000000000001");
        assert_eq!(context.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.address.to_string(), "203.0.113.9");
        assert_eq!(context.rate_limit, Some(RateLimit { limit: 10, remaining: 9, reset: 1_700_000_000 }));
    }

    #[test]
    fn another_peer_cannot_choose_its_address_its_request_id_or_what_is_left() {
        let context = Context::read(&request("192.0.2.7:7"), &World::fixed(0, 0));
        assert_ne!(context.request_id.to_string(), "req_0000000000000000000001");
        assert_eq!(context.address.to_string(), "192.0.2.7");
        assert_eq!(context.rate_limit, None);
    }

    #[test]
    fn a_trace_id_that_is_none_is_made_anew() {
        for wrong in
            ["", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319C-x-01"]
        {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }
}
