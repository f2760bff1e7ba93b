//! A power cut at any time: a file whose pages are of different ages, and journals that end anywhere.

use std::{collections::BTreeMap, fs, net::Ipv6Addr, path::PathBuf};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::*;
use crate::ledger::journal::{file_of, generations};

const PAGE_BYTES: usize = 4_096;

/// What is on disk for certain: the head as of the last flush, the rest as of when all of it was written last.
struct Disk {
    dir: TempDir,
    bytes: Vec<u8>,
}

impl Disk {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), bytes: Vec::new() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ledger.bin")
    }

    fn journals(&self) -> Vec<u64> {
        generations(&self.dir.path().join("ledger-journal")).unwrap()
    }

    fn flush(&mut self, ledger: &Ledger) {
        ledger.flush().unwrap();
        let file = fs::read(self.file()).unwrap();
        let certain = if self.journals().len() == 1 { file.len() } else { mapping::HEAD_BYTES };
        if self.bytes.len() < certain {
            self.bytes = file;
            return;
        }
        self.bytes.resize(file.len(), 0);
        self.bytes[..certain].copy_from_slice(&file[..certain]);
    }

    /// A disk after the power was cut, where every page may have been written since, or not.
    fn cut(&self, mut is_written: impl FnMut() -> bool) -> TempDir {
        let now = fs::read(self.file()).unwrap();
        let mut left = self.bytes.clone();
        // The file's length is on disk before the new part of it is used.
        left.resize(now.len(), 0);
        for (old, new) in left.chunks_mut(PAGE_BYTES).zip(now.chunks(PAGE_BYTES)).filter(|(old, new)| old != new) {
            if is_written() {
                old.copy_from_slice(new);
            }
        }
        let cut = TempDir::new().unwrap();
        fs::write(cut.path().join("ledger.bin"), left).unwrap();
        copy_journals(self.dir.path(), cut.path());
        cut
    }
}

fn counts(ledger: &Ledger) -> BTreeMap<(u8, [u8; 16]), u64> {
    let slots = (0..ledger.map.slots()).map(SlotId);
    let subject = |slot| directory::subject_of(&ledger.map, slot).unwrap();
    let count = |slot| ledger.map.slot(slot).unwrap().lock().windows().day_count;
    slots.map(|slot| ((subject(slot).kind(), *subject(slot).id()), count(slot))).collect()
}

#[test]
fn a_power_cut_takes_nothing_that_was_flushed_whichever_pages_had_been_written() {
    let mut random = StdRng::seed_from_u64(5);
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    // A journal is long after a few rounds, so that cuts meet every stage of beginning the next one.
    ledger.journal.lock().long_bytes = 4_000;
    let (mut begun, mut serving) = (0, Vec::new());
    for round in 0..40 {
        disk.flush(&ledger);
        begun = begun.max(disk.journals().last().copied().unwrap());
        let flushed = counts(&ledger);
        for _ in 0..20 {
            // Ever more subjects, so that some are always new.
            let k = random.random_range(0..(round + 1) * 3);
            serving.push(admit(&ledger, &noon(), k % 7, k).unwrap());
        }
        serving.truncate(5);
        let now = counts(&ledger);

        for likely in [0.0, 0.5, 1.0] {
            let cut = disk.cut(|| random.random_bool(likely));
            let left = counts(&open(cut.path()).ledger);
            for (subject, &count) in &flushed {
                assert!(left.get(subject).is_some_and(|left| (count..=now[subject]).contains(left)), "round {round}, {likely}");
            }
            for (subject, &count) in &left {
                assert!(now.get(subject).is_some_and(|&now| count <= now), "round {round}, {likely}: a count from nowhere");
            }
        }
    }
    assert!(begun > 4, "only {begun} journals");
}

#[test]
fn a_power_cut_while_the_file_is_written_in_parts_takes_nothing_that_was_flushed() {
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    for k in 0..mapping::SEGMENT_SLOTS as u128 {
        ledger.slot(&key(k)).unwrap();
    }
    let last = mapping::SEGMENT_SLOTS as u128 - 1;
    drop(admit(&ledger, &noon(), 1, last).unwrap());
    disk.flush(&ledger);
    assert_eq!(disk.journals(), [1]);
    // The names alone are half as long as the counters, which is long.
    ledger.journal.lock().long_bytes = 0;
    for stage in 1..=2 {
        drop(admit(&ledger, &noon(), 1, last).unwrap());
        disk.flush(&ledger);
        let expected: &[u64] = if stage == 1 { &[1, 2] } else { &[2] };
        assert_eq!(disk.journals(), expected, "stage {stage}");
        let left = open(disk.cut(|| false).path()).ledger;
        assert_eq!(day_count(&left, &key(last)), day_count(&ledger, &key(last)));
        assert_eq!(counts(&left), counts(&ledger));
    }
}

