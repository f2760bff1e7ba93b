//! Connections: accepted in one place, each served by one worker from beginning to end.
//!
//! A worker is a thread with a runtime, an `HttpProxy` and pools of upstream connections of its own:
//! nothing of a request crosses threads. The listener is ours, bound before anything else starts, so
//! that a taken port is an error and a free one is known; Pingora's server and its signal handling are
//! not used.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    pin::pin,
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
    sync::{Notify, mpsc, oneshot, watch},
};

use super::{
    Gateway, State,
    arrival::Peer,
    client::Client,
    connection::Service,
    fast::{Fast, SWEEP_EVERY},
    gate::Place,
    moved::{self, Arrived, hand_on_unread},
    sniff,
};
use crate::{
    descriptors::{self, Spares},
    egress::{Poster, listener as egress},
    metrics::Refused,
    tls::acceptor::{self, Speaks},
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
    controls: Arc<Controls>,
    threads: Vec<Option<JoinHandle<()>>>,
}

/// What is said to the workers and to those who accept for them.
#[derive(Debug)]
pub(crate) struct Controls {
    workers: Vec<Worker>,
    accepting: watch::Sender<Accepting>,
    open: Arc<Open>,
    state: Arc<State>,
}

#[derive(Debug, Clone)]
struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    load: Arc<AtomicUsize>,
    /// True: answer what comes with `Connection: close`.
    closing: watch::Sender<bool>,
    /// Let go of connections without a request.
    hang_up: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// Connections wait in the kernel.
    Paused,
    /// Those that the kernel has completed already, and no more.
    Last,
    Done,
}

#[derive(Debug)]
enum Job {
    Serve(Accepted),
    ServeHanded(Arrived, Held),
    /// To be answered when no request is on its way to its decision.
    Settle(oneshot::Sender<()>),
    End,
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

/// Counts connections, and the accepting itself, so that a drain can wait for the last.
#[derive(Debug, Default)]
pub(super) struct Open {
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
        let started = (0..threads).map(|n| Worker::start(n, state.clone(), idle_max)).collect::<io::Result<Vec<_>>>()?;
        let (workers, threads) = started.into_iter().map(|(worker, thread)| (worker, Some(thread))).unzip();
        let accepting = watch::Sender::new(Accepting::Yes);
        Ok(Self { controls: Arc::new(Controls { workers, accepting, open, state: state.clone() }), threads })
    }

    pub(crate) fn controls(&self) -> &Arc<Controls> {
        &self.controls
    }

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

    /// Stops accepting, lets requests in flight end, and ends the workers. Says how many connections
    /// were cut off because `timeout` passed.
    pub(crate) async fn drain(mut self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        let controls = self.controls.clone();
        controls.accepting.send_replace(Accepting::Last);
        controls.close(true);
        if !controls.open.wait(DRAIN_IDLE.min(timeout)).await {
            controls.hang_up();
            controls.open.wait(deadline.saturating_duration_since(Instant::now())).await;
        }
        self.end()
    }

    /// [`Server::drain`] where another process has taken over: connections go to it as soon as they can, and are not
    /// hung up before `timeout` has passed.
    pub(crate) async fn retire(mut self, timeout: Duration) -> usize {
        let controls = self.controls.clone();
        if !controls.open.wait(timeout).await {
            controls.hang_up();
            controls.open.wait(DRAIN_IDLE).await;
        }
        self.end()
    }

    fn end(&mut self) -> usize {
        let cut = self.controls.open.count.load(Ordering::Acquire);
        self.stop();
        cut
    }

