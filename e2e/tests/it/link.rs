//! A wire between a gateway and its control plane, or its Redis, that a test can hold or cut.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Connections stay up and carry nothing: a partition that neither side is told of.
    Held,
    /// Nobody listens, and connections are cut.
    Refusing,
    /// What is asked arrives, and no answer does. Connections are cut when this ends.
    Deaf,
    /// Everything takes so much longer.
    Slow(Duration),
}

#[derive(Debug)]
pub(crate) struct Link {
    /// What the gateway connects to.
    pub(crate) url: String,
    state: watch::Sender<State>,
}

impl Link {
    /// A wire to `target`, `scheme://host:port`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (scheme, target) = target.split_once("://").expect("a URL");
        let url = format!("{scheme}://{}", listener.local_addr().expect("a bound port"));
        let (state, watched) = watch::channel(State::Open);
        tokio::spawn(listen(listener, target.to_owned(), watched));
        Self { url, state }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    pub(crate) fn hold(&self) {
        self.set(State::Held);
    }

    pub(crate) fn release(&self) {
        self.set(State::Open);
    }
}

/// Until the link is dropped.
async fn listen(listener: TcpListener, target: String, mut state: watch::Receiver<State>) {
    let address = listener.local_addr().expect("a bound port");
    let mut listening = Some(listener);
    loop {
        let refuses = *state.borrow_and_update() == State::Refusing;
        if refuses {
            listening = None;
        } else if listening.is_none() {
            // It was this test's own a moment ago.
            listening = Some(TcpListener::bind(address).await.expect("the port is free still"));
        }
        let near = tokio::select! {
            Some(Ok((near, _))) = async { Some(listening.as_ref()?.accept().await) } => near,
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (target, watched) = (target.clone(), state.clone());
        tokio::spawn(async move {
            if passes(watched.clone(), true).await.is_none() {
                return;
            }
            if let Ok(far) = TcpStream::connect(&target).await {
                let ((a, b), (c, d)) = (near.into_split(), far.into_split());
                tokio::join!(carry(a, d, watched.clone(), true), carry(c, b, watched, false));
            }
        });
    }
}

/// Waits until something may pass, one way or the other; by how much later than it came. `None`: the connection is cut.
async fn passes(mut state: watch::Receiver<State>, asks: bool) -> Option<Duration> {
    let mut was_deaf = false;
    loop {
        match *state.borrow_and_update() {
            State::Deaf if !asks => was_deaf = true,
            _ if was_deaf => return None,
            State::Open | State::Deaf => return Some(Duration::ZERO),
            State::Slow(by) => return Some(by),
            State::Refusing => return None,
            State::Held => {}
        }
        state.changed().await.ok()?;
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: watch::Receiver<State>, asks: bool) {
    let mut buffer = vec![0; 16 * 1024];
    let mut cut = state.clone();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = cut.wait_for(|state| *state == State::Refusing) => return,
        };
        // What was read while the wire was held arrives when it is released, never before.
        let Some(later) = passes(state.clone(), asks).await.filter(|_| read > 0) else { return };
        tokio::time::sleep(later).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
