//! The ledger's file in memory, and beside it that of a fleet's leases. All unsafe code of the ledger is here.
//!
//! What the file holds is atomics and locks, nothing else: whatever bits stand in it, reading them is
//! sound, and what they mean is for the modules above to judge. The head of the file (header and
//! in-flight records) is mapped once; subjects live in segments that are mapped one by one as the
//! file grows, so that nothing ever moves. Space is allocated before it is mapped: a full disk is an
//! error when the file grows, never a signal when a page is touched.

#![expect(unsafe_code, reason = "a mapped file is raw memory; this module turns it into atomics")]

mod leases;
mod parts;

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    mem::{offset_of, size_of},
    os::unix::fs::FileExt,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use clearway_filters::quota::Windows;
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::{Mutex, RawMutex, lock_api::RawMutex as _};
use rustix::fs::FallocateFlags;

pub(super) use leases::LeaseTable;
use parts::store_windows;
pub(super) use parts::{Bytes16, Name, Record, Slot, SlotGuard};

/// Requests that can be in flight, or finished and not yet in the access log, at the same time.
pub const IN_FLIGHT_MAX: usize = 65_536;
/// Subjects in a segment.
pub(super) const SEGMENT_SLOTS: usize = 65_536;
/// Segments at most: 268 million subjects, 24 GiB.
const SEGMENTS_MAX: usize = 4_096;

// Offsets in the file are multiples of 64 KiB, the largest page size that Linux uses for mapping.
const HEADER_BYTES: usize = 65_536;
pub(super) const HEAD_BYTES: usize = HEADER_BYTES + IN_FLIGHT_MAX * size_of::<Record>();
const SLOTS_BYTES: usize = SEGMENT_SLOTS * size_of::<Slot>();
const SEGMENT_BYTES: usize = SLOTS_BYTES + SEGMENT_SLOTS * size_of::<Name>();
/// Where [`Progress`] stands in the header, behind what never changes.
const PROGRESS_OFFSET: usize = 4_096;

const _: () = assert!(size_of::<Slot>() == 64 && size_of::<Name>() == 32 && size_of::<Record>() == 192);
const _: () = assert!(HEAD_BYTES.is_multiple_of(65_536) && SEGMENT_BYTES.is_multiple_of(65_536));
const _: () = assert!(PROGRESS_OFFSET + size_of::<Progress>() <= HEADER_BYTES);
const _: () = assert!(SEGMENTS_MAX * SEGMENT_SLOTS < u32::MAX as usize);

/// The part of the header that moves on.
#[repr(C)]
pub(super) struct Progress {
    /// Slots in use. Grows only after the new slot is whole.
    slots: AtomicU32,
    /// No request is counted on this day or an earlier one any more.
    pub(super) closed_day: AtomicU32,
    /// The totals of this day and all earlier ones are in the spool.
    pub(super) spooled_day: AtomicU32,
}

/// Which slot. Any number may be one: it is looked at before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl SlotId {
    /// In a record's place for the key, of a request that has none. No mapping is that long.
    pub(super) const NOBODY: SlotId = SlotId(u32::MAX);
}

/// The mapped file.
pub(super) struct Mapping {
    file: File,
    head: MmapRaw,
    segments: Box<[OnceLock<MmapRaw>]>,
    /// Held while a slot is appended.
    appending: Mutex<()>,
    /// Held while a segment is added.
    growing: Mutex<()>,
}

/// Makes `file`, which is empty, a ledger without subjects: `header`, then zeros, all of it allocated.
pub(super) fn write_empty(file: &mut File, header: &[u8], day: u32) -> io::Result<()> {
    assert!(header.len() <= PROGRESS_OFFSET, "the header stays clear of what moves");
    allocate(file, 0, HEAD_BYTES)?;
    file.write_all_at(header, 0)?;
    for offset in [offset_of!(Progress, closed_day), offset_of!(Progress, spooled_day)] {
        file.write_all_at(&day.to_ne_bytes(), (PROGRESS_OFFSET + offset) as u64)?;
    }
    file.sync_all()
}

