//! The file of what a fleet's store has granted to this node: a line a slot of the ledger, of the same number, and
//! guarded by that slot's lock. There is none where the ledger counts for this machine alone.
//!
//! A line is written before what it says may be spent, and lowered before anything is given back; so after a kill it
//! never says more than the store knows of. Not so after the machine itself went down: its last writes may be missing,
//! and slots may have gone to others. Then the file is begun anew, and what this node holds is what it has counted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    mem::size_of,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use clearway_filters::quota::{HOLDING_WORDS, Holding, Now};
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;

use super::{Bytes16, SEGMENT_SLOTS, SEGMENTS_MAX, SlotGuard, SlotId, allocate};

const MAGIC: &[u8; 8] = b"CLWLEASE";
const VERSION: u32 = 1;
/// Magic, version, the ledger's id, CRC32 of these.
const HEADER_BYTES: usize = 8 + 4 + 16 + 4;
/// A multiple of 64 KiB, as in the ledger.
const HEAD_BYTES: usize = 65_536;
const PROGRESS_OFFSET: usize = 4_096;
const SEGMENT_BYTES: usize = SEGMENT_SLOTS * size_of::<Line>();

const _: () = assert!(size_of::<Line>() == 64 && SEGMENT_BYTES.is_multiple_of(65_536));
const _: () = assert!(PROGRESS_OFFSET + size_of::<Progress>() <= HEAD_BYTES);

/// What moves on in the header.
#[repr(C)]
struct Progress {
    /// Of the last start, or upgrade.
    epoch: AtomicU64,
    /// Of the machine's run that the lines are of.
    boot: Bytes16,
    /// What was granted may be spent until then, by [`Now::uptime_ms`]; moves on with every answer of the store.
    valid_until_ms: AtomicU64,
}

/// One subject's [`Holding`].
#[repr(C, align(64))]
pub(in crate::ledger) struct Line([AtomicU64; HOLDING_WORDS]);

/// The mapped file.
pub(in crate::ledger) struct LeaseTable {
    file: File,
    head: MmapRaw,
    segments: Box<[OnceLock<MmapRaw>]>,
    /// Held while a segment is added.
    growing: Mutex<()>,
}

