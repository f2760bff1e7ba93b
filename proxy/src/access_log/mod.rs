//! The access log: a line a request, JSON, written in batches by a thread of its own.
//!
//! The line of an admitted request goes into the queue together with its ledger ticket. The ticket is
//! given back only after the line is in the file; so after a crash the ledger still knows the requests
//! whose lines may be missing, and [`AccessLog::open`] writes exactly those. With every line logged the
//! file has as many admitted lines as the ledger has counted. Sampling and a full queue drop lines,
//! never counts.

mod file;
pub(crate) mod line;
mod shape;

use std::{
    cell::RefCell,
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use clearway_config::RequestId;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    ledger::{Interrupted, Ledger, STATUS_CLIENT_GONE, Unlogged, hand_line},
    metrics::Metrics,
};
use file::Target;
use line::Line;
pub(crate) use shape::Shape;

/// Bytes that wait to be written at most.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Lines that wait at most: each may hold one of the ledger's in-flight records.
const QUEUE_LINES_MAX: usize = 16_384;
/// How long lines are gathered before they are written together: each time wakes a thread, which a busy
/// core pays for. A crash loses none of them.
const GATHER: Duration = Duration::from_millis(25);
/// How often the writer looks whether its file was moved.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// What the settings say, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) enabled: bool,
    /// `None` is standard output.
    pub(crate) file: Option<PathBuf>,
    /// From 0 to 1.
    pub(crate) sample: f64,
    pub(crate) shape: Arc<Shape>,
}

/// The gateway's end of the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    /// Of 2^32 requests so many are logged.
    sampled: u64,
    shape: Arc<Shape>,
    /// Whose tickets come with lines, and who says whether another process writes them.
    ledger: Arc<Ledger>,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: usize,
    tickets: Vec<Unlogged>,
    /// Told when what is here has been written.
    waiting: Vec<oneshot::Sender<()>>,
    reopen: bool,
    closed: bool,
}

impl AccessLog {
    /// Writes the lines that the last process owed, then takes new ones.
    pub(crate) fn open(
        options: Options,
        ledger: Arc<Ledger>,
        interrupted: Vec<Interrupted>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), metrics });
        let Options { enabled, file, sample, shape } = options;
        if !enabled {
            return Ok(Self { sampled: 0, shape, ledger, shared, writer: Mutex::default() });
        }
        if let Some(fields) = shape.missing_proof() {
            tracing::warn!(fields, "access log leaves these out: its lines cannot be compared with what was counted");
        }
        let mut target = Target::open(file.clone())?;
        let sampled = (sample.clamp(0.0, 1.0) * (u64::from(u32::MAX) + 1) as f64) as u64;
        settle(&mut target, file.as_deref(), &interrupted, sampled, &shape)?;
        // Only now, behind their lines, may the ledger forget them.
        drop(interrupted);
        let writer = thread::Builder::new().name("access-log".into()).spawn({
            let shared = shared.clone();
            move || shared.write(target)
        })?;
        Ok(Self { sampled, shape, ledger, shared, writer: Mutex::new(Some(writer)) })
    }

    /// What lines say; asked when a request comes in for what is gone when it ends.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes a finished request's line. Its ticket is kept until the line is written.
    pub(crate) fn push(&self, line: &Line<'_>, ticket: Option<Unlogged>) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        if !is_sampled(line.request_id, self.sampled) {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            line.write(&self.shape, scratch);
            self.put(scratch, ticket);
        });
    }

    /// Takes a line that has been written already, by the process before or for the one after.
    pub(crate) fn put(&self, line: &[u8], ticket: Option<Unlogged>) {
        if self.sampled == 0 {
            return;
        }
        let Err(ticket) = hand_line(&self.ledger, ticket, line) else { return };
        let mut queue = self.shared.queue.lock();
        if queue.closed || queue.lines >= QUEUE_LINES_MAX || queue.bytes.len() + line.len() > QUEUE_BYTES_MAX {
            drop(queue);
            self.shared.metrics.access_log_dropped.inc();
            return;
        }
        let was_empty = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        queue.tickets.extend(ticket);
        drop(queue);
        if was_empty {
            self.shared.changed.notify_one();
        }
    }

    /// Takes the lines of requests whose process has died since this log was opened.
    pub(crate) fn settle(&self, interrupted: Vec<Interrupted>) {
        let mut bytes = Vec::new();
        for lost in interrupted.into_iter().filter(|lost| is_sampled(lost.request, self.sampled)) {
            bytes.clear();
            line_of(&lost).write(&self.shape, &mut bytes);
            self.put(&bytes, Some(lost.unlogged));
        }
    }

    /// Ends when what has been taken is written and its tickets are given back.
    pub(crate) async fn flush(&self) {
        let (written, waits) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if self.sampled == 0 || queue.closed {
                return;
            }
            queue.waiting.push(written);
        }
        self.shared.changed.notify_one();
        // An error: the writer has ended, and nothing waits any more.
        let _ = waits.await;
    }

    /// Opens the file anew: the operator has moved it.
    pub(crate) fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.changed.notify_one();
    }

    /// Writes what waits and ends the writer.
    pub(crate) fn close(&self) {
        self.shared.queue.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("access log writer panicked");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn write(&self, mut target: Target) {
        let mut batch = Queue::default();
        let mut looked = Instant::now();
        let mut failing = false;
        loop {
            let (asked, closed) = self.gather(&mut batch);
            if asked || looked.elapsed() >= FOLLOW_EVERY {
                looked = Instant::now();
                if let Err(e) = target.follow(asked) {
                    tracing::error!(error = %e, "access log cannot be reopened");
                }
            }
            if !batch.bytes.is_empty() {
                let written = target.append(&batch.bytes);
                if let Err(e) = &written {
                    self.metrics.access_log_errors.inc();
                    self.metrics.access_log_dropped.inc_by(batch.lines as u64);
                    if !failing {
                        tracing::error!(error = %e, lines = batch.lines, "access log cannot be written");
                    }
                }
                failing = written.is_err();
            }
            batch.bytes.clear();
            batch.lines = 0;
            // The lines are in the file: the ledger may forget these requests.
            batch.tickets.clear();
            for waits in batch.waiting.drain(..) {
                // Whoever waited may have gone.
                let _ = waits.send(());
            }
            if closed {
                return;
            }
        }
    }

    /// Waits for lines, lets more gather, and takes them all. Says whether to reopen and whether it is over.
    fn gather(&self, batch: &mut Queue) -> (bool, bool) {
        let mut queue = self.queue.lock();
        if queue.bytes.is_empty() && !queue.closed && !queue.reopen && queue.waiting.is_empty() {
            self.changed.wait_for(&mut queue, FOLLOW_EVERY);
        }
        let in_haste = queue.closed || !queue.waiting.is_empty();
        if !queue.bytes.is_empty() && !in_haste && queue.bytes.len() < QUEUE_BYTES_MAX / 4 {
            self.changed.wait_for(&mut queue, GATHER);
        }
        std::mem::swap(&mut queue.bytes, &mut batch.bytes);
        std::mem::swap(&mut queue.lines, &mut batch.lines);
        std::mem::swap(&mut queue.tickets, &mut batch.tickets);
        std::mem::swap(&mut queue.waiting, &mut batch.waiting);
        (std::mem::take(&mut queue.reopen), queue.closed)
    }
}