impl Mapping {
    /// Maps a file whose header has been checked. `None` when the file is shorter than it says.
    pub(super) fn open(file: File) -> io::Result<Option<Self>> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if bytes < HEAD_BYTES {
            return Ok(None);
        }
        let head = MmapOptions::new().len(HEAD_BYTES).map_raw(&file)?;
        let segments = (0..SEGMENTS_MAX).map(|_| OnceLock::new()).collect();
        let mapping = Self { file, head, segments, appending: Mutex::new(()), growing: Mutex::new(()) };
        let slots = mapping.slots() as usize;
        if slots.div_ceil(SEGMENT_SLOTS) > ((bytes - HEAD_BYTES) / SEGMENT_BYTES).min(SEGMENTS_MAX) {
            return Ok(None);
        }
        for index in 0..slots.div_ceil(SEGMENT_SLOTS) {
            let segment = mapping.map_segment(index)?;
            for slot in 0..SEGMENT_SLOTS.min(slots - index * SEGMENT_SLOTS) {
                reset_lock(&segment, slot);
            }
            mapping.segments[index].set(segment).expect("nobody else has this mapping yet");
        }
        Ok(Some(mapping))
    }

    /// Lets another process lock the file.
    pub(super) fn unlock_file(&self) -> io::Result<()> {
        self.file.unlock()
    }

    /// [`io::ErrorKind::WouldBlock`] where another process has it.
    pub(super) fn lock_file(&self) -> io::Result<()> {
        Ok(self.file.try_lock()?)
    }

    /// Unlocks every slot, since another process may have died with some of them locked. Whoever calls this has
    /// this file alone, and no thread of this process has a slot or asks for one.
    pub(super) fn reset_locks(&self) {
        let slots = self.slots() as usize;
        for (index, segment) in self.segments.iter().enumerate().map_while(|(index, cell)| Some((index, cell.get()?))) {
            for slot in 0..SEGMENT_SLOTS.min(slots.saturating_sub(index * SEGMENT_SLOTS)) {
                reset_lock(segment, slot);
            }
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        // SAFETY: the head is HEAD_BYTES long, PROGRESS_OFFSET + size_of::<Progress>() lies within (asserted
        // above) and is aligned, since mappings begin at a page. The mapping lives as long as `self`, and
        // nothing but these atomics refers to these bytes.
        unsafe { &*self.head.as_ptr().add(PROGRESS_OFFSET).cast::<Progress>() }
    }

    pub(super) fn records(&self) -> &[Record] {
        // SAFETY: HEAD_BYTES covers IN_FLIGHT_MAX records behind HEADER_BYTES, which is a multiple of their
        // alignment. A record is atomics and padding: every bit pattern is valid, and shared references are
        // the only ones ever made. The mapping lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.head.as_ptr().add(HEADER_BYTES).cast::<Record>(), IN_FLIGHT_MAX) }
    }

    /// How many slots are in use.
    #[inline]
    pub(super) fn slots(&self) -> u32 {
        self.progress().slots.load(Ordering::Acquire)
    }

    /// `None` for a slot that is not in use.
    #[inline]
    pub(super) fn slot(&self, id: SlotId) -> Option<&Slot> {
        let (segment, at) = self.locate(id)?;
        // SAFETY: a segment begins with SEGMENT_SLOTS slots and `at` is below that; mappings begin at a page,
        // which is a multiple of a slot's alignment. The slot is in use, so its lock was initialised before
        // `slots` was raised past it, and since then it is only used through shared references. The mapping is
        // never unmapped before `self` is dropped.
        Some(unsafe { &*segment.as_ptr().cast::<Slot>().add(at) })
    }

    /// Starts to fetch a slot into the cache, to be written, and does not wait for it.
    #[inline]
    pub(super) fn prefetch(&self, id: SlotId) {
        #[cfg(target_arch = "x86_64")]
        if let Some(slot) = self.slot(id) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: prefetching is a hint: it reads nothing and cannot fault. Every x86-64 has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *slot).cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = id;
    }

    /// `None` for a slot that is not in use.
    pub(super) fn name(&self, id: SlotId) -> Option<&Name> {
        let (segment, at) = self.locate(id)?;
        Some(name_in(segment, at))
    }

    /// Takes the next slot into use, with all counters at zero.
    pub(super) fn append(&self, kind: u8, id: [u8; 16]) -> io::Result<SlotId> {
        let _alone = self.appending.lock();
        let slot = SlotId(self.slots());
        self.take_into_use(slot, kind, id)?;
        Ok(slot)
    }

    /// Makes a slot this subject's, with all counters at zero. It is the next one, which nobody else is taking,
    /// or, before anybody is served, one in use.
    pub(super) fn take_into_use(&self, id: SlotId, kind: u8, subject: [u8; 16]) -> io::Result<()> {
        let (index, at) = (id.0 as usize / SEGMENT_SLOTS, id.0 as usize % SEGMENT_SLOTS);
        let segment = self.grown(index)?;
        let is_next = id.0 == self.slots();
        if is_next {
            reset_lock(segment, at);
        }
        // SAFETY: as in `slot`: its lock was initialised when the file was opened or just above.
        let new = unsafe { &*segment.as_ptr().cast::<Slot>().add(at) };
        new.kind.store(kind, Ordering::Relaxed);
        new.family.store(0, Ordering::Relaxed);
        store_windows(&new.windows, &Windows::default());
        name_in(segment, at).id.store(subject);
        if is_next {
            self.progress().slots.store(id.0 + 1, Ordering::Release);
        }
        Ok(())
    }

    /// Makes room for the subjects to come, so that their first requests need not wait for the disk.
    pub(super) fn grow_ahead(&self) -> io::Result<()> {
        let soon = self.slots() as usize + SEGMENT_SLOTS / 2;
        self.grown((soon / SEGMENT_SLOTS).min(SEGMENTS_MAX - 1)).map(|_| ())
    }

    /// Writes the head to disk: header and in-flight records.
    pub(super) fn flush_head(&self) -> io::Result<()> {
        self.head.flush()
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.segments.iter().map_while(OnceLock::get).count()
    }

    /// Writes a segment to disk, if there is one.
    pub(super) fn flush_segment(&self, index: usize) -> io::Result<()> {
        self.segments.get(index).and_then(OnceLock::get).map_or(Ok(()), MmapRaw::flush)
    }

    /// Whether the file has a slot of this number, in use or not.
    pub(super) fn has_room_for(&self, id: SlotId) -> io::Result<bool> {
        let end = HEAD_BYTES + (id.0 as usize / SEGMENT_SLOTS + 1) * SEGMENT_BYTES;
        Ok(self.file.metadata()?.len() >= end as u64)
    }

    /// Forgets the slots from `slots` on, before anybody uses them.
    pub(super) fn cut(&self, slots: u32) {
        self.progress().slots.fetch_min(slots, Ordering::AcqRel);
    }

    /// The segment; allocated and mapped where it is the next one.
    fn grown(&self, index: usize) -> io::Result<&MmapRaw> {
        let Some(cell) = self.segments.get(index) else {
            return Err(io::Error::other("the ledger holds as many subjects as it can"));
        };
        if let Some(segment) = cell.get() {
            return Ok(segment);
        }
        let _alone = self.growing.lock();
        if let Some(segment) = cell.get() {
            return Ok(segment);
        }
        allocate(&self.file, HEAD_BYTES + index * SEGMENT_BYTES, SEGMENT_BYTES)?;
        // The new length must be on disk before a count can be: a shorter file would not open.
        self.file.sync_all()?;
        let segment = self.map_segment(index)?;
        Ok(cell.get_or_init(|| segment))
    }

    #[inline]
    fn locate(&self, id: SlotId) -> Option<(&MmapRaw, usize)> {
        if id.0 >= self.slots() {
            return None;
        }
        let segment = self.segments.get(id.0 as usize / SEGMENT_SLOTS)?.get()?;
        Some((segment, id.0 as usize % SEGMENT_SLOTS))
    }

    fn map_segment(&self, index: usize) -> io::Result<MmapRaw> {
        MmapOptions::new().offset((HEAD_BYTES + index * SEGMENT_BYTES) as u64).len(SEGMENT_BYTES).map_raw(&self.file)
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("slots", &self.slots()).finish_non_exhaustive()
    }
}

