//! Opening a ledger: making one where there is none, and bringing one that was left in the middle of
//! something back to a state in which every admission happened wholly or not at all.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering},
};

use clearway_config::RequestId;
use clearway_filters::quota::{Now, Windows};
use parking_lot::Mutex;

use super::{
    Interrupted, Ledger, LedgerError, SlotId, Subject,
    directory::{Directory, KIND_ACCOUNT, KIND_KEY, subject_of},
    handover::Keeping,
    in_flight::{FreeRecords, State},
    mapping::{self, Mapping, Record},
    marks::Marks,
    replay::replay,
};

const MAGIC: &[u8; 8] = b"CLWLEDGR";
/// Of the layout of everything in the file. A change of any size, offset or meaning is a new version.
const VERSION: u32 = 1;
/// Magic, version, ledger id, CRC32 of these.
const HEADER_BYTES: usize = 8 + 4 + 16 + 4;

const FILE: &str = "ledger.bin";
const SPOOL: &str = "usage-spool";
const JOURNALS: &str = "ledger-journal";

/// An open ledger, and what the process before left unfinished.
#[derive(Debug)]
pub struct Opened {
    pub ledger: Arc<Ledger>,
    /// Admitted requests whose line is missing in the access log. They are counted.
    pub interrupted: Vec<Interrupted>,
}

/// Whether requests in flight are still being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    /// Their process is dead.
    ByNobody,
    /// Their process tells of their ends.
    Served,
}

impl Ledger {
    /// Opens the ledger in `dir`, for this process alone; makes a new one where there is none.
    pub fn open(dir: &Path, now: &Now) -> Result<Opened, LedgerError> {
        let (ledger, owed) = Self::open_for(dir, now, Owed::ByNobody)?;
        ledger.spool_ended_days(now)?;
        let interrupted = owed.into_iter().map(|record| interrupted(&ledger, record)).collect::<Result<_, _>>()?;
        Ok(Opened { ledger, interrupted })
    }

    /// Whether there is one in `dir`.
    pub(crate) fn is_in(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// The ledger, and the records that a line in the access log is owed for.
    pub(super) fn open_for(dir: &Path, now: &Now, owed: Owed) -> Result<(Arc<Self>, Vec<u32>), LedgerError> {
        let (file, spool) = (dir.join(FILE), dir.join(SPOOL));
        fs::create_dir_all(&spool).map_err(LedgerError::io("create", &spool))?;
        let opened = match OpenOptions::new().read(true).write(true).open(&file) {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => create(dir, &file, now)?,
            Err(e) => return Err(LedgerError::io("open", file)(e)),
        };
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { file }),
            Err(TryLockError::Error(e)) => return Err(LedgerError::io("lock", file)(e)),
        }
        let id = read_header(&opened, &file)?;
        let damaged = |what| LedgerError::Damaged { file: file.clone(), what };
        let map = Mapping::open(opened).map_err(LedgerError::io("map", &file))?;
        let map = map.ok_or_else(|| damaged("it is shorter than it says"))?;
        let slots = map.slots();
        let journal = replay(&map, dir.join(JOURNALS), id)?;
        let directory = Directory::rebuild(&map).map_err(damaged)?;
        let owed = recover(&map, owed).map_err(damaged)?;
        if map.slots() < slots {
            // Before slots are given to others: no record on disk may be of those who had them.
            map.flush_head().map_err(LedgerError::io("write", &file))?;
        }
        let ledger = Arc::new(Ledger {
            free: FreeRecords::new(|record| !owed.contains(&record)),
            marks: Marks::new(map.slots()),
            journal: Mutex::new(journal),
            spooling: Mutex::new(()),
            keeping: Keeping::default(),
            news: OnceLock::new(),
            leasing: OnceLock::new(),
            map,
            directory,
            id,
            file,
            spool,
        });
        Ok((ledger, owed))
    }
}

/// Complete, or not there at all: the file gets its name when it is on disk.
fn create(dir: &Path, file: &Path, now: &Now) -> Result<File, LedgerError> {
    let unfinished: PathBuf = dir.join("ledger.unfinished");
    let id: [u8; 16] = rand::random();
    let mut header = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &id].concat();
    header.extend(crc32fast::hash(&header).to_le_bytes());
    let write = || -> io::Result<File> {
        let mut new = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        mapping::write_empty(&mut new, &header, now.day.saturating_sub(1))?;
        fs::rename(&unfinished, file)?;
        File::open(dir)?.sync_all()?;
        Ok(new)
    };
    write().map_err(LedgerError::io("create", file))
}

