//! A target as Pingora's connector wants it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use clearway_config::settings::gateway::upstream::Protocol;
use pingora::{
    ErrorType, OrErr as _,
    protocols::ALPN,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};

use tokio::net::TcpSocket;

use super::{Target, Upstream};
use crate::descriptors;

/// How long an idle connection to an upstream is kept; upstreams close theirs after about a minute.
pub(crate) const IDLE: Duration = Duration::from_secs(50);

/// Requests on one HTTP/2 connection at the same time; the upstream may allow fewer.
const STREAMS_MAX: usize = 100;
/// What an upstream may send ahead on one stream, and on a connection, before it is read on.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 connection is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Looked at before a connection is made.
type Hook = Arc<dyn Fn(&TcpSocket) -> pingora::Result<()> + Send + Sync>;

static SPARING: LazyLock<Hook> = LazyLock::new(|| {
    Arc::new(|socket| descriptors::spare(socket).or_err(ErrorType::SocketError, "no file descriptor for an upstream"))
});

impl Upstream {
    /// Whether all targets, now and later, speak HTTP/1.1 in the clear: what can be forwarded without Pingora.
    pub(crate) fn is_plain(&self) -> bool {
        self.settings.protocol != Protocol::H2 && self.settings.targets.iter().all(|target| !target.address.tls)
    }

    pub(crate) fn peer(&self, target: &Target, upgrade: bool) -> HttpPeer {
        let mut peer = HttpPeer::new(target.address, target.tls.is_some(), target.tls.as_deref().unwrap_or_default().to_owned());
        let timeouts = &self.settings.timeouts;
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        // What a WebSocket may do is seen on the client's side of it.
        options.read_timeout = (!upgrade).then_some(timeouts.read);
        options.write_timeout = Some(timeouts.write);
        options.idle_timeout = Some(IDLE);
        options.upstream_tcp_sock_tweak_hook = Some(SPARING.clone());
        // What a client's headers may do is decided before the request is charged, and done in one place.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        // An upgrade is HTTP/1.1's.
        let protocol = if upgrade { Protocol::Http1 } else { self.settings.protocol };
        options.alpn = match (protocol, target.tls.is_some()) {
            (Protocol::Http1, _) | (Protocol::Auto, false) => ALPN::H1,
            (Protocol::H2, _) => ALPN::H2,
            (Protocol::Auto, true) => ALPN::H2H1,
        };
        if protocol != Protocol::Http1 {
            options.max_h2_streams = STREAMS_MAX;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            options.h2_ping_interval = Some(PING_EVERY);
        }
        if target.tls.is_some() {
            let material = self.tls.load();
            options.verify_cert = self.settings.tls.verify;
            options.verify_hostname = self.settings.tls.verify;
            options.ca.clone_from(&material.ca);
            peer.client_cert_key.clone_from(&material.identity);
            // Pingora tells connections apart by address, name and certificate serials, but not by who vouched for them.
            peer.group_key = material.group;
        }
        peer
    }
}