    fn stop(&mut self) {
        for (worker, thread) in self.controls.workers.iter().zip(&mut self.threads) {
            // An error: it has ended already.
            let _ = worker.jobs.send(Job::End);
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!("gateway worker panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Controls {
    /// Leaves connections in the kernel, or takes them.
    pub(crate) fn pause(&self, paused: bool) {
        self.accepting.send_replace(if paused { Accepting::Paused } else { Accepting::Yes });
    }

    /// Lets go of the listeners, whatever still waits there: it is another process' to accept.
    pub(crate) fn abandon_listeners(&self) {
        self.accepting.send_replace(Accepting::Done);
    }

    /// Whether connections end with their next answer.
    pub(crate) fn close(&self, closing: bool) {
        for worker in &self.workers {
            worker.closing.send_replace(closing);
        }
    }

    /// Lets go of connections without a request.
    pub(crate) fn hang_up(&self) {
        for worker in &self.workers {
            worker.hang_up.notify_waiters();
        }
    }

    /// Ends when every worker has done what it was doing, and has decided what had been on its way to a decision.
    pub(crate) async fn settle(&self) {
        let settled = self.workers.iter().map(|worker| {
            let (answer, settled) = oneshot::channel();
            // An error: it has ended, and decides nothing.
            let _ = worker.jobs.send(Job::Settle(answer));
            settled
        });
        for settled in settled.collect::<Vec<_>>() {
            let _ = settled.await;
        }
    }

    /// Serves a connection that the process before has handed on.
    pub(crate) fn serve_handed(&self, arrived: Arrived) {
        match self.state.gate.enter(arrived.peer.address, descriptors::number(arrived.socket())) {
            Ok(place) => {
                let Some(worker) = least(&self.workers) else { return };
                let held = Held::new(Counted::new(self.open.clone()), worker.load.clone(), self.state.clone(), place);
                // An error: the process ends.
                let _ = worker.jobs.send(Job::ServeHanded(arrived, held));
            }
            Err(why) => self.state.gate.turn_away(None, why),
        }
    }
}

fn least(workers: &[Worker]) -> Option<&Worker> {
    workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed))
}

impl Worker {
    fn start(number: usize, state: Arc<State>, idle_max: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, mut waiting) = mpsc::unbounded_channel();
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
            let (undecided, parting) = (Arc::<Open>::default(), watch::Sender::new(true).subscribe());
            let fast = Fast::new(state.clone(), idle_max, undecided.clone());
            let egress = Arc::new(egress::Listener {
                state: state.clone(),
                poster: Poster::new(state.egress.clone()),
                closing: watched.clone(),
                hang_up: told.clone(),
            });
            let service = Arc::new(Service { state, fast, proxy, egress, closing: watched, hang_up: told, undecided, parting });
            tokio::spawn(sweep(service.clone()));
            while let Some(job) = waiting.recv().await {
                match job {
                    Job::Serve(connection) => drop(tokio::spawn(serve(connection, service.clone()))),
                    Job::ServeHanded(arrived, held) => drop(tokio::spawn(moved::serve(arrived, held, service.clone()))),
                    Job::Settle(answer) => {
                        let undecided = service.undecided.clone();
                        tokio::spawn(async move {
                            undecided.wait(Duration::MAX).await;
                            // Whoever asked may have given up.
                            let _ = answer.send(());
                        });
                    }
                    Job::End => return,
                }
            }
        };
        let thread = thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
            // The connections that are left go down with the runtime.
            runtime.block_on(serve);
        })?;
        Ok((Self { jobs, load, closing, hang_up }, thread))
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
pub(super) struct Counted(Arc<Open>);

impl Counted {
    pub(super) fn new(open: Arc<Open>) -> Self {
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
pub(super) struct Held {
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
        state.gate.turn_away((!kind.is_encrypted()).then_some(&stream), Refused::Descriptors);
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
    let peer = Peer { address: peer.ip(), tls: None, parting: false };
    match listener {
        Listener::Plain => serve_plain(stream, peer, &service).await,
        Listener::Encrypted => serve_encrypted(stream, peer, &service).await,
        Listener::Egress => service.egress.clone().serve(stream, peer).await,
        Listener::EncryptedEgress => serve_encrypted_egress(stream, peer, &service).await,
    }
}

/// Serves an unencrypted connection of which nothing has been read.
pub(super) async fn serve_plain(stream: TcpStream, peer: Peer, service: &Arc<Service>) {
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