/// Two flushes, and the disk after a cut that took all pages since the first.
fn flushed_twice() -> (Disk, TempDir) {
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    disk.flush(&ledger);
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    drop(admit(&ledger, &noon(), 1, 2).unwrap());
    ledger.flush().unwrap();
    let cut = disk.cut(|| false);
    (disk, cut)
}

#[test]
fn a_journal_that_was_torn_anywhere_counts_as_far_as_it_is_whole() {
    let (_disk, cut) = flushed_twice();
    let journal = file_of(&cut.path().join("ledger-journal"), 1);
    let whole = fs::read(&journal).unwrap();
    let old = fs::read(cut.path().join("ledger.bin")).unwrap();
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1, whole.len()]) {
        let mut torn = whole[..length].to_vec();
        if length % 2 == 0 {
            torn.resize(whole.len(), 0xa5);
        }
        fs::write(cut.path().join("ledger.bin"), &old).unwrap();
        fs::write(&journal, &torn).unwrap();
        let left = open(cut.path()).ledger;
        let expected = if length == whole.len() { [3, 2] } else { [1, 1] };
        assert_eq!([day_count(&left, &account(1)), day_count(&left, &key(1))], expected, "{length} of {}", whole.len());
    }
}

#[test]
fn a_journal_that_is_older_than_the_file_takes_nothing_back() {
    let (disk, cut) = flushed_twice();
    let ledger = open(cut.path()).ledger;
    for _ in 0..5 {
        drop(admit(&ledger, &noon(), 1, 1).unwrap());
    }
    drop(ledger);
    assert_eq!(generations(&cut.path().join("ledger-journal")).unwrap(), [1]);
    assert_eq!(day_count(&open(cut.path()).ledger, &account(1)), 8);
    drop(disk);
}

#[test]
fn another_ledgers_journal_is_not_read_and_goes_away() {
    let (_disk, cut) = flushed_twice();
    fs::remove_file(cut.path().join("ledger.bin")).unwrap();
    let ledger = open(cut.path()).ledger;
    assert_eq!(ledger.subjects(), 0);
    ledger.flush().unwrap();
    assert_eq!(generations(&cut.path().join("ledger-journal")).unwrap(), [2]);
}

#[test]
fn a_newer_releases_journal_is_refused() {
    let (_disk, cut) = flushed_twice();
    let journal = file_of(&cut.path().join("ledger-journal"), 1);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    fs::write(&journal, bytes).unwrap();
    let why = Ledger::open(cut.path(), &noon()).unwrap_err().to_string();
    assert!(why.contains("was written by a newer release (format 2, this one knows 1)"), "{why}");
}

#[test]
fn the_last_address_comes_back_too() {
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    disk.flush(&ledger);
    let slots = (ledger.slot(&account(1)).unwrap(), ledger.slot(&key(1)).unwrap());
    let unlimited = &Limits::UNLIMITED;
    for from in [FROM, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        drop(ledger.admit(&noon(), request(0), from, (slots.0, unlimited), (slots.1, unlimited)).unwrap());
        ledger.flush().unwrap();
        let totals = open(disk.cut(|| false).path()).ledger.totals(9);
        assert_eq!(totals.iter().find(|total| total.subject == key(1)).unwrap().last_address, Some(from));
    }
}

#[test]
fn a_slot_whose_subject_was_lost_is_the_next_subjects_and_counts_for_it_alone() {
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    disk.flush(&ledger);
    for _ in 0..9 {
        drop(admit(&ledger, &noon(), 1, 2).unwrap());
    }
    // Only the pages of the segment were written: the counters of a subject of whom the header knows nothing.
    let mut pages = 0;
    let mut lost = Disk {
        dir: disk.cut(|| {
            pages += 1;
            pages > 2
        }),
        bytes: Vec::new(),
    };
    lost.bytes = fs::read(lost.file()).unwrap();
    let ledger = open(lost.dir.path()).ledger;
    assert_eq!(ledger.subjects(), 2);
    drop(admit(&ledger, &noon(), 1, 3).unwrap());
    ledger.flush().unwrap();
    let left = open(lost.cut(|| false).path()).ledger;
    assert_eq!((left.subjects(), day_count(&left, &key(3))), (3, 1));
}

#[test]
fn what_could_not_be_saved_is_saved_by_the_next_flush() {
    let mut disk = Disk::new();
    let ledger = open(disk.dir.path()).ledger;
    disk.flush(&ledger);
    let journals = disk.dir.path().join("ledger-journal");
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    ledger.journal.lock().long_bytes = 0;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    ledger.flush().unwrap();
    fs::remove_dir_all(&journals).unwrap();
    fs::write(&journals, "").unwrap();
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    assert!(ledger.flush().unwrap_err().to_string().starts_with("cannot save "));
    fs::remove_file(&journals).unwrap();
    disk.flush(&ledger);
    assert_eq!(day_count(&open(disk.cut(|| false).path()).ledger, &account(1)), 3);
}
