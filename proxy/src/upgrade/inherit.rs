//! The new process' end of what goes on after the hand-over: it hears of the ends of requests that the old one
//! still serves, and takes the connections that the old one hands on.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    link::Link,
    message::{Message, Packet},
};
use crate::{
    gateway::{State, moved::Arrived, server::Controls},
    ledger::{Inherited, News},
    tls::Tls,
};

/// What comes from the process before.
#[derive(Debug)]
pub(crate) struct Inheritance {
    link: Link,
    /// `None` when the process before has ended.
    inherited: Mutex<Option<Inherited>>,
    state: Arc<State>,
    server: Arc<Controls>,
    over: watch::Sender<bool>,
}

/// [`Inheritance`], as the ledger knows it.
#[derive(Debug)]
pub(crate) struct Hearing(pub(crate) Arc<Inheritance>);

impl News for Hearing {
    fn hear(&self) -> bool {
        self.0.hear_all();
        !*self.0.over.borrow()
    }
}

impl Inheritance {
    /// `told` came before anything was served.
    pub(crate) fn new(
        (link, told): (Link, Vec<Packet>),
        inherited: Inherited,
        state: Arc<State>,
        server: Arc<Controls>,
    ) -> Arc<Self> {
        let over = watch::Sender::new(false);
        let this = Arc::new(Self { link, inherited: Mutex::new(Some(inherited)), state, server, over });
        if let Some(inherited) = &mut *this.inherited.lock() {
            told.into_iter().for_each(|packet| this.take(inherited, packet));
        }
        this
    }

    /// Whether the process before has ended.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Listens until the process before has ended.
    pub(crate) async fn attend(self: Arc<Self>) {
        loop {
            // Received under the lock that it is heard under, so that nothing overtakes it.
            if self.link.readable(|| self.hear_one()).await.is_err() {
                return self.end();
            }
        }
    }

    fn hear_all(&self) {
        // An error that is not for want of more is met again by `attend`.
        while self.hear_one().is_ok() {}
    }

    fn hear_one(&self) -> io::Result<()> {
        let mut inherited = self.inherited.lock();
        let Some(inherited) = &mut *inherited else { return Err(io::ErrorKind::NotConnected.into()) };
        match self.link.try_recv() {
            Ok(packet) => self.take(inherited, packet),
            // A word that is not known is of a newer process, which does without an answer.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(error = %e, "a word of the process before was skipped");
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn take(&self, inherited: &mut Inherited, packet: Packet) {
        let Packet { message, payload, mut descriptors } = packet;
        match message {
            Message::Finished { record, status, duration_ms } => inherited.finished(record, status, duration_ms),
            Message::Line { record: None } => self.state.access_log.put(&payload, None),
            Message::Line { record: Some(record) } => {
                if let Some(ticket) = inherited.take(record) {
                    self.state.access_log.put(&payload, Some(ticket));
                }
            }
            Message::Forgotten { record } => drop(inherited.take(record)),
            Message::Connection(handed) => {
                let certificates = self.state.tls.as_ref().map(|tls: &Tls| &**tls.certificates());
                if let Some(arrived) = descriptors.pop().and_then(|socket| Arrived::new(&handed, payload, socket, certificates)) {
                    self.server.serve_handed(arrived);
                }
            }
            Message::Hello { .. }
            | Message::Refused { .. }
            | Message::Listeners { .. }
            | Message::Begin
            | Message::Handed { .. }
            | Message::Ready
            | Message::Go => tracing::warn!(?message, "a word of the process before was skipped"),
        }
    }

    /// The process before is gone. What it has not told of has ended with it.
    fn end(&self) {
        let inherited = self.inherited.lock().take();
        self.over.send_replace(true);
        let Some(inherited) = inherited else { return };
        tracing::info!(requests.interrupted = inherited.len(), "the process before has ended");
        match inherited.into_interrupted() {
            Ok(interrupted) => self.state.access_log.settle(interrupted),
            Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "requests of the process before cannot be settled"),
        }
    }
}
