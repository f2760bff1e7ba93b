//! A new process takes the place of the running one, and no request fails by it.
//!
//! The running process listens at a socket in its data directory ([`link`]). One that is started with
//! `--upgrade` connects there when it has checked its settings and read its files, and the two go through
//! the steps of [`give`] and [`take`]: listeners, the data directory's lock, the ledger and the auth lease pass
//! over, and from one moment on requests are decided by the new process alone. Until then everything can be
//! taken back. After it the old one ends what it has begun, tells of each end, and hands on connections that
//! bring another request ([`heir`], [`inherit`]). Why so, and what was weighed: `docs/decisions/binary-upgrade.md`.

pub(crate) mod give;
pub(crate) mod heir;
pub(crate) mod inherit;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod take;

pub use take::UpgradeError;

use std::time::Duration;

/// Of the messages and their order. Processes of different protocols do not follow each other.
const PROTOCOL: u32 = 1;
/// The socket's name in the proxy's part of the data directory.
pub(crate) const SOCKET: &str = "upgrade.sock";
/// How long either side waits for an answer that takes no work.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long requests wait at most, from the last that the old process decides to the first of the new one.
const FREEZE_MAX: Duration = Duration::from_secs(5);
/// How long HTTP/2 clients may take to hear that their connections end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
