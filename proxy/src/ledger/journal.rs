//! What the mapped file does not have on disk yet, in a file that is appended to: only a power cut asks for it.
//!
//! Writing the mapped file to disk makes the kernel catch the next write to every page of it, and costs a
//! page for each slot that changed. So each second the changed counters alone are appended here, in one
//! piece and in absolute values. When the journal has become long, a new one is begun and the mapped file
//! is written to disk, a part each second; once all of it is there, the journals before are removed.
//!
//! A kill loses nothing of the mapped file, and what stands here is then old. It is read at every start all
//! the same, since the later count always wins: [`super::replay`].

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    mapping::{Mapping, SlotId},
    marks::{Mark, Marks},
};

pub(super) const MAGIC: &[u8; 8] = b"CLWJOURN";
pub(super) const VERSION: u32 = 1;
/// Magic, version, slots named before it was begun, ledger id, CRC32 of these.
pub(super) const HEADER_BYTES: usize = 8 + 4 + 4 + 16 + 4;
/// How many names and how many counts follow, and the CRC32 of both numbers and all of these.
pub(super) const FRAME_BYTES: usize = 4 + 4 + 4;
/// Slot, kind, id, last address where that is IPv6.
pub(super) const NAME_BYTES: usize = 4 + 4 + 16 + 16;
/// Slot, last address where that is IPv4, the words of `Windows` with its family in the place of concurrency.
pub(super) const COUNT_BYTES: usize = 4 + 4 + 7 * 8;
/// Names and counts in a frame at most: what is read back at once.
pub(super) const FRAME_ENTRIES_MAX: usize = 8_192;

/// A journal of this length, or half as long as the counters it is about, is long.
const LONG_BYTES: u64 = 64 << 20;
/// The mapped file is written in this many parts, one a second.
const PARTS: usize = 8;
/// How far ahead of being read a slot is fetched.
const AHEAD: usize = 8;

/// The journals of a ledger, of which the last is written to.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    ledger: [u8; 16],
    generation: u64,
    /// `None` until something is saved, and after something could not be: then a new one has to be begun.
    current: Option<Current>,
    /// The segment of the mapped file to write next. `None` when all of it has been since the current journal was begun.
    writing: Option<usize>,
    /// Of the mapped file more may have changed than a journal says: all of it is written at once.
    behind: bool,
    /// Slots that the journals name or, from before the oldest of them was begun, the mapped file on disk.
    named: u32,
    /// When a journal is long, however few the counters are.
    pub(super) long_bytes: u64,
    changed: Vec<SlotId>,
    frame: Frame,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
}

impl Journal {
    /// Continues after `generation`, whose journal and those before are removed when the mapped file is on disk.
    /// They name the first `named` slots.
    pub(super) fn after(generation: u64, named: u32, dir: PathBuf, ledger: [u8; 16]) -> Self {
        let (changed, frame) = (Vec::new(), Frame::default());
        Self {
            dir,
            ledger,
            generation,
            current: None,
            writing: None,
            behind: true,
            named,
            long_bytes: LONG_BYTES,
            changed,
            frame,
        }
    }

    /// Brings to disk what has changed since the last call. After an error the next call brings everything.
    pub(super) fn save(&mut self, map: &Mapping, marks: &Marks) -> io::Result<()> {
        let saved = self.try_save(map, marks);
        if saved.is_err() {
            (self.current, self.behind) = (None, true);
        }
        saved
    }

    fn try_save(&mut self, map: &Mapping, marks: &Marks) -> io::Result<()> {
        let long_bytes = self.long_bytes.max(u64::from(map.slots()) * COUNT_BYTES as u64 / 2);
        let is_long = self.current.as_ref().is_none_or(|current| current.bytes > long_bytes);
        if self.current.is_none() || (is_long && self.writing.is_none()) {
            self.begin()?;
        }
        self.append(map, marks)?;
        // After the journal: then the header on disk never counts a slot that the journal could name and does not.
        map.flush_head()?;
        self.write_part(map)
    }

