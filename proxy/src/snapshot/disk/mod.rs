//! The snapshot in two files, so that a proxy starts and serves while control is away.
//!
//! `snapshot.bin` is a whole snapshot, `deltas.log` what came after it; both hold the messages of the
//! sync contract, each in a frame with its length and checksum. A thread of its own writes them: it
//! appends all that is waiting, flushes once, and only then says in [`OnDisk`] how far it has come,
//! which is what may be acknowledged. When the log has grown it writes a new base from memory while
//! deltas go on. Renaming the base is the one point at which a new pair of files takes over: a log
//! belongs to the base whose id it carries. Signing secrets stand in them sealed ([`sealed`]).

mod compact;
mod frame;
mod load;
mod sealed;
#[cfg(test)]
mod tests;
mod write;

use std::{io, path::Path, sync::Arc, thread};

use clearway_config::sync::v1;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Mode, Snapshot};
pub(crate) use load::Seen;
use sealed::Vault;

/// A log shorter than this, or than half its base, is left alone.
pub const COMPACT_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Messages waiting for the disk at most; then whoever reads the stream waits too.
const WAITING_MAX: usize = 1_024;

/// What would be there after a crash now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// Of which store; empty when the next connection must bring a whole snapshot.
    pub store_id: Vec<u8>,
    /// Everything through it is on disk.
    pub revision: u64,
    /// Whether this proxy, started from these files, would serve without a lease.
    pub available: bool,
    /// Whole snapshots written since the start.
    pub snapshots: u64,
    /// How often writing has failed since the start.
    pub failures: u64,
    /// Why nothing more reaches the disk until a whole snapshot does.
    pub failed: Option<String>,
}

/// The files of one data directory and the thread that writes them. Dropping it writes what waits.
#[derive(Debug)]
pub struct Disk {
    jobs: Option<mpsc::Sender<Job>>,
    state: watch::Receiver<OnDisk>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Begin(v1::SnapshotBegin),
    Chunk(v1::Changes),
    End(v1::SnapshotEnd),
    Delta(v1::Delta),
    Mode(v1::HeartbeatReply),
    Settle(oneshot::Sender<OnDisk>),
    /// [`Job::Settle`], and nothing is written before the next job.
    Rest(oneshot::Sender<OnDisk>),
}

impl Disk {
    /// Reads what is there into `snapshot`, which is empty, and starts the thread. A base that is damaged
    /// is not used at all; a log is used as far as it is whole. `key_file` holds what signing secrets are sealed
    /// by, and is made where it is missing.
    pub fn open(directory: &Path, key_file: &Path, snapshot: Arc<Snapshot>) -> io::Result<Self> {
        Self::open_compacting_at(directory, key_file, snapshot, COMPACT_BYTES_MIN)
    }

    /// Reads the files of another process, which goes on writing them, and touches nothing. `None`: nothing could be read.
    pub(crate) fn look(directory: &Path, key_file: &Path, snapshot: &Snapshot) -> io::Result<Option<Seen>> {
        load::look(directory, &Vault::open(key_file)?, snapshot)
    }

    /// [`Disk::open`] where another process has written to the files since they were looked at, and no longer does:
    /// what came after is read, and no more where it follows what is known.
    pub(crate) fn open_after(directory: &Path, key_file: &Path, snapshot: Arc<Snapshot>, seen: Option<Seen>) -> io::Result<Self> {
        let vault = Vault::open(key_file)?;
        let loaded = load::load_after(directory, &vault, &snapshot, seen)?;
        Self::begin_writing(directory, vault, loaded, snapshot, COMPACT_BYTES_MIN)
    }

    fn open_compacting_at(
        directory: &Path,
        key_file: &Path,
        snapshot: Arc<Snapshot>,
        compact_bytes_min: u64,
    ) -> io::Result<Self> {
        let vault = Vault::open(key_file)?;
        let loaded = load::load(directory, &vault, &snapshot)?;
        Self::begin_writing(directory, vault, loaded, snapshot, compact_bytes_min)
    }

    fn begin_writing(
        directory: &Path,
        vault: Vault,
        loaded: load::Loaded,
        snapshot: Arc<Snapshot>,
        compact_bytes_min: u64,
    ) -> io::Result<Self> {
        snapshot.lease().set_mode(if loaded.on_disk.available { Mode::Available } else { Mode::Strict });
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let (publish, state) = watch::channel(loaded.on_disk.clone());
        let writer = write::Writer::new(directory, snapshot, vault, loaded, publish, compact_bytes_min);
        let thread = thread::Builder::new().name("snapshot-disk".into()).spawn(move || writer.run(waiting))?;
        Ok(Self { jobs: Some(jobs), state, thread: Some(thread) })
    }

    /// Follows what is on disk.
    pub fn state(&self) -> watch::Receiver<OnDisk> {
        self.state.clone()
    }

    /// Waits until all that was put is on disk or has failed, and drops a whole snapshot that was not finished.
    pub async fn settle(&self) -> Option<OnDisk> {
        let (answer, settled) = oneshot::channel();
        self.put(Job::Settle(answer)).await;
        settled.await.ok()
    }

    /// [`Disk::settle`], after which nothing touches the files until something is put again.
    pub(crate) async fn rest(&self) -> Option<OnDisk> {
        let (answer, settled) = oneshot::channel();
        self.put(Job::Rest(answer)).await;
        settled.await.ok()
    }

    pub async fn begin(&self, begin: v1::SnapshotBegin) {
        self.put(Job::Begin(begin)).await;
    }

    pub async fn chunk(&self, chunk: v1::Changes) {
        self.put(Job::Chunk(chunk)).await;
    }

    pub async fn end(&self, end: v1::SnapshotEnd) {
        self.put(Job::End(end)).await;
    }

    pub async fn delta(&self, delta: v1::Delta) {
        self.put(Job::Delta(delta)).await;
    }

    /// What control said about serving without it.
    pub async fn mode(&self, reply: v1::HeartbeatReply) {
        self.put(Job::Mode(reply)).await;
    }

    async fn put(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends after its last sender only; were it gone, nothing would be acknowledged any more.
            let _ = jobs.send(job).await;
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
