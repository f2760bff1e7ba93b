//! The thread that writes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clearway_config::sync::v1::{self, from_control::Message};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Job, OnDisk, compact,
    frame::{self, BASE_MAGIC, Header},
    load::{BASE, COMPACTED_BASE, Files, LOG, Loaded, NEXT_BASE, NEXT_LOG, start_log, sync_directory},
    sealed::Vault,
};
use crate::snapshot::Snapshot;

/// Messages written with one flush at most.
const BATCH_MAX: usize = 1_024;
/// From one flush to the next, where changes come one after the other, and where they come thick: requests notice the
/// processor time of a flush. A change that comes alone waits for nothing.
const FLUSH_EVERY: Duration = Duration::from_millis(4);
const FLUSH_THICK_EVERY: Duration = Duration::from_millis(10);
/// More messages than this between two flushes are thick.
const THICK: usize = 2;

pub(super) struct Writer {
    directory: PathBuf,
    snapshot: Arc<Snapshot>,
    state: OnDisk,
    publish: watch::Sender<OnDisk>,
    files: Option<Files>,
    full: Option<Full>,
    compacting: Option<Compacting>,
    compact_bytes_min: u64,
    vault: Vault,
    mode: v1::HeartbeatReply,
    /// When the last flush began.
    flushed: Option<Instant>,
}

/// A whole snapshot on its way to the disk.
struct Full {
    header: Header,
    begin: v1::SnapshotBegin,
    to: BufWriter<File>,
}

struct Compacting {
    log: File,
    log_bytes: u64,
    cancelled: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<u64>>,
}

