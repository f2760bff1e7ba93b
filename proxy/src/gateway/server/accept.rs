//! Listeners: connections are taken as long as there is room, and given to the worker that has the fewest.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::net::TcpListener;

use super::{
    Controls, Server,
    open::{Counted, Held},
    worker::{Accepted, Job, least},
};
use crate::{
    descriptors::{self, Spares},
    gateway::State,
    metrics::Refused,
};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;
/// A rest for the listener where there is no file descriptor, not even for turning away.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepting {
    Yes,
    /// Connections wait in the kernel.
    Paused,
    /// Those that the kernel has completed already, and no more.
    Last,
    Done,
}

/// Where a connection was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Plain,
    Encrypted,
    /// Of messages that go out.
    Egress,
    EncryptedEgress,
}

impl Listener {
    /// Where whoever connects is not answered in clear.
    fn is_encrypted(self) -> bool {
        matches!(self, Self::Encrypted | Self::EncryptedEgress)
    }
}

/// Binds with SO_REUSEADDR, so that a restart need not wait for old connections.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<StdListener> {
    let domain = if addr.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Server {
    /// Accepts until [`Server::drain`], each connection to the worker that has the fewest.
    pub(crate) fn accept(&self, kind: Listener, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let Controls { workers, open, state, accepting } = &*self.controls;
        let (workers, open, state) = (workers.clone(), open.clone(), state.clone());
        // While connections may still come, there is never none.
        let counted = Counted::new(open.clone());
        let mut accepting = accepting.subscribe();
        async move {
            let _accepting = counted;
            let mut last = 0..BACKLOG;
            let mut spares = Spares::hold(1);
            loop {
                let now = *accepting.borrow_and_update();
                let accepted = match now {
                    Accepting::Yes => tokio::select! {
                        accepted = listener.accept() => accepted,
                        Ok(()) = accepting.changed() => continue,
                    },
                    Accepting::Paused if accepting.changed().await.is_ok() => continue,
                    // Connections that the kernel has completed already are served.
                    Accepting::Last => match last.next().and_then(|_| listener.accept().now_or_never()) {
                        Some(accepted) => accepted,
                        None => return,
                    },
                    Accepting::Paused | Accepting::Done => return,
                };
                match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                    Ok((stream, peer)) => {
                        let place = match state.gate.enter(peer.ip(), descriptors::number(&stream)) {
                            Ok(place) => place,
                            Err(why) => {
                                state.gate.turn_away((!kind.is_encrypted()).then_some(&stream), why);
                                continue;
                            }
                        };
                        let Some(worker) = least(&workers) else { return };
                        let held = Held::new(Counted::new(open.clone()), worker.load.clone(), state.clone(), place);
                        if worker.jobs.send(Job::Serve(Accepted { listener: kind, stream, peer, held })).is_err() {
                            return;
                        }
                    }
                    Err(e) if descriptors::are_used_up(&e) => {
                        // With the room of a spare the connection can be taken, and turned away. Where that fails,
                        // trying again at once would spin.
                        let taken = spares.let_go() && take_and_turn_away(&listener, kind, &state);
                        if !(spares.restore() && taken) {
                            tokio::time::sleep(NO_DESCRIPTORS).await;
                        }
                    }
                    Err(e) if is_of_one_connection(&e) => {}
                    Err(e) => {
                        tracing::warn!(error = %e, "gateway cannot accept");
                        tokio::time::sleep(NO_DESCRIPTORS).await;
                    }
                }
            }
        }
    }
}

/// Whether accepting failed because a client had left already: the next one is another matter.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Takes a connection for which there is room for a moment only. Says whether there was one.
fn take_and_turn_away(listener: &TcpListener, kind: Listener, state: &State) -> bool {
    let Some(Ok((stream, _))) = listener.accept().now_or_never() else { return false };
    if let Ok(stream) = stream.into_std() {
        state.gate.turn_away((!kind.is_encrypted()).then_some(&stream), Refused::Descriptors);
    }
    true
}
