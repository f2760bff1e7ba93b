//! The old process' end of what goes on after the hand-over: what it tells its successor of requests that it
//! still serves, and the connections that it hands on.
//!
//! Until [`Successor::go`] ends are kept here, so that they can be taken back. What is told goes out in its order and
//! at once: an answer's last bytes follow after the successor could have heard that it is over.

use std::{collections::VecDeque, io, os::fd::OwnedFd, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    link::Link,
    message::{Begun, Handed, Message, Packet},
};
use crate::{
    gateway::Peer,
    ledger::{Ending, Heir},
};

/// The process that comes after this one.
#[derive(Debug)]
pub(crate) struct Successor {
    link: Link,
    told: Mutex<Told>,
    /// Something waits to be sent, or nothing does any more.
    changed: Notify,
}

#[derive(Debug)]
enum Told {
    /// It may still be taken back.
    Kept(Vec<Ending>),
    /// What the successor has not had room for.
    Sent(VecDeque<Packet>),
    /// There is nobody to tell.
    Gone,
}

/// [`Successor`], as the ledger knows it.
#[derive(Debug)]
pub(crate) struct Telling(pub(crate) Arc<Successor>);

impl Heir for Telling {
    fn tell(&mut self, ending: Ending) {
        if let Told::Kept(kept) = &mut *self.0.told.lock() {
            kept.push(ending);
            return;
        }
        self.0.send(ending.into());
    }

    fn take_back(&mut self) -> Vec<Ending> {
        match std::mem::replace(&mut *self.0.told.lock(), Told::Gone) {
            Told::Kept(kept) => kept,
            Told::Sent(_) | Told::Gone => Vec::new(),
        }
    }
}

impl Successor {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self { link, told: Mutex::new(Told::Kept(Vec::new())), changed: Notify::new() })
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Tells all that was kept and then that it is the successor's: from here on there is no way back. An error: it
    /// has not been told, and is still this process'.
    pub(crate) async fn go(&self) -> io::Result<()> {
        let mut told = 0;
        loop {
            match self.try_go(told) {
                Ok(None) => return Ok(()),
                Ok(Some(next)) => {
                    self.link.send(&next).await?;
                    told += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.link.writable().await?,
                Err(e) => return Err(e),
            }
        }
    }

    /// What is to be told after the first `told`; where there is nothing more, tells that this was all.
    fn try_go(&self, told: usize) -> io::Result<Option<Packet>> {
        let mut state = self.told.lock();
        let Told::Kept(kept) = &*state else { return Err(io::ErrorKind::NotConnected.into()) };
        if let Some(ending) = kept.get(told) {
            return Ok(Some(Packet::from(ending.clone())));
        }
        // Under the lock, so that nothing comes in between.
        self.link.try_send(&Packet::of(Message::Go))?;
        *state = Told::Sent(VecDeque::new());
        Ok(None)
    }

    /// Hands a connection on. With `through`, `socket` is not the client's: bytes are passed on between the two.
    pub(crate) fn connection(&self, peer: &Peer, begun: Begun, ahead: &[u8], socket: OwnedFd, through: bool) {
        let handed = Handed::new(peer, begun, through);
        self.send(Packet { message: Message::Connection(handed), payload: ahead.to_owned(), descriptors: vec![socket] });
    }

    fn send(&self, packet: Packet) {
        let mut told = self.told.lock();
        let Told::Sent(waiting) = &mut *told else { return };
        if waiting.is_empty() {
            match self.link.try_send(&packet) {
                Ok(()) => return,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    tracing::error!(error = %e, "the process that took over is gone");
                    *told = Told::Gone;
                    return;
                }
            }
        }
        waiting.push_back(packet);
        self.changed.notify_waiters();
    }

    /// Sends what there was no room for, for ever.
    pub(crate) async fn pump(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            if !self.is_waiting() {
                changed.await;
                continue;
            }
            if self.link.writable().await.is_err() {
                return;
            }
            self.send_waiting();
        }
    }

    fn send_waiting(&self) {
        let mut told = self.told.lock();
        if let Told::Sent(waiting) = &mut *told {
            while let Some(packet) = waiting.front() {
                match self.link.try_send(packet) {
                    Ok(()) => drop(waiting.pop_front()),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        *told = Told::Gone;
                        break;
                    }
                }
            }
        }
        drop(told);
        self.changed.notify_waiters();
    }

    /// Ends when all that was said has been sent.
    pub(crate) async fn flushed(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_waiting() {
                return;
            }
            changed.await;
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(&*self.told.lock(), Told::Sent(waiting) if !waiting.is_empty())
    }
}
