//! Days that are over: their totals, written to files of their own until control has them.
//!
//! A slot knows its day and the day before. So each day has a whole day's time to be written down
//! before a count of it could be dropped, and while it has not been, requests that would drop one are
//! refused: a count is never lost. A day is closed before it is written, and what comes later, by a
//! clock that stepped back or a thread that was slow, is counted in the day after.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use clearway_filters::quota::Now;

use super::{Ledger, LedgerError, SlotId, Subject, Total, usage::read_total};

const MAGIC: &[u8; 8] = b"CLWUSAGE";
const VERSION: u32 = 1;
/// Magic, version, day, ledger id.
const HEAD_BYTES: usize = 8 + 4 + 4 + 16;
/// Kind, id, admitted, last use, address as IPv6 (unspecified: unknown).
const ENTRY_BYTES: usize = 1 + 16 + 8 + 8 + 16;
/// CRC32 of all before it.
const TAIL_BYTES: usize = 4;

impl Ledger {
    /// Closes all days before `now` and writes their totals to the spool. Cheap when there are none.
    pub fn spool_ended_days(&self, now: &Now) -> Result<(), LedgerError> {
        self.keeping.while_kept(|| self.spool_days_before(now)).unwrap_or(Ok(()))
    }

    fn spool_days_before(&self, now: &Now) -> Result<(), LedgerError> {
        let _alone = self.spooling.lock();
        let progress = self.map.progress();
        let spooled = progress.spooled_day.load(Ordering::Acquire);
        let Some(ended) = now.day.checked_sub(1).filter(|&ended| ended > spooled) else { return Ok(()) };

        // Whoever locks a slot after us sees the day closed, and whoever locked it before has counted already.
        progress.closed_day.fetch_max(ended, Ordering::AcqRel);
        for day in self.days_with_counts(spooled, ended) {
            self.write_day(day)?;
        }
        self.save()?;
        progress.spooled_day.store(ended, Ordering::Release);
        Ok(())
    }

    /// The days in the spool, oldest first.
    pub fn spooled_days(&self) -> Result<Vec<u32>, LedgerError> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.spool).map_err(LedgerError::io("list", &self.spool))? {
            let name = entry.map_err(LedgerError::io("list", &self.spool))?.file_name();
            days.extend(name.to_str().and_then(|name| name.strip_suffix(".totals")).and_then(|day| day.parse::<u32>().ok()));
        }
        days.sort_unstable();
        Ok(days)
    }

    /// A day's totals, read as they are asked for.
    pub fn open_spooled(&self, day: u32) -> Result<SpooledDay, LedgerError> {
        SpooledDay::open(self.spool_file(day), day, &self.id)
    }

    /// Forgets a day: control has it.
    pub fn remove_spooled(&self, day: u32) -> Result<(), LedgerError> {
        let file = self.spool_file(day);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LedgerError::io("remove", file)(e)),
            _ => Ok(()),
        }
    }

    fn spool_file(&self, day: u32) -> PathBuf {
        self.spool.join(format!("{day}.totals"))
    }

    /// Days after `spooled`, through `ended`, of which some slot has a count.
    fn days_with_counts(&self, spooled: u32, ended: u32) -> BTreeSet<u32> {
        let mut days = BTreeSet::new();
        for slot in (0..self.map.slots()).map(SlotId) {
            let Some(windows) = self.map.slot(slot).map(|slot| slot.lock().windows()) else { continue };
            let known = [windows.day, windows.day.saturating_sub(1)];
            days.extend(known.into_iter().filter(|&day| (spooled + 1..=ended).contains(&day) && windows.admitted_on(day) > 0));
        }
        days
    }

    /// Complete, or not there at all: the file gets its name when it is on disk.
    fn write_day(&self, day: u32) -> Result<(), LedgerError> {
        let (file, unfinished) = (self.spool_file(day), self.spool.join(format!("{day}.unfinished")));
        let write = || -> io::Result<()> {
            let mut out = Checked { inner: BufWriter::new(File::create(&unfinished)?), crc: crc32fast::Hasher::new() };
            out.write_all(MAGIC)?;
            out.write_all(&VERSION.to_le_bytes())?;
            out.write_all(&day.to_le_bytes())?;
            out.write_all(&self.id)?;
            for total in (0..self.map.slots()).filter_map(|slot| read_total(&self.map, SlotId(slot), Some(day))) {
                out.write_all(&encode(&total))?;
            }
            let crc = out.crc.finalize();
            out.inner.write_all(&crc.to_le_bytes())?;
            out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&unfinished, &file)?;
            File::open(&self.spool)?.sync_all()
        };
        write().map_err(LedgerError::io("write", file.clone()))
    }
}

