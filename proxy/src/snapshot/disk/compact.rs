//! A new base from memory, written beside the old pair while deltas go on.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clearway_config::sync::v1::{self, from_control::Message};

use super::{
    frame::{self, BASE_MAGIC, Header},
    load::COMPACTED_BASE,
    sealed::Vault,
};
use crate::snapshot::Snapshot;

/// Writes and flushes [`COMPACTED_BASE`]. Rows may be newer than `revision`: the log that goes with it
/// says the same again. `cancelled` ends it early.
pub(super) fn write_base(
    directory: &Path,
    snapshot: &Arc<Snapshot>,
    vault: &Vault,
    header: &Header,
    begin: v1::SnapshotBegin,
    reply: v1::HeartbeatReply,
    cancelled: &AtomicBool,
) -> io::Result<u64> {
    let whole = snapshot.whole().ok_or_else(interrupted)?;
    let mut to = BufWriter::with_capacity(1 << 20, File::create(directory.join(COMPACTED_BASE))?);
    let revision = begin.revision;
    header.write(BASE_MAGIC, &mut to)?;
    frame::write_message(Message::SnapshotBegin(begin), &mut to)?;
    frame::write_message(Message::HeartbeatReply(reply), &mut to)?;
    snapshot.export(|mut chunk| {
        if cancelled.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        vault.seal(&mut chunk);
        frame::write_message(Message::SnapshotChunk(chunk), &mut to).map(|_| ())
    })?;
    frame::write_message(Message::SnapshotEnd(v1::SnapshotEnd { revision }), &mut to)?;
    to.flush()?;
    let file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    // A whole snapshot that began meanwhile has mixed two stores in memory.
    if snapshot.whole() != Some(whole) {
        return Err(interrupted());
    }
    Ok(file.metadata()?.len())
}

fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "a whole snapshot began")
}
