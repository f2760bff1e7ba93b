//! Waking who waits for a kind of commit, within this process. Nothing is carried but that it happened: who wakes
//! looks into the database.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// A kind of commit that somebody may wait for; its text is its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub &'static str);

/// Who listens to what. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Mutex<Vec<Listened>>>);

type Listened = (Signal, watch::Sender<u64>);

impl Signals {
    pub fn listen(&self, signal: Signal) -> watch::Receiver<u64> {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sender)) = senders.iter().find(|(known, _)| *known == signal) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(0);
        senders.push((signal, sender));
        receiver
    }

    pub(super) fn raise(&self, signal: Signal) {
        let senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sender)) = senders.iter().find(|(known, _)| *known == signal) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}
