//! The file behind the access log: appended to, reopened when it was moved or when asked, and looked
//! through once at start for the lines that made it before the process ended.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clearway_config::RequestId;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Target {
    File { path: PathBuf, file: File },
    StandardOutput,
}

impl Target {
    /// `None` is standard output.
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        match path {
            None => Ok(Self::StandardOutput),
            Some(path) => Ok(Self::File { file: open(&path)?, path }),
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(bytes),
            Self::StandardOutput => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
        }
    }

    /// Opens the path anew if another file, or none, is there now, or if `asked`.
    pub(super) fn follow(&mut self, asked: bool) -> io::Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        let identity = |of: std::fs::Metadata| (of.dev(), of.ino());
        let stays = !asked && std::fs::metadata(&*path).ok().map(identity) == file.metadata().ok().map(identity);
        if !stays {
            *file = open(path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Which of `wanted` have their line in the last `tail_bytes` of the log. A last line that was cut
/// off is removed, so that it can be written whole.
pub(super) fn find_logged(path: &Path, wanted: &HashSet<RequestId>, tail_bytes: u64) -> io::Result<HashSet<RequestId>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(tail_bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    // Without any line end in the tail there is nothing here that this log wrote.
    if whole < tail.len() && (whole > 0 || start == 0) {
        file.set_len(start + whole as u64)?;
    }
    let found = tail[..whole].split(|&b| b == b'\n').filter_map(request_id_of).filter(|id| wanted.contains(id)).collect();
    Ok(found)
}

fn request_id_of(line: &[u8]) -> Option<RequestId> {
    const FIELD: &[u8] = b"\"request_id\":\"";
    let at = line.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let end = line[at..].iter().position(|&b| b == b'"')?;
    std::str::from_utf8(&line[at..at + end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: RequestId) -> String {
        format!("{{\"time\":\"x\",\"request_id\":\"{id}\",\"path\":\"/\"}}\n")
    }

    #[test]
    fn the_tail_tells_which_lines_were_written_and_a_torn_one_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let ids: Vec<_> = (0..4).map(|n| RequestId::new(n, 1 << 100)).collect();
        let torn = line(ids[2]);
        let text = format!("{}{}{}", line(ids[0]), line(ids[1]), &torn[..torn.len() - 3]);
        std::fs::write(&path, &text).unwrap();

        let wanted: HashSet<_> = ids[1..].iter().copied().collect();
        let tail = (text.len() - line(ids[0]).len()) as u64;
        assert_eq!(find_logged(&path, &wanted, tail).unwrap(), HashSet::from([ids[1]]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}{}", line(ids[0]), line(ids[1])));
        assert!(find_logged(&dir.path().join("none"), &wanted, 10).unwrap().is_empty());
    }

    #[test]
    fn a_moved_file_is_followed_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let mut target = Target::open(Some(path.clone())).unwrap();
        target.append(b"a\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        target.follow(false).unwrap();
        target.append(b"b\n").unwrap();
        target.follow(false).unwrap();
        target.append(b"c\n").unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"a\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"b\nc\n");
    }
}