/// By its id, so that a request is in the log after a restart exactly if it would have been before.
fn is_sampled(id: RequestId, sampled: u64) -> bool {
    let [.., a, b, c, d] = *id.as_bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])) < sampled
}

/// Writes the lines of requests that the last process did not finish, unless they are in the file.
fn settle(target: &mut Target, file: Option<&Path>, interrupted: &[Interrupted], sampled: u64, shape: &Shape) -> io::Result<()> {
    if interrupted.is_empty() {
        return Ok(());
    }
    let wanted: HashSet<_> = interrupted.iter().map(|lost| lost.request).collect();
    let logged = match file {
        // A batch is written before the next one is taken, so the last two hold every line in question.
        Some(file) => file::find_logged(file, &wanted, 2 * QUEUE_BYTES_MAX as u64)?,
        None => HashSet::new(),
    };
    let mut bytes = Vec::new();
    for lost in interrupted.iter().filter(|lost| !logged.contains(&lost.request) && is_sampled(lost.request, sampled)) {
        line_of(lost).write(shape, &mut bytes);
    }
    target.append(&bytes)?;
    tracing::info!(requests = interrupted.len(), logged = logged.len(), "requests of the last process settled");
    Ok(())
}

/// What the ledger knows of a request; where it came from and went to is lost.
fn line_of(lost: &Interrupted) -> Line<'static> {
    let (status, duration_ms) = lost.finished.unwrap_or((STATUS_CLIENT_GONE, 0));
    Line {
        time_ms: lost.admitted_ms,
        request_id: lost.request,
        trace_id: 0,
        method: "",
        host: "",
        path: "",
        described: "",
        route: None,
        route_path: None,
        status,
        admitted: true,
        reject: None,
        account_id: Some(lost.account),
        key_id: lost.key,
        webhook_id: None,
        plan: None,
        auth: None,
        subject: None,
        address: None,
        duration_us: duration_ms.saturating_mul(1_000),
        upstream_us: None,
        upstream: None,
        bytes_in: 0,
        bytes_out: 0,
        cache: None,
        interrupted: true,
        protocol: None,
        tls: None,
    }
}
