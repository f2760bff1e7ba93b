//! A wire between a gateway and its control plane that a test can hold or cut.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections stay up and carry nothing: a partition that neither side is told of.
    Held,
}

#[derive(Debug)]
pub(crate) struct Link {
    /// What the gateway connects to.
    pub(crate) url: String,
    state: watch::Sender<State>,
}

impl Link {
    /// A wire to `target`, `http://host:port`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let (state, watched) = watch::channel(State::Open);
        let target = target.trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, watched) = (target.clone(), watched.clone());
                tokio::spawn(async move {
                    if open(watched.clone()).await.is_err() {
                        return;
                    }
                    if let Ok(far) = TcpStream::connect(&target).await {
                        let ((a, b), (c, d)) = (near.into_split(), far.into_split());
                        tokio::join!(carry(a, d, watched.clone()), carry(c, b, watched));
                    }
                });
            }
        });
        Self { url, state }
    }

    pub(crate) fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    pub(crate) fn release(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn open(mut state: watch::Receiver<State>) -> Result<(), watch::error::RecvError> {
    state.wait_for(|s| *s == State::Open).await.map(|_| ())
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        // What was read while the wire was held arrives when it is released, never before.
        if read == 0 || open(state.clone()).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