    /// Begins the next journal, and to write the mapped file.
    fn begin(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut header = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &self.named.to_le_bytes(), &self.ledger].concat();
        header.extend(crc32fast::hash(&header).to_le_bytes());
        let file = File::create(file_of(&self.dir, self.generation + 1))?;
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        self.generation += 1;
        self.current = Some(Current { file, bytes: HEADER_BYTES as u64 });
        self.writing = Some(0);
        Ok(())
    }

    fn append(&mut self, map: &Mapping, marks: &Marks) -> io::Result<()> {
        let Self { current: Some(current), named, changed, frame, .. } = self else { return Ok(()) };
        // What an error has left in it is marked no more, and comes to disk with the mapped file.
        changed.clear();
        frame.clear();
        marks.drain(Mark::Save, map.slots(), usize::MAX, |slot| {
            changed.push(slot);
            true
        });
        // After the marks: whoever is marked has a name in this or an earlier frame.
        let slots = map.slots();
        if changed.is_empty() && slots == *named {
            return Ok(());
        }
        let mut bytes = current.bytes;
        let mut write = |frame: &mut Frame| -> io::Result<()> {
            let sealed = frame.sealed();
            current.file.write_all_at(sealed, bytes)?;
            bytes += sealed.len() as u64;
            frame.clear();
            Ok(())
        };
        for slot in (*named..slots).map(SlotId) {
            frame.name(map, slot);
            if frame.is_full() {
                write(frame)?;
            }
        }
        for (at, &slot) in changed.iter().enumerate() {
            if let Some(&soon) = changed.get(at + AHEAD) {
                map.prefetch(soon);
            }
            frame.count(map, slot);
            if frame.is_full() {
                write(frame)?;
            }
        }
        if !frame.is_empty() {
            write(frame)?;
        }
        current.file.sync_data()?;
        (current.bytes, *named) = (bytes, slots);
        Ok(())
    }

    /// Writes the next part of the mapped file; after the last one the journals before are of no use.
    fn write_part(&mut self, map: &Mapping) -> io::Result<()> {
        let Some(first) = self.writing else { return Ok(()) };
        let segments = map.segments();
        let end = if self.behind { segments } else { segments.min(first + segments.div_ceil(PARTS)) };
        for segment in first..end {
            map.flush_segment(segment)?;
        }
        self.writing = Some(end);
        if end == segments {
            for generation in generations(&self.dir)?.into_iter().filter(|&generation| generation < self.generation) {
                fs::remove_file(file_of(&self.dir, generation))?;
            }
            (self.writing, self.behind) = (None, false);
        }
        Ok(())
    }
}

/// The journals in `dir`, oldest first.
pub(super) fn generations(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry?.file_name().to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn file_of(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation}.journal"))
}

/// Some names and counts, written and read back as one: it is there in full, or not at all.
#[derive(Debug, Default)]
struct Frame {
    names: Vec<u8>,
    counts: Vec<u8>,
    sealed: Vec<u8>,
}

impl Frame {
    fn name(&mut self, map: &Mapping, id: SlotId) {
        let (Some(slot), Some(name)) = (map.slot(id), map.name(id)) else { return };
        self.names.extend(id.0.to_le_bytes());
        self.names.extend(u32::from(slot.kind()).to_le_bytes());
        self.names.extend(name.id.load());
        self.names.extend(name.address_v6.load());
    }

    fn count(&mut self, map: &Mapping, id: SlotId) {
        let Some(slot) = map.slot(id) else { return };
        let (mut windows, (family, v4)) = {
            let slot = slot.lock();
            (slot.windows(), slot.address())
        };
        // Of what is being served a start knows nothing.
        windows.concurrent = u32::from(family);
        self.counts.extend(id.0.to_le_bytes());
        self.counts.extend(v4.to_le_bytes());
        windows.to_words().iter().for_each(|word| self.counts.extend(word.to_le_bytes()));
        if family == 6 {
            self.name(map, id);
        }
    }

    fn is_full(&self) -> bool {
        self.names.len() >= FRAME_ENTRIES_MAX * NAME_BYTES || self.counts.len() >= FRAME_ENTRIES_MAX * COUNT_BYTES
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.counts.is_empty()
    }

    fn clear(&mut self) {
        self.names.clear();
        self.counts.clear();
    }

    fn sealed(&mut self) -> &[u8] {
        let number = |bytes: usize, each: usize| u32::try_from(bytes / each).expect("FRAME_ENTRIES_MAX fits").to_le_bytes();
        let (names, counts) = (number(self.names.len(), NAME_BYTES), number(self.counts.len(), COUNT_BYTES));
        let mut crc = crc32fast::Hasher::new();
        [&names[..], &counts, &self.names, &self.counts].into_iter().for_each(|part| crc.update(part));
        self.sealed.clear();
        for part in [&names[..], &counts, &crc.finalize().to_le_bytes(), &self.names, &self.counts] {
            self.sealed.extend_from_slice(part);
        }
        &self.sealed
    }
}
