//! The service behind the gateways: counts what reaches it, and holds `/slow` until it is told, and `/hold/N` for N
//! milliseconds. `/stream` goes on until then, and `/socket` says what it hears for as long as it hears.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    seen: Arc<AtomicU64>,
    slow: Arc<AtomicU64>,
    last: Arc<Mutex<String>>,
    held: Arc<watch::Sender<bool>>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let upstream = Self {
            url: format!("http://{}", listener.local_addr().expect("a bound port")),
            seen: Arc::default(),
            slow: Arc::default(),
            last: Arc::default(),
            held: Arc::new(watch::channel(true).0),
        };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        upstream
    }

    /// A routes file with this service behind `/svc`, which asks for a key.
    pub(crate) fn routes(&self) -> String {
        format!(
            "[[upstreams]]\nname = \"svc\"\naddresses = [\"{}\"]\n\n\
             [[routes]]\nname = \"svc\"\npath = \"/svc\"\nupstream = \"svc\"\nauth = \"key\"\nstrip_prefix = true\n",
            self.url
        )
    }

    /// Requests that arrived.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Requests for `/slow` that arrived.
    pub(crate) fn slow(&self) -> u64 {
        self.slow.load(Ordering::SeqCst)
    }

    /// The last request's head as it arrived.
    pub(crate) fn last(&self) -> String {
        self.last.lock().expect("no test panics while holding it").clone()
    }

    /// Lets every held `/slow` request, and all later ones, be answered.
    pub(crate) fn release_slow(&self) {
        self.held.send_replace(false);
    }

    /// A word now and then until held requests are released.
    async fn stream(&self, to: &mut TcpStream) -> std::io::Result<()> {
        to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let mut held = self.held.subscribe();
        while *held.borrow_and_update() {
            to.write_all(b"4\r\nword\r\n").await?;
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), held.changed()).await;
        }
        to.write_all(b"3\r\nend\r\n0\r\n\r\n").await
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            while let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                buffer.drain(..end + 4);
                self.seen.fetch_add(1, Ordering::SeqCst);
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let slow = path.starts_with("/slow");
                *self.last.lock().expect("no test panics while holding it") = head;
                if path == "/stream" {
                    if self.stream(&mut stream).await.is_err() {
                        return;
                    }
                    continue;
                }
                if path == "/socket" {
                    let (mut from, mut to) = stream.into_split();
                    let begun =
                        to.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
                    if begun.await.is_ok() {
                        // Ends when the client does.
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    }
                    return;
                }
                if let Some(ms) = path.strip_prefix("/hold/").and_then(|ms| ms.parse().ok()) {
                    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                }
                self.slow.fetch_add(u64::from(slow), Ordering::SeqCst);
                if slow && self.held.subscribe().wait_for(|held| !held).await.is_err() {
                    return;
                }
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