impl Writer {
    pub(super) fn new(
        directory: &Path,
        snapshot: Arc<Snapshot>,
        vault: Vault,
        loaded: Loaded,
        publish: watch::Sender<OnDisk>,
        compact_bytes_min: u64,
    ) -> Self {
        let mode = v1::HeartbeatReply { strict: !loaded.on_disk.available, ..Default::default() };
        Self {
            directory: directory.to_owned(),
            snapshot,
            state: loaded.on_disk,
            publish,
            files: loaded.files,
            full: None,
            compacting: None,
            compact_bytes_min,
            vault,
            mode,
            flushed: None,
        }
    }

    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut taken = 0;
        while let Some(job) = waiting.blocking_recv() {
            let every = if taken > THICK { FLUSH_THICK_EVERY } else { FLUSH_EVERY };
            if let Some(rest) = self.flushed.and_then(|at| every.checked_sub(at.elapsed())) {
                thread::sleep(rest);
            }
            let mut settled = Vec::new();
            let mut frames = Vec::new();
            let mut batch = OnDisk { failed: None, ..self.state.clone() };
            let mut next = Some(job);
            taken = 0;
            // Deltas are gathered; anything else is done after what came before it is on disk.
            while let Some(job) = next.take() {
                if let Err(e) = self.take(job, &mut frames, &mut batch, &mut settled) {
                    self.fail(&e);
                }
                taken += 1;
                if taken < BATCH_MAX {
                    next = waiting.try_recv().ok();
                }
            }
            if let Err(e) = self.append(&mut frames, &batch) {
                self.fail(&e);
            }
            self.publish.send_replace(self.state.clone());
            for answer in settled {
                let _ = answer.send(self.state.clone());
            }
            if let Err(e) = self.finish_compacting().and_then(|()| self.compact_when_large()) {
                self.put_off_compacting(&e);
            }
        }
        self.stop_compacting();
    }

    fn take(
        &mut self,
        job: Job,
        frames: &mut Vec<u8>,
        batch: &mut OnDisk,
        settled: &mut Vec<oneshot::Sender<OnDisk>>,
    ) -> io::Result<()> {
        match job {
            Job::Delta(mut delta) => {
                if let Some(changes) = &mut delta.changes {
                    self.vault.seal(changes);
                }
                batch.revision = batch.revision.max(delta.revision);
                frame::write_message(Message::Delta(delta), frames)?;
            }
            Job::Mode(reply) => {
                self.mode = reply;
                batch.available = !reply.strict;
                frame::write_message(Message::HeartbeatReply(reply), frames)?;
            }
            Job::Begin(begin) => {
                self.append(frames, batch)?;
                self.begin(begin)?;
            }
            Job::Chunk(mut chunk) => {
                self.vault.seal(&mut chunk);
                if let Some(full) = &mut self.full {
                    frame::write_message(Message::SnapshotChunk(chunk), &mut full.to)?;
                }
            }
            Job::End(end) => {
                self.end(&end)?;
                *batch = self.state.clone();
            }
            Job::Settle(answer) => {
                self.full = None;
                settled.push(answer);
            }
            Job::Rest(answer) => {
                self.full = None;
                self.stop_compacting();
                // It is begun again when the log has doubled, and not right after this.
                self.compact_bytes_min = self.files.as_ref().map_or(self.compact_bytes_min, |files| files.log_bytes * 2);
                settled.push(answer);
            }
        }
        Ok(())
    }

    /// Appends and flushes; only then does the state say so.
    fn append(&mut self, frames: &mut Vec<u8>, batch: &OnDisk) -> io::Result<()> {
        let frames = std::mem::take(frames);
        if frames.is_empty() || self.state.failed.is_some() {
            return Ok(());
        }
        // Before the first base there is nothing that these could follow; the base will hold the mode.
        let Some(files) = &mut self.files else { return Ok(()) };
        self.flushed = Some(Instant::now());
        files.log.write_all(&frames)?;
        files.log.sync_data()?;
        files.log_bytes += frames.len() as u64;
        self.state = OnDisk { failed: None, ..batch.clone() };
        if let Some(compacting) = &mut self.compacting {
            match compacting.log.write_all(&frames) {
                Ok(()) => compacting.log_bytes += frames.len() as u64,
                Err(e) => self.put_off_compacting(&e),
            }
        }
        Ok(())
    }

    fn begin(&mut self, begin: v1::SnapshotBegin) -> io::Result<()> {
        self.stop_compacting();
        let header = Header::new();
        let mut to = BufWriter::with_capacity(1 << 20, File::create(self.directory.join(NEXT_BASE))?);
        header.write(BASE_MAGIC, &mut to)?;
        frame::write_message(Message::SnapshotBegin(begin.clone()), &mut to)?;
        self.full = Some(Full { header, begin, to });
        Ok(())
    }

    fn end(&mut self, end: &v1::SnapshotEnd) -> io::Result<()> {
        let Some(mut full) = self.full.take() else { return Ok(()) };
        frame::write_message(Message::HeartbeatReply(self.mode), &mut full.to)?;
        frame::write_message(Message::SnapshotEnd(*end), &mut full.to)?;
        full.to.flush()?;
        let file = full.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let base_bytes = file.metadata()?.len();
        let (log, log_bytes) = start_log(&self.directory.join(NEXT_LOG), &full.header)?;
        self.take_over(NEXT_BASE)?;
        self.files = Some(Files { base_bytes, log, log_bytes });
        self.state = OnDisk {
            store_id: full.begin.store_id,
            revision: end.revision,
            available: !self.mode.strict,
            snapshots: self.state.snapshots + 1,
            failures: self.state.failures,
            failed: None,
        };
        Ok(())
    }

    /// Both new files are flushed. The first rename is the point of no return; the second only tidies,
    /// and a start after a crash between them does it.
    fn take_over(&self, new_base: &str) -> io::Result<()> {
        let path = |name| self.directory.join(name);
        sync_directory(&self.directory)?;
        fs::rename(path(new_base), path(BASE))?;
        sync_directory(&self.directory)?;
        fs::rename(path(NEXT_LOG), path(LOG))?;
        sync_directory(&self.directory)
    }

    fn compact_when_large(&mut self) -> io::Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let large = files.log_bytes > self.compact_bytes_min.max(files.base_bytes / 2);
        if !large || self.compacting.is_some() || self.full.is_some() || self.state.failed.is_some() {
            return Ok(());
        }
        let header = Header::new();
        let (log, log_bytes) = start_log(&self.directory.join(NEXT_LOG), &header)?;
        let begin = v1::SnapshotBegin {
            revision: self.state.revision,
            store_id: self.state.store_id.clone(),
            credentials: self.snapshot.credentials() as u64,
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("snapshot-compact".into()).spawn({
            let (directory, snapshot) = (self.directory.clone(), self.snapshot.clone());
            let (vault, mode, cancelled) = (self.vault.clone(), self.mode, cancelled.clone());
            move || compact::write_base(&directory, &snapshot, &vault, &header, begin, mode, &cancelled)
        })?;
        self.compacting = Some(Compacting { log, log_bytes, cancelled, thread });
        Ok(())
    }

    /// Looked at between batches: until the next one the old pair is as good.
    fn finish_compacting(&mut self) -> io::Result<()> {
        let Some(compacting) = self.compacting.take_if(|compacting| compacting.thread.is_finished()) else {
            return Ok(());
        };
        let Compacting { log, log_bytes, thread, .. } = compacting;
        let base_bytes = thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))?;
        log.sync_data()?;
        self.take_over(COMPACTED_BASE)?;
        self.files = Some(Files { base_bytes, log, log_bytes });
        Ok(())
    }

    fn stop_compacting(&mut self) {
        if let Some(compacting) = self.compacting.take() {
            compacting.cancelled.store(true, Ordering::Release);
            let _ = compacting.thread.join();
        }
    }

    /// The old pair goes on; the next attempt comes when its log is twice as long.
    fn put_off_compacting(&mut self, error: &io::Error) {
        tracing::warn!(%error, "delta log not compacted");
        self.stop_compacting();
        self.compact_bytes_min = self.files.as_ref().map_or(self.compact_bytes_min, |files| files.log_bytes * 2);
    }

    /// After a failed write or flush nobody knows what the file holds. What is known to be whole stays for
    /// the next start; everything after it waits for a whole snapshot in new files.
    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, directory = %self.directory.display(), "snapshot not on disk: asking for a whole one");
        self.stop_compacting();
        self.full = None;
        if let Some(files) = &mut self.files {
            let _ = files.log.set_len(files.log_bytes).and_then(|()| files.log.seek(SeekFrom::Start(files.log_bytes)));
        }
        self.state.store_id.clear();
        self.state.failures += 1;
        self.state.failed = Some(error.to_string());
    }
}