struct Checked<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The totals of a day that is over.
#[derive(Debug)]
pub struct SpooledDay {
    file: PathBuf,
    day: u32,
    entries: BufReader<io::Take<File>>,
}

impl SpooledDay {
    fn open(file: PathBuf, day: u32, ledger: &[u8; 16]) -> Result<Self, LedgerError> {
        let damaged = |what| LedgerError::Damaged { file: file.clone(), what };
        let read = || -> io::Result<Result<File, &'static str>> {
            let length = fs::metadata(&file)?.len();
            let Some(entries) = length.checked_sub((HEAD_BYTES + TAIL_BYTES) as u64) else { return Ok(Err("it is cut short")) };
            if !entries.is_multiple_of(ENTRY_BYTES as u64) {
                return Ok(Err("it is cut short"));
            }
            if !is_whole(&file, length)? {
                return Ok(Err("its checksum is wrong"));
            }
            let mut opened = File::open(&file)?;
            let mut head = [0; HEAD_BYTES];
            opened.read_exact(&mut head)?;
            let wanted = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &day.to_le_bytes(), ledger].concat();
            Ok(if head == *wanted { Ok(opened) } else { Err("it is of another day, ledger or release") })
        };
        let opened = read().map_err(LedgerError::io("read", file.clone()))?.map_err(damaged)?;
        let entry_bytes =
            opened.metadata().map_err(LedgerError::io("read", file.clone()))?.len() - (HEAD_BYTES + TAIL_BYTES) as u64;
        Ok(Self { entries: BufReader::new(opened.take(entry_bytes)), day, file })
    }
}

impl Iterator for SpooledDay {
    type Item = Result<Total, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry = [0; ENTRY_BYTES];
        match self.entries.read_exact(&mut entry) {
            Ok(()) => {
                let damaged = || LedgerError::Damaged { file: self.file.clone(), what: "an entry is of nobody" };
                Some(decode(&entry, self.day).ok_or_else(damaged))
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => Some(Err(LedgerError::io("read", self.file.clone())(e))),
        }
    }
}

fn is_whole(file: &Path, length: u64) -> io::Result<bool> {
    let mut opened = File::open(file)?;
    let mut checked = Checked { inner: io::sink(), crc: crc32fast::Hasher::new() };
    io::copy(&mut (&mut opened).take(length - TAIL_BYTES as u64), &mut checked)?;
    let mut tail = [0; TAIL_BYTES];
    opened.read_exact(&mut tail)?;
    Ok(checked.crc.finalize() == u32::from_le_bytes(tail))
}

fn encode(total: &Total) -> [u8; ENTRY_BYTES] {
    let address = match total.last_address {
        None => Ipv6Addr::UNSPECIFIED,
        Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped(),
        Some(IpAddr::V6(v6)) => v6,
    };
    let mut entry = [0; ENTRY_BYTES];
    entry[0] = total.subject.kind();
    entry[1..17].copy_from_slice(total.subject.id());
    entry[17..25].copy_from_slice(&total.admitted.to_le_bytes());
    entry[25..33].copy_from_slice(&total.last_used_ms.to_le_bytes());
    entry[33..49].copy_from_slice(&address.octets());
    entry
}

fn decode(entry: &[u8; ENTRY_BYTES], day: u32) -> Option<Total> {
    let (kind, rest) = entry.split_first()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (admitted, rest) = rest.split_first_chunk::<8>()?;
    let (last_used_ms, rest) = rest.split_first_chunk::<8>()?;
    let address = Ipv6Addr::from(*rest.first_chunk::<16>()?);
    Some(Total {
        subject: Subject::from_parts(*kind, *id)?,
        day,
        admitted: u64::from_le_bytes(*admitted),
        last_used_ms: u64::from_le_bytes(*last_used_ms),
        last_address: (!address.is_unspecified()).then(|| IpAddr::V6(address).to_canonical()),
    })
}