impl std::fmt::Debug for LeaseTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseTable").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl LeaseTable {
    /// Opens the table of the ledger with this id, and begins a new epoch. One that cannot be vouched for is begun anew.
    pub(in crate::ledger) fn open(path: &Path, ledger: &[u8; 16], boot: &[u8; 16], now: &Now) -> io::Result<Self> {
        let held = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Self::map(file, ledger)?.filter(|held| held.progress().boot.load() == *boot),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let table = match held {
            Some(held) => held,
            None => Self::create(path, ledger, boot)?,
        };
        table.next_epoch(now)?;
        Ok(table)
    }

    /// Complete, or not there at all.
    fn create(path: &Path, ledger: &[u8; 16], boot: &[u8; 16]) -> io::Result<Self> {
        let unfinished = path.with_extension("unfinished");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        allocate(&file, 0, HEAD_BYTES)?;
        std::os::unix::fs::FileExt::write_all_at(&file, &header(ledger), 0)?;
        let table = Self::map(file, ledger)?.ok_or_else(|| io::Error::other("the file of leases cannot be made"))?;
        table.progress().boot.store(*boot);
        table.head.flush()?;
        table.file.sync_all()?;
        fs::rename(&unfinished, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(table)
    }

    /// `None` for a file that is not this ledger's table, or not one that can be read here.
    fn map(file: File, ledger: &[u8; 16]) -> io::Result<Option<Self>> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut found = [0; HEADER_BYTES];
        if bytes < HEAD_BYTES || (&file).read_exact(&mut found).is_err() || found != header(ledger) {
            return Ok(None);
        }
        let head = MmapOptions::new().len(HEAD_BYTES).map_raw(&file)?;
        let segments = (0..SEGMENTS_MAX).map(|_| OnceLock::new()).collect();
        let table = Self { file, head, segments, growing: Mutex::new(()) };
        for index in 0..((bytes - HEAD_BYTES) / SEGMENT_BYTES).min(SEGMENTS_MAX) {
            let segment = table.map_segment(index)?;
            table.segments[index].set(segment).expect("nobody else has this mapping yet");
        }
        Ok(Some(table))
    }

    /// A start's number; higher than every one before, be the file lost: the clock is ahead of those that were.
    pub(in crate::ledger) fn epoch(&self) -> u64 {
        self.progress().epoch.load(Ordering::Acquire)
    }

    /// Begins another epoch. On disk when this returns.
    pub(in crate::ledger) fn next_epoch(&self, now: &Now) -> io::Result<()> {
        let epoch = self.epoch().saturating_add(1).max(now.ms);
        self.progress().epoch.store(epoch, Ordering::Release);
        self.head.flush()
    }

    /// Whether what was granted may be spent.
    #[inline]
    pub(in crate::ledger) fn is_valid(&self, now: &Now) -> bool {
        now.uptime_ms < self.progress().valid_until_ms.load(Ordering::Relaxed)
    }

    pub(in crate::ledger) fn set_valid_until(&self, uptime_ms: u64) {
        self.progress().valid_until_ms.fetch_max(uptime_ms, Ordering::Relaxed);
    }

    /// What the slot's subject was granted; nothing, for one that nothing was ever granted to.
    #[inline]
    pub(in crate::ledger) fn read(&self, _locked: &SlotGuard<'_>, id: SlotId) -> Holding {
        self.line(id).map(Line::load).unwrap_or_default()
    }

    /// Writes what the slot's subject may admit. The first in a segment makes the file grow, which fails on a full disk.
    pub(in crate::ledger) fn write(&self, _locked: &SlotGuard<'_>, id: SlotId, holding: &Holding) -> io::Result<()> {
        let line = match self.line(id) {
            Some(line) => line,
            None => {
                self.grown(id.0 as usize / SEGMENT_SLOTS)?;
                self.line(id).ok_or_else(|| io::Error::other("no room for this subject"))?
            }
        };
        if let Some(bare) = line.load().bared_for(holding) {
            line.store(&bare);
        }
        line.store(holding);
        Ok(())
    }

    /// Notes that more has been asked for, or that the answer has come.
    #[inline]
    pub(in crate::ledger) fn set_asked(&self, _locked: &SlotGuard<'_>, id: SlotId, holding: &Holding, asked: bool) {
        if let Some(line) = self.line(id) {
            line.store(&Holding { asked, ..*holding });
        }
    }

    #[inline]
    pub(in crate::ledger) fn prefetch(&self, id: SlotId) {
        #[cfg(target_arch = "x86_64")]
        if let Some(line) = self.line(id) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: prefetching is a hint: it reads nothing and cannot fault. Every x86-64 has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *line).cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = id;
    }

    #[inline]
    fn line(&self, id: SlotId) -> Option<&Line> {
        let segment = self.segments.get(id.0 as usize / SEGMENT_SLOTS)?.get()?;
        // SAFETY: a segment is SEGMENT_SLOTS lines, and the remainder is below that; mappings begin at a page, which is
        // a multiple of a line's alignment. A line is atomics: every bit pattern is valid, and shared references are
        // the only ones ever made. The mapping is never unmapped before `self` is dropped.
        Some(unsafe { &*segment.as_ptr().cast::<Line>().add(id.0 as usize % SEGMENT_SLOTS) })
    }

    fn progress(&self) -> &Progress {
        // SAFETY: the head is HEAD_BYTES long, PROGRESS_OFFSET + size_of::<Progress>() lies within (asserted above) and is
        // aligned, since mappings begin at a page. It is atomics, and the mapping lives as long as `self`.
        unsafe { &*self.head.as_ptr().add(PROGRESS_OFFSET).cast::<Progress>() }
    }

    fn grown(&self, index: usize) -> io::Result<()> {
        let _alone = self.growing.lock();
        // Those before it too, so that the file has no holes.
        for index in 0..=index {
            let cell = self.segments.get(index).ok_or_else(|| io::Error::other("there are no more slots"))?;
            if cell.get().is_none() {
                allocate(&self.file, HEAD_BYTES + index * SEGMENT_BYTES, SEGMENT_BYTES)?;
                let segment = self.map_segment(index)?;
                let _ = cell.set(segment);
            }
        }
        Ok(())
    }

    fn map_segment(&self, index: usize) -> io::Result<MmapRaw> {
        MmapOptions::new().offset((HEAD_BYTES + index * SEGMENT_BYTES) as u64).len(SEGMENT_BYTES).map_raw(&self.file)
    }
}

impl Line {
    #[inline]
    fn load(&self) -> Holding {
        Holding::from_words(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }

    /// Word by word, in their order: a kill leaves the first ones.
    #[inline]
    fn store(&self, holding: &Holding) {
        for (word, value) in self.0.iter().zip(holding.to_words()) {
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Release);
            }
        }
    }
}

fn header(ledger: &[u8; 16]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..28].copy_from_slice(ledger);
    let crc = crc32fast::hash(&header[..28]).to_le_bytes();
    header[28..].copy_from_slice(&crc);
    header
}
