//! One check of one target, over the same kind of connection that its requests take.

use bytes::Bytes;
use clearway_config::settings::gateway::upstream::{Check, Health, Statuses};
use http::{
    HeaderValue, Method, Uri,
    header::{HOST, USER_AGENT},
    uri::PathAndQuery,
};
use pingora::{
    connectors::http::Connector,
    http::RequestHeader,
    protocols::{ALPN, http::client::HttpSession},
    upstreams::peer::HttpPeer,
};
use tokio::net::TcpStream;

use super::grpc;
use crate::upstreams::{Target, Upstream};

const AGENT: HeaderValue = HeaderValue::from_static("clearway-health");

/// Says why the target does not serve. The caller sees to the time.
pub(super) async fn ask(upstream: &Upstream, target: &Target, health: &Health, connector: &Connector) -> Result<(), String> {
    let mut peer = upstream.peer(target, false);
    let host = health.host.clone().or_else(|| HeaderValue::from_str(&target.authority).ok());
    let host = host.ok_or("the target's name cannot be asked for")?;
    match &health.check {
        Check::Tcp => TcpStream::connect(target.address).await.map(drop).map_err(|e| e.to_string()),
        Check::Http { path, expect } => http(connector, &peer, path, &host, expect).await,
        Check::Grpc { service } => {
            peer.options.alpn = ALPN::H2;
            grpc::ask(connector, &peer, service, &host).await
        }
    }
}

async fn http(
    connector: &Connector,
    peer: &HttpPeer,
    path: &PathAndQuery,
    host: &HeaderValue,
    expect: &Statuses,
) -> Result<(), String> {
    let mut session = session(connector, peer).await?;
    let head = head(&session, &Method::GET, path, host, peer.is_tls())?;
    session.write_request_header(Box::new(head)).await.map_err(|e| short(&e))?;
    session.finish_request_body().await.map_err(|e| short(&e))?;
    session.read_response_header().await.map_err(|e| short(&e))?;
    let status = session.response_header().map(|answer| answer.status.as_u16());
    // The connection is not used again: what follows the head is not waited for.
    session.shutdown().await;
    match status {
        Some(status) if expect.contains(status) => Ok(()),
        Some(status) => Err(format!("answered {status}")),
        None => Err("no answer".to_owned()),
    }
}

pub(super) async fn session(connector: &Connector, peer: &HttpPeer) -> Result<HttpSession, String> {
    connector.get_http_session(peer).await.map(|(session, _)| session).map_err(|e| short(&e))
}

/// A request's head as this session's version of HTTP names the host.
pub(super) fn head(
    session: &HttpSession,
    method: &Method,
    path: &PathAndQuery,
    host: &HeaderValue,
    tls: bool,
) -> Result<RequestHeader, String> {
    let mut head = RequestHeader::build(method.clone(), path.as_str().as_bytes(), Some(4)).map_err(|e| short(&e))?;
    if session.as_http2().is_some() {
        let uri =
            Uri::builder().scheme(if tls { "https" } else { "http" }).authority(host.as_bytes()).path_and_query(path.clone());
        head.set_uri(uri.build().map_err(|e| e.to_string())?);
        head.set_version(http::Version::HTTP_2);
    } else {
        head.insert_header(HOST, host).map_err(|e| short(&e))?;
    }
    head.insert_header(USER_AGENT, AGENT).map_err(|e| short(&e))?;
    Ok(head)
}

pub(super) async fn send(session: &mut HttpSession, body: Bytes) -> Result<(), String> {
    session.write_request_body(body, true).await.map_err(|e| short(&e))?;
    session.finish_request_body().await.map_err(|e| short(&e))
}

/// One line of what Pingora says in several.
pub(super) fn short(error: &pingora::Error) -> String {
    let cause = error.context.as_ref().map_or_else(String::new, |context| format!(": {}", context.as_str()));
    format!("{}{cause}", error.etype().as_str()).replace(char::is_control, " ")
}
