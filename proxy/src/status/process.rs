//! What the process takes of the machine, from `/proc`; nothing where there is no such thing.

use serde::Serialize;

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) open_descriptors: Option<u64>,
    /// The soft limit; `null` is none.
    pub(crate) descriptors_max: Option<u64>,
    /// The mapped ledger included.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
}

impl Process {
    /// Reads three small files and a folder.
    pub(crate) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Self {
            pid: std::process::id(),
            // One of them is the folder that is being read.
            open_descriptors: std::fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
            descriptors_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            resident_bytes: number("VmRSS").map(|kib| kib * 1024),
            threads: number("Threads"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_takes() {
        let process = Process::read();
        assert!(process.open_descriptors.unwrap() >= 3 && process.threads.unwrap() >= 1);
        assert!(process.resident_bytes.unwrap() > 1024 * 1024);
    }
}
