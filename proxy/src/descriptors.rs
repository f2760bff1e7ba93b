//! File descriptors: how many there may be, how many are kept from clients, and what helps when there are none.
//!
//! The kernel gives out the lowest number that is free. So a descriptor's number says how many are in use at
//! least, and nobody has to count.

use std::{fs::File, io, os::fd::AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for files, the operator's listener and control, where there are enough.
const RESERVE: u64 = 64;
/// Taken for the number where there is no limit.
const UNLIMITED: u64 = 1 << 20;
/// Connections of clients at most where none are set.
const CONNECTIONS_MAX: u64 = 65_536;
const CONNECTIONS_MIN: u64 = 16;

/// Raises the number of descriptors to what the process may have at most; says what it is now.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = %e, "the number of file descriptors cannot be raised");
    }
    allowed()
}

/// How many the process may have open.
pub(crate) fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Which numbers are for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// A client's connection has one below this.
    pub(crate) clients: i64,
    /// A connection to an upstream has one below this. What is above is for everything else.
    pub(crate) upstreams: i64,
    /// Connections of clients that there is room for, each with one to an upstream.
    pub(crate) connections: usize,
}

impl Shares {
    pub(crate) fn of(allowed: u64) -> Self {
        let reserve = (allowed / 8).min(RESERVE);
        let clients = allowed - 2 * reserve;
        let connections = (clients / 2).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            clients: number(clients),
            upstreams: number(allowed - reserve),
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
        }
    }
}

/// Whether something failed because there are none left, in the process or on the machine.
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

/// Whether a connection to an upstream leaves enough for everything else: if not, it fails as it would where there
/// are none left at all.
pub(crate) fn spare(connection: &impl AsRawFd) -> io::Result<()> {
    if number(connection) < Shares::of(allowed()).upstreams { Ok(()) } else { Err(rustix::io::Errno::MFILE.into()) }
}

/// Whether no connection to an upstream could be made now.
pub(crate) fn are_scarce() -> bool {
    File::open("/dev/null").and_then(|file| spare(&file)).is_err()
}

/// Descriptors that are held so that they can be let go of: each is room for one connection when there is no
/// other. Another thread may take that room first; whoever lets go has to be ready for it.
#[derive(Debug)]
pub(crate) struct Spares {
    held: Vec<File>,
    wanted: usize,
}

impl Spares {
    pub(crate) fn hold(wanted: usize) -> Self {
        let mut spares = Self { held: Vec::with_capacity(wanted), wanted };
        spares.restore();
        spares
    }

    /// Lets go of one. Says whether there was one.
    pub(crate) fn let_go(&mut self) -> bool {
        self.held.pop().is_some()
    }

    /// Takes back as many as were let go of, if they can be had. Says whether it has them all.
    pub(crate) fn restore(&mut self) -> bool {
        while self.held.len() < self.wanted {
            let Ok(file) = File::open("/dev/null") else { return false };
            self.held.push(file);
        }
        true
    }
}

/// A descriptor's number.
pub(crate) fn number(of: &impl AsRawFd) -> i64 {
    i64::from(of.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_upstreams_and_both_for_everything_else() {
        for allowed in [64, 256, 1024, 1 << 20] {
            let Shares { clients, upstreams, connections } = Shares::of(allowed);
            let allowed = i64::try_from(allowed).unwrap();
            assert!(0 < clients && clients < upstreams && upstreams < allowed, "{allowed}");
            assert!(i64::try_from(connections).unwrap() * 2 <= clients, "{allowed}");
        }
        assert_eq!(Shares::of(1 << 20).connections, 65_536);
    }

    #[test]
    fn what_is_let_go_of_is_taken_back() {
        let mut spares = Spares::hold(2);
        assert!(spares.let_go() && spares.let_go() && !spares.let_go());
        assert!(spares.restore() && spares.let_go());
    }

    #[test]
    fn a_shortage_is_known_from_other_failures() {
        assert!(are_used_up(&rustix::io::Errno::MFILE.into()) && are_used_up(&rustix::io::Errno::NFILE.into()));
        assert!(!are_used_up(&io::ErrorKind::ConnectionRefused.into()));
    }
}
