//! Buffers of requests that are over, for those that come: one stock a worker.

use parking_lot::Mutex;

/// Buffers that are kept at most.
const STOCK_MAX: usize = 256;
/// Of a larger one nothing is kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What a request is served with. Empty when it is taken.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What the upstream is sent.
    pub(super) request: Vec<u8>,
    /// What the upstream sends.
    pub(super) inbox: Vec<u8>,
    /// What the client is sent.
    pub(super) answer: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Stock {
    buffers: Mutex<Vec<Buffers>>,
}

impl Stock {
    pub(super) fn take(&self) -> Buffers {
        self.buffers.lock().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut buffers: Buffers) {
        for buffer in [&mut buffers.request, &mut buffers.inbox, &mut buffers.answer] {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        let mut stock = self.buffers.lock();
        if stock.len() < STOCK_MAX {
            stock.push(buffers);
        }
    }
}