fn name_in(segment: &MmapRaw, at: usize) -> &Name {
    // SAFETY: names follow the slots of a segment, SEGMENT_SLOTS of them, and `at` is below that; SLOTS_BYTES
    // is a multiple of their alignment. They are atomics, and only shared references to them are made.
    unsafe { &*segment.as_ptr().add(SLOTS_BYTES).cast::<Name>().add(at) }
}

/// Unlocks a lock that nobody of this process can hold: what stands there is another process's memory of it.
fn reset_lock(segment: &MmapRaw, at: usize) {
    debug_assert!(at < SEGMENT_SLOTS);
    // SAFETY: `at` is below SEGMENT_SLOTS, so the lock lies within the segment and is aligned. The callers
    // hold the only access to this slot: at opening nobody has the mapping yet, at appending the slot is not in use,
    // and a ledger that is taken back has been nobody's here since it was given.
    unsafe { (&raw mut (*segment.as_mut_ptr().cast::<Slot>().add(at)).lock).write(RawMutex::INIT) }
}

/// Allocates real blocks; where the file system cannot, by writing zeros. The bytes must not be in use.
fn allocate(mut file: &File, offset: usize, length: usize) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), offset as u64, length as u64) {
        Err(rustix::io::Errno::OPNOTSUPP) => {
            file.seek(SeekFrom::Start(offset as u64))?;
            io::copy(&mut io::Read::take(io::repeat(0), length as u64), &mut file)?;
            file.flush()
        }
        other => Ok(other?),
    }
}
