//! Reading the journals at a start: what the mapped file lost in a power cut is written into it again.
//!
//! Counts of a subject only grow, day by day and within a day. So of journal and slot the later one is the
//! truth, in whatever order pages reached the disk, and reading a journal that is old changes nothing.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use clearway_filters::quota::{WINDOWS_WORDS, Windows};

use super::{
    LedgerError, SlotId,
    directory::subject_of,
    journal::{
        COUNT_BYTES, FRAME_BYTES, FRAME_ENTRIES_MAX, HEADER_BYTES, Journal, MAGIC, NAME_BYTES, VERSION, file_of, generations,
    },
    mapping::Mapping,
};

/// Brings the mapped file up to what the journals in `dir` say, and returns the journal to continue with.
pub(super) fn replay(map: &Mapping, dir: PathBuf, ledger: [u8; 16]) -> Result<Journal, LedgerError> {
    let found = generations(&dir).map_err(LedgerError::io("list", &dir))?;
    let mut named = None;
    for &generation in &found {
        named = named.max(read(map, &file_of(&dir, generation), &ledger)?);
    }
    if let Some(named) = named {
        // Subjects of the last second, of whom only some pages reached the disk. The first that is missing ends them.
        let missing = (named..map.slots()).map(SlotId).find(|&slot| is_nobody(map, slot));
        map.cut(missing.map_or(u32::MAX, |slot| slot.0));
    }
    Ok(Journal::after(found.last().copied().unwrap_or(0), named.unwrap_or(0), dir, ledger))
}

fn is_nobody(map: &Mapping, slot: SlotId) -> bool {
    subject_of(map, slot).is_none_or(|subject| subject.id() == &[0; 16])
}

/// Reads a journal as far as it is whole, and says how many slots have names by then. `None` for one that was
/// not begun in full, or is of another ledger.
fn read(map: &Mapping, file: &Path, ledger: &[u8; 16]) -> Result<Option<u32>, LedgerError> {
    let failed = || LedgerError::io("read", file);
    let mut from = BufReader::with_capacity(1 << 20, File::open(file).map_err(failed())?);
    let Some(header) = read_exactly::<HEADER_BYTES>(&mut from).map_err(failed())? else { return Ok(None) };
    let (head, crc) = header.split_at(HEADER_BYTES - 4);
    if !head.starts_with(MAGIC) || crc != crc32fast::hash(head).to_le_bytes() || &head[16..32] != ledger {
        return Ok(None);
    }
    let version = u32_at(head, 8);
    if version != VERSION {
        return Err(LedgerError::TooNew { file: file.to_owned(), version, known: VERSION });
    }
    let damaged = |what| LedgerError::Damaged { file: file.to_owned(), what };
    let (mut named, mut body) = (u32_at(head, 12), Vec::new());
    while let Some(names) = read_frame(&mut from, &mut body).map_err(failed())? {
        let (names, counts) = body.split_at(names);
        for name in names.chunks_exact(NAME_BYTES) {
            named = named.max(write_name(map, name).map_err(failed())?.ok_or_else(|| damaged("it leaves out a subject"))?);
        }
        for count in counts.chunks_exact(COUNT_BYTES) {
            write_count(map, count).ok_or_else(|| damaged("it counts a subject that it does not name"))?;
        }
    }
    Ok(Some(named))
}

/// Reads a frame's names and counts, and says how many bytes the names take. `None` at the end, and at what a
/// power cut has left of the last write.
fn read_frame(from: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let Some(head) = read_exactly::<FRAME_BYTES>(from)? else { return Ok(None) };
    let (names, counts) = (u32_at(&head, 0) as usize, u32_at(&head, 4) as usize);
    if names > 2 * FRAME_ENTRIES_MAX || counts > FRAME_ENTRIES_MAX {
        return Ok(None);
    }
    let length = names * NAME_BYTES + counts * COUNT_BYTES;
    body.clear();
    if from.take(length as u64).read_to_end(body)? < length {
        return Ok(None);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..8]);
    crc.update(body);
    Ok((crc.finalize() == u32_at(&head, 8)).then_some(names * NAME_BYTES))
}

/// Makes the slot this subject's, and says how many slots have names by that. `None` where the one before has none.
fn write_name(map: &Mapping, entry: &[u8]) -> io::Result<Option<u32>> {
    let (slot, kind) = (u32_at(entry, 0), u8::try_from(u32_at(entry, 4)).unwrap_or(0));
    if slot > map.slots() {
        return Ok(None);
    }
    let (id, address_v6) = (array_at(entry, 8), array_at(entry, 24));
    let same = map.name(SlotId(slot)).is_some_and(|name| name.id.load() == id)
        && map.slot(SlotId(slot)).is_some_and(|s| s.kind() == kind);
    if !same {
        // Not on disk in full, or somebody's who was lost with an earlier power cut: then the counts are not this one's.
        map.take_into_use(SlotId(slot), kind, id)?;
    }
    if let Some(name) = map.name(SlotId(slot)) {
        name.address_v6.store(address_v6);
    }
    Ok(slot.checked_add(1))
}

fn write_count(map: &Mapping, entry: &[u8]) -> Option<()> {
    let slot = map.slot(SlotId(u32_at(entry, 0)))?.lock();
    let mut saved = Windows::from_words(std::array::from_fn(|at| u64::from_le_bytes(array_at(entry, 8 + at * 8))));
    let family = std::mem::take(&mut saved.concurrent);
    let held = slot.windows();
    let is_later = (saved.day, saved.day_count) >= (held.day, held.day_count);
    // What is the same already is not written: its page need not be written to disk for that.
    if is_later && saved != (Windows { concurrent: 0, ..held }) {
        slot.set_windows(&saved);
        slot.set_address(u8::try_from(family).unwrap_or(0), u32_at(entry, 4));
    }
    Some(())
}

const _: () = assert!(COUNT_BYTES == 8 + WINDOWS_WORDS * 8);

/// `None` where fewer bytes are left.
fn read_exactly<const N: usize>(from: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("callers ask for what lies within an entry")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}
