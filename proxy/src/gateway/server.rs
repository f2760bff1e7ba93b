//! Connections: accepted in one place, each served by one worker from beginning to end.
//!
//! A worker is a thread with a runtime, an `HttpProxy` and pools of upstream connections of its own:
//! nothing of a request crosses threads. The listener is ours, bound before anything else starts, so
//! that a taken port is an error and a free one is known; Pingora's server and its signal handling are
//! not used.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Notify, mpsc, watch},
};

use super::{
    Gateway, State,
    arrival::Peer,
    client::{Client, Wire},
    connection::Service,
    fast::{Fast, SWEEP_EVERY},
    gate::Place,
    sniff,
};
use crate::{
    descriptors::{self, Spares},
    metrics::Refused,
};

/// A silent connection is asked for a sign of life after this long, so often, and so many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;
/// How long a connection without a request may still bring one after draining began.
const DRAIN_IDLE: Duration = Duration::from_millis(300);
/// Attempts at upstreams of one request, as Pingora counts them; ours are fewer.
const PINGORA_ATTEMPTS: usize = 4;
/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;
/// A rest for the listener where there is no file descriptor, not even for turning away.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// The running workers.
#[derive(Debug)]
pub(crate) struct Server {
    workers: Vec<Worker>,
    stop_accepting: watch::Sender<bool>,
    open: Arc<Open>,
    state: Arc<State>,
}

#[derive(Debug)]
struct Worker {
    connections: mpsc::UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
    /// True: answer what comes with `Connection: close`.
    closing: watch::Sender<bool>,
    /// Let go of connections without a request.
    hang_up: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// A connection on its way to its worker.
#[derive(Debug)]
struct Accepted {
    listener: Listener,
    stream: StdStream,
    peer: SocketAddr,
    held: Held,
}

/// Where a connection was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Plain,
    Encrypted,
}