/// The ledger's id.
fn read_header(mut opened: &File, file: &Path) -> Result<[u8; 16], LedgerError> {
    let mut header = [0; HEADER_BYTES];
    match opened.read_exact(&mut header) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(LedgerError::Foreign { file: file.to_owned() }),
        other => other.map_err(LedgerError::io("read", file))?,
    }
    if !header.starts_with(MAGIC) {
        return Err(LedgerError::Foreign { file: file.to_owned() });
    }
    let version = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    if version > VERSION {
        return Err(LedgerError::TooNew { file: file.to_owned(), version, known: VERSION });
    }
    let (head, crc) = header.split_at(HEADER_BYTES - 4);
    if version != VERSION || crc != crc32fast::hash(head).to_le_bytes() {
        return Err(LedgerError::Damaged { file: file.to_owned(), what: "its header's checksum is wrong" });
    }
    Ok(header[12..28].try_into().expect("sixteen bytes"))
}

/// Brings every record and slot to rest; returns the records that a line in the access log is owed for.
fn recover(map: &Mapping, by: Owed) -> Result<Vec<u32>, &'static str> {
    let is_lost = |slot| map.slot(slot).is_none() && map.has_room_for(slot).unwrap_or(false);
    let (mut owed, mut served) = (Vec::new(), HashMap::<u32, u32>::new());
    for (number, record) in (0..).zip(map.records()) {
        let (account, key) = record.slots();
        match record.state().ok_or("an in-flight record is in no known state")? {
            State::Free => continue,
            _ if is_lost(account) || is_lost(key) => {
                // Its subject was lost in a power cut, with this first second of its life.
                record.set_state(State::Free);
                continue;
            }
            State::Committed => {
                redo(map, record)?;
                record.set_state(State::Admitted);
            }
            State::Admitted | State::Finished => {}
        }
        let kinds = [account, key].map(|slot| map.slot(slot).map(mapping::Slot::kind));
        if kinds[0] != Some(KIND_ACCOUNT) || (key != SlotId::NOBODY && kinds[1] != Some(KIND_KEY)) {
            return Err("an in-flight record is of nobody");
        }
        owed.push(number);
        if by == Owed::Served && record.state() == Some(State::Admitted) {
            for slot in [account, key].into_iter().filter(|&slot| slot != SlotId::NOBODY) {
                *served.entry(slot.0).or_default() += 1;
            }
        }
    }
    // Nobody is being served but these.
    for (id, slot) in (0..map.slots()).filter_map(|slot| Some((slot, map.slot(SlotId(slot))?))) {
        let slot = slot.lock();
        let windows = slot.windows();
        let concurrent = served.get(&id).copied().unwrap_or(0);
        if windows.concurrent != concurrent {
            slot.set_windows(&Windows { concurrent, ..windows });
        }
    }
    Ok(owed)
}

/// Writes the counters of a committed admission, as often as one likes.
fn redo(map: &Mapping, record: &Record) -> Result<(), &'static str> {
    let (account, key) = record.slots();
    let (account_windows, key_windows) = record.windows();
    let both = [(account, account_windows), (key, key_windows)];
    for (slot, windows) in both.into_iter().filter(|(slot, _)| *slot != SlotId::NOBODY) {
        let slot = map.slot(slot).ok_or("an in-flight record is of nobody")?.lock();
        let held = slot.windows();
        // After a kill the slot, written in part or not at all, is not ahead of the record: the record's request
        // held its lock. After a power cut it can be, since pages reach the disk in any order; then the later
        // count is the true one.
        if (windows.day, windows.day_count) >= (held.day, held.day_count) {
            slot.set_windows(&windows);
        }
    }
    Ok(())
}

pub(super) fn interrupted(ledger: &Arc<Ledger>, number: u32) -> Result<Interrupted, LedgerError> {
    let record = &ledger.map.records()[number as usize];
    let (account, key) = record.slots();
    let (account, key) = match (subject_of(&ledger.map, account), subject_of(&ledger.map, key)) {
        (Some(Subject::Account(account)), Some(Subject::Key(key))) => (account, Some(key)),
        (Some(Subject::Account(account)), None) => (account, None),
        _ => return Err(LedgerError::Damaged { file: ledger.file.clone(), what: "an in-flight record is of nobody" }),
    };
    let finished = (record.state() == Some(State::Finished)).then(|| {
        let status = record.status.load(Ordering::Relaxed);
        (u16::try_from(status).unwrap_or_default(), record.duration_ms.load(Ordering::Relaxed))
    });
    Ok(Interrupted {
        request: RequestId::from_bytes(record.request.load()),
        account,
        key,
        admitted_ms: record.admitted_ms.load(Ordering::Relaxed),
        finished,
        unlogged: ledger.owed(number),
    })
}
