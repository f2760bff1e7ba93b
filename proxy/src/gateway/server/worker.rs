//! One worker: a thread that serves the connections it is given, by a runtime of its own.

use std::{
    io,
    net::{SocketAddr, TcpStream as StdStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use tokio::{
    runtime,
    sync::{Notify, mpsc, oneshot, watch},
};

use super::{
    accept::Listener,
    open::{Held, Open},
    serve::serve,
};
use crate::{
    egress::{Poster, listener as egress},
    gateway::{
        Gateway, State,
        connection::Service,
        fast::{Fast, SWEEP_EVERY},
        moved::{self, Arrived},
    },
};

/// Attempts at upstreams of one request, as Pingora counts them; ours are fewer.
const PINGORA_ATTEMPTS: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) load: Arc<AtomicUsize>,
    /// True: answer what comes with `Connection: close`.
    pub(super) closing: watch::Sender<bool>,
    /// Let go of connections without a request.
    pub(super) hang_up: Arc<Notify>,
}

#[derive(Debug)]
pub(super) enum Job {
    Serve(Accepted),
    ServeHanded(Arrived, Held),
    /// To be answered when no request is on its way to its decision.
    Settle(oneshot::Sender<()>),
    End,
}

/// A connection on its way to its worker.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) listener: Listener,
    pub(super) stream: StdStream,
    pub(super) peer: SocketAddr,
    pub(super) held: Held,
}

pub(super) fn least(workers: &[Worker]) -> Option<&Worker> {
    workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed))
}

impl Worker {
    pub(super) fn start(number: usize, state: Arc<State>, idle_max: usize) -> io::Result<(Self, JoinHandle<()>)> {
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

/// Closes connections to upstreams that have rested for too long.
async fn sweep(service: Arc<Service>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        service.fast.pool.sweep(ticks.tick().await.into_std());
    }
}
