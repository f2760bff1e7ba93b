//! Connections that go from one process to the next: on their way out of this one, and into it.
//!
//! A socket whose bytes are in the kernel's hands goes as it is. Of an encrypted connection the keys stay
//! here: it becomes a tunnel, through which the successor gives one answer that ends the connection, so that the
//! client comes back to the successor itself.

use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWriteExt as _, copy, split},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{
    arrival::Peer,
    client::{Client, Wire},
    connection::Service,
    server::{Held, serve_plain},
};
use crate::{
    tls::certificates::Certificates,
    upgrade::{
        heir::Successor,
        message::{Begun, Handed},
    },
};

/// How long a client may go on sending when its answer is complete.
const LINGER: Duration = Duration::from_secs(2);

/// Hands a connection on, with what was read of it and not used. Returns when nothing of it is left here.
pub(super) async fn hand_on(client: Client, begun: Begun, to: &Successor) {
    let Client { wire, ahead, peer, .. } = client;
    match wire.socket().map(|socket| socket.try_clone_to_owned()) {
        Some(Ok(socket)) => to.connection(&peer, begun, &ahead, socket, peer.parting),
        Some(Err(e)) => tracing::warn!(error = %e, "a connection cannot be handed on"),
        None => {
            if let Err(e) = tunnel(wire, &peer, begun, &ahead, to).await {
                tracing::debug!(error = %e, "a connection through to another process broke off");
            }
        }
    }
}

/// Hands on a socket of which nothing has been read.
pub(super) fn hand_on_unread(stream: TcpStream, peer: &Peer, to: &Successor) {
    match stream.into_std() {
        Ok(stream) => to.connection(peer, Begun::No, &[], stream.into(), false),
        Err(e) => tracing::warn!(error = %e, "a connection cannot be handed on"),
    }
}

async fn tunnel(wire: Box<dyn Wire>, peer: &Peer, begun: Begun, ahead: &[u8], to: &Successor) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    to.connection(peer, begun, ahead, OwnedFd::from(theirs.into_std()?), true);
    let ((mut client_reads, mut client_writes), (mut reads, mut writes)) = (split(wire), split(ours));
    let back = async {
        copy(&mut reads, &mut client_writes).await?;
        client_writes.shutdown().await
    };
    let forth = async {
        copy(&mut client_reads, &mut writes).await?;
        writes.shutdown().await
    };
    tokio::pin!(back, forth);
    tokio::select! {
        // The answer is complete. What the client still sends is read for a moment, so that it can read its answer.
        ended = &mut back => {
            let _ = timeout(LINGER, &mut forth).await;
            ended
        }
        // The client will send no more, and may wait for its answer.
        ended = &mut forth => {
            ended?;
            back.await
        }
    }
}

/// A connection that the process before has handed on.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(super) peer: Peer,
    begun: Begun,
    ahead: Vec<u8>,
    socket: OwnedFd,
}

impl Arrived {
    /// `None`: it cannot be served by what this process holds.
    pub(crate) fn new(handed: &Handed, ahead: Vec<u8>, socket: OwnedFd, certificates: Option<&Certificates>) -> Option<Self> {
        Some(Self { peer: handed.peer(certificates)?, begun: handed.begun, ahead, socket })
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// Serves a connection that was handed on, to its end.
pub(super) async fn serve(arrived: Arrived, _held: Held, service: Arc<Service>) {
    let Arrived { peer, begun, ahead, socket } = arrived;
    let wire: Box<dyn Wire> = if peer.parting {
        let stream = std::os::unix::net::UnixStream::from(socket);
        let Ok(stream) = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) else { return };
        Box::new(stream)
    } else {
        let stream = std::net::TcpStream::from(socket);
        let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) else { return };
        if begun == Begun::No {
            return serve_plain(stream, peer, &service).await;
        }
        Box::new(stream)
    };
    let mut client = Client::new(wire, peer, service.state.limits);
    client.ahead.extend_from_slice(&ahead);
    if begun == Begun::Http2 { service.begin_h2(client).await } else { service.serve(client).await }
}
