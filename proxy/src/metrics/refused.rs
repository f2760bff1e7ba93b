//! Connections that were turned away before they could ask for anything.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::register;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All of them together are as many as there may be.
    Connections,
    /// Those from its address are.
    Address,
    /// There is no file descriptor for it.
    Descriptors,
    /// It holds, together with others, too much of what has not become a request.
    Memory,
    /// It made work without asking for anything, or asked and never waited for the answer.
    Flood,
}

impl Refused {
    pub(super) const ALL: [Self; 5] = [Self::Connections, Self::Address, Self::Descriptors, Self::Memory, Self::Flood];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Flood => "flood",
        }
    }
}

#[derive(Debug)]
pub(crate) struct ConnectionsRefused([IntCounter; 5]);

impl ConnectionsRefused {
    /// Every reason is there from the start.
    pub(super) fn new(registry: &Registry) -> Self {
        let opts = Opts::new("clearway_connections_refused_total", "Connections of clients that were turned away, by reason.");
        let all = register(registry, IntCounterVec::new(opts, &["reason"]).expect("a constant name and label"));
        Self(Refused::ALL.map(|why| all.with_label_values(&[why.as_str()])))
    }

    pub(crate) fn inc(&self, why: Refused) {
        self.0[why as usize].inc();
    }
}
