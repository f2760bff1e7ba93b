//! Threads that attempts run on, beside those of requests: however much is posted, no request waits for it.
//!
//! Each has a runtime and connections of its own, so that an attempt and its connection are of one thread.

use std::{io, sync::Arc, thread};

use tokio::{
    runtime::{self, Handle},
    sync::watch,
};

/// Where attempts run.
#[derive(Debug)]
pub(super) struct Lane<P> {
    pub(super) runtime: Handle,
    pub(super) post: Arc<P>,
}

/// The threads. They end when this is dropped, and what runs on them with them.
#[derive(Debug)]
pub(super) struct Threads {
    threads: Vec<thread::JoinHandle<()>>,
    /// Closed at the end.
    stop: Option<watch::Sender<()>>,
}

impl Threads {
    /// `post` is asked for on each thread's runtime.
    pub(super) fn start<P>(count: usize, mut post: impl FnMut() -> P) -> io::Result<(Self, Vec<Lane<P>>)> {
        let (stop, stopped) = watch::channel(());
        let mut threads = Self { threads: Vec::with_capacity(count), stop: Some(stop) };
        let mut lanes = Vec::with_capacity(count);
        for number in 0..count.max(1) {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let post = {
                let _entered = handle.enter();
                Arc::new(post())
            };
            let mut stopped = stopped.clone();
            let thread = thread::Builder::new().name(format!("egress-{number}"));
            threads.threads.push(thread.spawn(move || {
                // Nothing is ever sent: this is its end.
                let _ = runtime.block_on(stopped.changed());
                // The look-up of a name cannot be given up, and is not waited for.
                runtime.shutdown_background();
            })?);
            lanes.push(Lane { runtime: handle, post });
        }
        Ok((threads, lanes))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
