//! The new process' side: takes the place of the running one, or ends without having changed anything.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    ANSWER_WITHIN, PROTOCOL, SOCKET,
    link::{Link, unexpected},
    message::{Listening, Message, Packet},
};

/// How long the running process may take to let its requests wait, after it was told to begin.
const HANDED_WITHIN: Duration = Duration::from_secs(30);

/// Why this process did not take over. The running one goes on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("no process of this release or a later one runs in {dir}: start without --upgrade")]
    NothingRuns { dir: String, source: io::Error },
    #[error("the running process refuses: {why}")]
    Refused { why: String },
    #[error("the running process ended, or does not answer")]
    Link(#[from] io::Error),
}

/// A connection to the running process.
#[derive(Debug)]
pub(crate) struct Taking {
    link: Link,
    listeners: Vec<(Listening, TcpListener)>,
}

/// What the running process has let go of.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) lock: OwnedFd,
    pub(crate) lease_until_ms: u64,
    pub(crate) since: Instant,
}

impl Taking {
    /// Says that this process could take over. Within a runtime.
    pub(crate) async fn greet(dir: &Path) -> Result<Self, UpgradeError> {
        let link = Link::connect(&dir.join(SOCKET))
            .map_err(|source| UpgradeError::NothingRuns { dir: dir.display().to_string(), source })?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        link.send(&Packet::of(Message::Hello { protocol: PROTOCOL, version })).await?;
        let answer = link.recv_within(ANSWER_WITHIN).await?;
        match answer.message {
            Message::Listeners { version, listeners } if listeners.len() == answer.descriptors.len() => {
                tracing::info!(version, "taking over from a running process");
                let listeners = listeners.into_iter().zip(answer.descriptors.into_iter().map(TcpListener::from)).collect();
                Ok(Self { link, listeners })
            }
            Message::Refused { why } => Err(UpgradeError::Refused { why }),
            other => Err(unexpected(&other).into()),
        }
    }

    /// The running process' listener, where it is at `addr`; port 0 is wherever it is.
    pub(crate) fn listener(&mut self, what: Listening, addr: SocketAddr) -> Option<TcpListener> {
        let fits = |held: &SocketAddr| held.ip() == addr.ip() && (addr.port() == 0 || held.port() == addr.port());
        let at = self.listeners.iter().position(|(of, at)| *of == what && at.local_addr().is_ok_and(|held| fits(&held)))?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Lets the running process stop deciding. From here on requests wait.
    pub(crate) async fn begin(&self) -> Result<Received, UpgradeError> {
        self.link.send(&Packet::of(Message::Begin)).await?;
        let mut answer = self.link.recv_within(HANDED_WITHIN).await?;
        match (answer.message, answer.descriptors.pop()) {
            (Message::Handed { lease_until_ms }, Some(lock)) => Ok(Received { lock, lease_until_ms, since: Instant::now() }),
            (Message::Refused { why }, _) => Err(UpgradeError::Refused { why }),
            (other, _) => Err(unexpected(&other).into()),
        }
    }

    /// Says that this process can serve, and waits for the word that it is to. With it comes what the running process
    /// has told meanwhile: to be heard before anything is served, and not before this has returned.
    pub(crate) async fn ready(self) -> Result<(Link, Vec<Packet>), UpgradeError> {
        self.link.send(&Packet::of(Message::Ready)).await?;
        let mut told = Vec::new();
        loop {
            let packet = self.link.recv_within(ANSWER_WITHIN).await?;
            match packet.message {
                Message::Go => return Ok((self.link, told)),
                Message::Finished { .. } | Message::Line { .. } | Message::Forgotten { .. } => told.push(packet),
                other => return Err(unexpected(&other).into()),
            }
        }
    }
}