/// Counts connections, and the accepting itself, so that a drain can wait for the last.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    none: Notify,
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
    /// Starts `threads` workers; [`Server::accept`] gives them work.
    pub(crate) fn start(state: &Arc<State>, threads: usize, upstream_idle_max: usize) -> io::Result<Self> {
        let open = Arc::new(Open::default());
        let idle_max = upstream_idle_max.div_ceil(threads).max(1);
        let workers = (0..threads).map(|n| Worker::start(n, state.clone(), idle_max)).collect::<io::Result<_>>()?;
        Ok(Self { workers, stop_accepting: watch::Sender::new(false), open, state: state.clone() })
    }

    /// Accepts until [`Server::drain`], each connection to the worker that has the fewest.
    pub(crate) fn accept(&self, kind: Listener, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let workers: Vec<_> = self.workers.iter().map(|w| (w.connections.clone(), w.load.clone())).collect();
        let (state, open) = (self.state.clone(), self.open.clone());
        // While connections may still come, there is never none.
        let accepting = Counted::new(open.clone());
        let mut stop = self.stop_accepting.subscribe();
        async move {
            let _accepting = accepting;
            let mut last = 0..BACKLOG;
            let mut spares = Spares::hold(1);
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept(), if !*stop.borrow() => accepted,
                    // Connections that the kernel has completed already are served.
                    _ = stop.wait_for(|stop| *stop) => match last.next().and_then(|_| listener.accept().now_or_never()) {
                        Some(accepted) => accepted,
                        None => return,
                    },
                };
                match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                    Ok((stream, peer)) => {
                        let place = match state.gate.enter(peer.ip(), descriptors::number(&stream)) {
                            Ok(place) => place,
                            Err(why) => {
                                state.gate.turn_away((kind == Listener::Plain).then_some(&stream), why);
                                continue;
                            }
                        };
                        let least = workers.iter().min_by_key(|(_, load)| load.load(Ordering::Relaxed));
                        let Some((worker, load)) = least else { return };
                        let held = Held::new(Counted::new(open.clone()), load.clone(), state.clone(), place);
                        if worker.send(Accepted { listener: kind, stream, peer, held }).is_err() {
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

    /// Stops accepting, lets requests in flight end, and ends the workers. Says how many connections
    /// were cut off because `timeout` passed.
    pub(crate) async fn drain(mut self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        self.stop_accepting.send_replace(true);
        for worker in &self.workers {
            worker.closing.send_replace(true);
        }
        if !self.open.wait(DRAIN_IDLE.min(timeout)).await {
            for worker in &self.workers {
                worker.hang_up.notify_waiters();
            }
            self.open.wait(deadline.saturating_duration_since(Instant::now())).await;
        }
        let cut = self.open.count.load(Ordering::Acquire);
        for worker in &mut self.workers {
            worker.stop();
        }
        cut
    }
}

impl Worker {
    fn start(number: usize, state: Arc<State>, idle_max: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, mut accepted) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let closing = watch::Sender::new(false);
        let hang_up = Arc::new(Notify::new());
        let (watched, told) = (closing.subscribe(), hang_up.clone());
        let serve = async move {
            let conf = ServerConf {
                threads: 1,
                upstream_keepalive_pool_size: idle_max,
                max_retries: PINGORA_ATTEMPTS,
                ..ServerConf::default()
            };
            let proxy = Arc::new(http_proxy(&Arc::new(conf), Gateway::new(state.clone())));
            let fast = Fast::new(state.clone(), idle_max);
            let service = Arc::new(Service { state, fast, proxy, closing: watched, hang_up: told });
            tokio::spawn(sweep(service.clone()));
            while let Some(connection) = accepted.recv().await {
                tokio::spawn(serve(connection, service.clone()));
            }
        };
        let thread = thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
            // Ends when the sender is dropped; the connections that are left go down with the runtime.
            runtime.block_on(serve);
        })?;
        Ok(Self { connections, load, closing, hang_up, thread: Some(thread) })
    }

    fn stop(&mut self) {
        self.connections = mpsc::unbounded_channel().0;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("gateway worker panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Open {
    /// Whether the last connection has ended within `timeout`.
    async fn wait(&self, timeout: Duration) -> bool {
        let ended = async {
            loop {
                let none = self.none.notified();
                if self.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                none.await;
            }
        };
        tokio::time::timeout(timeout, ended).await.is_ok()
    }
}

/// One of what a drain waits for.
#[derive(Debug)]
struct Counted(Arc<Open>);

impl Counted {
    fn new(open: Arc<Open>) -> Self {
        open.count.fetch_add(1, Ordering::AcqRel);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// One connection's place in the counts.
#[derive(Debug)]
struct Held {
    load: Arc<AtomicUsize>,
    state: Arc<State>,
    _counted: Counted,
    _place: Place,
}

impl Held {
    fn new(counted: Counted, load: Arc<AtomicUsize>, state: Arc<State>, place: Place) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        state.metrics.connections.inc();
        Self { load, state, _counted: counted, _place: place }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
        self.load.fetch_sub(1, Ordering::Relaxed);
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
        state.gate.turn_away((kind == Listener::Plain).then_some(&stream), Refused::Descriptors);
    }
    true
}

/// Closes connections to upstreams that have rested for too long.
async fn sweep(service: Arc<Service>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        service.fast.pool.sweep(ticks.tick().await.into_std());
    }
}

/// Serves a connection to its end.
async fn serve(connection: Accepted, service: Arc<Service>) {
    let Accepted { listener, stream, peer, held: _held } = connection;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_PROBES);
    // Neither makes a difference to what is served.
    let _ = (stream.set_nodelay(true), SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let address = peer.ip();
    let (limits, patience) = (service.state.limits, service.state.limits.handshake_timeout);
    let begun = async {
        match listener {
            Listener::Plain => {
                let is_h2 = sniff::is_h2(&stream, limits.idle_timeout).await.ok()?;
                let wire: Box<dyn Wire> = Box::new(stream);
                Some((wire, Peer { address, tls: None }, is_h2))
            }
            Listener::Encrypted => {
                let accepted =
                    service.state.tls.as_ref()?.acceptor().accept(stream, &service.state.gate.handshakes, patience).await?;
                let wire: Box<dyn Wire> = Box::new(accepted.stream);
                Some((wire, Peer { address, tls: Some(Arc::new(accepted.facts)) }, accepted.is_h2))
            }
        }
    };
    let begun = tokio::select! {
        begun = begun => begun,
        // It has not asked for anything yet.
        () = service.hang_up.notified() => None,
    };
    match begun {
        Some((wire, peer, true)) => service.serve_h2(wire, peer).await,
        Some((wire, peer, false)) => service.serve(Client::new(wire, peer, limits)).await,
        None => {}
    }
}
