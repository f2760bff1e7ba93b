//! What becomes of a connection that a worker has: by the listener it came to, and by what it speaks.

use std::{pin::pin, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{accept::Listener, worker::Accepted};
use crate::{
    gateway::{arrival::Peer, client::Client, connection::Service, moved::hand_on_unread, sniff},
    tls::acceptor::{self, Speaks},
};

/// A silent connection is asked for a sign of life after this long, so often, and so many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Serves a connection to its end.
pub(super) async fn serve(connection: Accepted, service: Arc<Service>) {
    let Accepted { listener, stream, peer, held: _held } = connection;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_PROBES);
    // Neither makes a difference to what is served.
    let _ = (stream.set_nodelay(true), SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let peer = Peer { address: peer.ip(), tls: None, parting: false };
    match listener {
        Listener::Plain => serve_plain(stream, peer, &service).await,
        Listener::Encrypted => serve_encrypted(stream, peer, &service).await,
        Listener::Egress => service.egress.clone().serve(stream, peer).await,
        Listener::EncryptedEgress => serve_encrypted_egress(stream, peer, &service).await,
    }
}

/// Serves an unencrypted connection of which nothing has been read.
pub(in crate::gateway) async fn serve_plain(stream: TcpStream, peer: Peer, service: &Arc<Service>) {
    let limits = service.state.limits;
    let is_h2 = tokio::select! {
        is_h2 = sniff::is_h2(&stream, limits.idle_timeout) => is_h2,
        // It has not asked for anything yet.
        () = service.hang_up.notified() => {
            if let Some(to) = service.state.baton.successor() {
                hand_on_unread(stream, &peer, to);
            }
            return;
        }
    };
    match is_h2 {
        Ok(true) => service.begin_h2(Client::new(Box::new(stream), peer, limits)).await,
        Ok(false) => service.serve(Client::new(Box::new(stream), peer, limits)).await,
        Err(_) => {}
    }
}

async fn serve_encrypted(stream: TcpStream, peer: Peer, service: &Arc<Service>) {
    let Some(accepted) = shaken(stream, Speaks::All, service).await else { return };
    let peer = Peer { tls: Some(Arc::new(accepted.facts)), ..peer };
    let client = Client::new(Box::new(accepted.stream), peer, service.state.limits);
    if accepted.is_h2 { service.begin_h2(client).await } else { service.serve(client).await }
}

async fn serve_encrypted_egress(stream: TcpStream, peer: Peer, service: &Arc<Service>) {
    let Some(accepted) = shaken(stream, Speaks::Http1, service).await else { return };
    let peer = Peer { tls: Some(Arc::new(accepted.facts)), ..peer };
    service.egress.clone().serve(accepted.stream, peer).await;
}

/// Shakes hands, unless it is hung up before that is done.
async fn shaken(stream: TcpStream, speaks: Speaks, service: &Service) -> Option<acceptor::Accepted> {
    let patience = service.state.limits.handshake_timeout;
    let tls = service.state.tls.as_ref()?;
    let mut handshake = pin!(tls.acceptor().accept(stream, speaks, &service.state.gate.handshakes, patience));
    loop {
        tokio::select! {
            accepted = &mut handshake => return accepted,
            // It has not asked for anything yet. But where another process has taken over, it can ask there.
            () = service.hang_up.notified() => if service.state.baton.is_here() { return None },
        }
    }
}
