//! Reading the files at start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use clearway_config::sync::v1::from_control::Message;

use super::{
    OnDisk,
    frame::{self, BASE_MAGIC, Damage, Header, LOG_MAGIC},
    sealed::Vault,
};
use crate::snapshot::Snapshot;

pub(super) const BASE: &str = "snapshot.bin";
pub(super) const LOG: &str = "deltas.log";
/// The log of a base that is being written. It becomes [`LOG`] after its base has become [`BASE`].
pub(super) const NEXT_LOG: &str = "deltas.next";
pub(super) const NEXT_BASE: &str = "snapshot.next";
pub(super) const COMPACTED_BASE: &str = "snapshot.compact";

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) on_disk: OnDisk,
    /// The pair in use and where the log ends; `None` without a usable base.
    pub(super) files: Option<Files>,
}

#[derive(Debug)]
pub(super) struct Files {
    pub(super) base_bytes: u64,
    pub(super) log: File,
    pub(super) log_bytes: u64,
}

/// How far the files have been read while another process writes them.
#[derive(Debug)]
pub(crate) struct Seen {
    header: Header,
    on_disk: OnDisk,
    log_bytes: u64,
}

/// Reads the files of another process, which goes on writing them, and touches nothing. `None`: nothing could be read.
pub(super) fn look(directory: &Path, vault: &Vault, snapshot: &Snapshot) -> io::Result<Option<Seen>> {
    let file = match File::open(directory.join(BASE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Ok((header, mut on_disk)) = read_base(file, vault, snapshot) else { return Ok(None) };
    let log = directory.join(LOG);
    let mut log_bytes = 0;
    if belongs(&log, &header) {
        let mut from = BufReader::with_capacity(1 << 20, File::open(&log)?);
        log_bytes = Header::read(LOG_MAGIC, &mut from).map_err(io::Error::other)?.1;
        // What is being written right now is read later.
        apply_log(&mut from, &mut log_bytes, vault, snapshot, &mut on_disk);
    }
    Ok(Some(Seen { header, on_disk, log_bytes }))
}

/// [`load`] after [`look`].
pub(super) fn load_after(directory: &Path, vault: &Vault, snapshot: &Snapshot, seen: Option<Seen>) -> io::Result<Loaded> {
    let Some(Seen { header, mut on_disk, log_bytes }) = seen else { return load(directory, vault, snapshot) };
    let mut base = File::open(directory.join(BASE))?;
    let is_same = Header::read(BASE_MAGIC, &mut base).is_ok_and(|(found, _)| found == header);
    if !is_same || log_bytes == 0 {
        // A whole base takes the place of what is in memory.
        return load(directory, vault, snapshot);
    }
    let base_bytes = base.metadata()?.len();
    let mut log = open_log(directory, &header)?;
    log.seek(SeekFrom::Start(log_bytes))?;
    let (log, log_bytes) = read_log(log, log_bytes, &header, vault, snapshot, &mut on_disk)?;
    ask_anew_of_another_version(&header, &mut on_disk);
    Ok(Loaded { on_disk, files: Some(Files { base_bytes, log, log_bytes }) })
}

fn ask_anew_of_another_version(header: &Header, on_disk: &mut OnDisk) {
    if header.version != env!("CARGO_PKG_VERSION") {
        // It is served, and asked for anew: the other version may have left out what it did not understand.
        on_disk.store_id.clear();
    }
}

pub(super) fn load(directory: &Path, vault: &Vault, snapshot: &Snapshot) -> io::Result<Loaded> {
    for unfinished in [NEXT_BASE, COMPACTED_BASE] {
        remove(&directory.join(unfinished))?;
    }
    let nothing = Loaded { on_disk: OnDisk::default(), files: None };
    let path = directory.join(BASE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        Err(e) => return Err(e),
    };
    let base_bytes = file.metadata()?.len();
    let (header, mut on_disk) = match read_base(file, vault, snapshot) {
        Ok(read) => read,
        Err(damage) => {
            tracing::warn!(file = %path.display(), %damage, "disk snapshot refused: waiting for control");
            return Ok(nothing);
        }
    };
    let mut log = open_log(directory, &header)?;
    let (_, begins) = Header::read(LOG_MAGIC, &mut log).map_err(io::Error::other)?;
    let (log, log_bytes) = read_log(log, begins, &header, vault, snapshot, &mut on_disk)?;
    ask_anew_of_another_version(&header, &mut on_disk);
    Ok(Loaded { on_disk, files: Some(Files { base_bytes, log, log_bytes }) })
}

/// Without its last message nothing of a base counts: [`Snapshot::is_ready`] stays false.
fn read_base(file: File, vault: &Vault, snapshot: &Snapshot) -> Result<(Header, OnDisk), Damage> {
    let mut from = BufReader::with_capacity(1 << 20, file);
    let (header, _) = Header::read(BASE_MAGIC, &mut from)?;
    let mut on_disk = OnDisk::default();
    let mut unsealed = true;
    loop {
        match frame::read_message(&mut from)?.ok_or(Damage::Torn)?.0 {
            Message::SnapshotBegin(begin) => {
                snapshot.begin_full(&begin);
                on_disk.store_id = begin.store_id;
            }
            Message::SnapshotChunk(mut chunk) => {
                unsealed &= vault.unseal(&mut chunk);
                snapshot.apply_chunk(&chunk);
            }
            Message::HeartbeatReply(reply) => on_disk.available = !reply.strict,
            Message::SnapshotEnd(end) => {
                snapshot.end_full(&end).ok_or(Damage::Format)?;
                on_disk.revision = end.revision;
                ask_anew_unless(unsealed, &mut on_disk);
                return Ok((header, on_disk));
            }
            Message::Challenge(_) | Message::Delta(_) | Message::UsageAck(_) => return Err(Damage::Format),
        }
    }
}

/// What did not open is asked for again, with everything else.
fn ask_anew_unless(unsealed: bool, on_disk: &mut OnDisk) {
    if !unsealed && !std::mem::take(&mut on_disk.store_id).is_empty() {
        tracing::warn!("secrets on disk are sealed by another key: what needs them is refused until control is heard");
    }
}

/// The log of this base, wherever a crash left it; a new one when there is none.
fn open_log(directory: &Path, header: &Header) -> io::Result<File> {
    let (log, next) = (directory.join(LOG), directory.join(NEXT_LOG));
    if belongs(&next, header) {
        fs::rename(&next, &log)?;
        sync_directory(directory)?;
    }
    remove(&next)?;
    if !belongs(&log, header) {
        start_log(&log, header)?;
        sync_directory(directory)?;
    }
    OpenOptions::new().read(true).write(true).open(&log)
}

fn belongs(log: &Path, header: &Header) -> bool {
    let Ok(mut file) = File::open(log) else { return false };
    Header::read(LOG_MAGIC, &mut file).is_ok_and(|(found, _)| found.base_id == header.base_id)
}

pub(super) fn start_log(path: &Path, header: &Header) -> io::Result<(File, u64)> {
    let mut file = File::create(path)?;
    header.write(LOG_MAGIC, &mut file)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Applies the log, which stands at `good`, as far as it is whole and cuts off the rest, which was never acknowledged.
fn read_log(
    log: File,
    mut good: u64,
    header: &Header,
    vault: &Vault,
    snapshot: &Snapshot,
    on_disk: &mut OnDisk,
) -> io::Result<(File, u64)> {
    let mut from = BufReader::with_capacity(1 << 20, log);
    let damage = apply_log(&mut from, &mut good, vault, snapshot, on_disk);
    let mut log = from.into_inner();
    if let Some(damage) = damage {
        let lost = log.metadata()?.len().saturating_sub(good);
        tracing::warn!(%damage, bytes = lost, base = ?header.base_id, "end of the delta log cut off");
        log.set_len(good)?;
        log.sync_all()?;
    }
    log.seek(SeekFrom::Start(good))?;
    Ok((log, good))
}

/// Applies what follows, and adds its bytes to `good`. Says why it stopped before the end.
fn apply_log(
    from: &mut impl io::Read,
    good: &mut u64,
    vault: &Vault,
    snapshot: &Snapshot,
    on_disk: &mut OnDisk,
) -> Option<Damage> {
    loop {
        match frame::read_message(from) {
            Ok(None) => return None,
            Ok(Some((message, bytes))) => {
                match message {
                    Message::Delta(mut delta) => {
                        let unsealed = delta.changes.as_mut().is_none_or(|changes| vault.unseal(changes));
                        ask_anew_unless(unsealed, on_disk);
                        snapshot.apply(&delta);
                        on_disk.revision = on_disk.revision.max(delta.revision);
                    }
                    Message::HeartbeatReply(reply) => on_disk.available = !reply.strict,
                    Message::Challenge(_)
                    | Message::SnapshotBegin(_)
                    | Message::SnapshotChunk(_)
                    | Message::SnapshotEnd(_)
                    | Message::UsageAck(_) => return Some(Damage::Format),
                }
                *good += bytes;
            }
            Err(damage) => return Some(damage),
        }
    }
}

pub(super) fn remove(path: &PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A rename is there after a crash only when its directory was flushed.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
