//! A target that does as it is told, and can be killed and brought back.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::upstream::{DEADLINE, Received, read_message};

/// What every request is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Status(u16),
    /// Reads the request and closes.
    HangUp,
    /// Reads the request and says nothing until the mode changes.
    Stall,
}

pub(super) const OK: Mode = Mode::Status(200);

#[derive(Debug)]
struct Inner {
    mode: Mode,
    /// What `/health` is done to.
    health: Mode,
    received: Vec<Received>,
    connections: Vec<TcpStream>,
    alive: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    name: String,
    inner: Arc<(Mutex<Inner>, Condvar)>,
    tls: Option<Arc<ServerConfig>>,
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

impl Fake {
    pub(super) fn start(name: &str) -> Self {
        Self::start_with(name, None)
    }

    pub(super) fn start_with(name: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inner = Inner { mode: OK, health: OK, received: Vec::new(), connections: Vec::new(), alive: true };
        let fake = Self {
            address: listener.local_addr().unwrap(),
            name: name.into(),
            inner: Arc::new((inner.into(), Condvar::new())),
            tls,
        };
        fake.accept(listener);
        fake
    }

    /// As a target in the settings.
    pub(super) fn target(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("\"{scheme}://{}\"", self.address)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.inner.1.notify_all();
    }

    pub(super) fn set_health(&self, mode: Mode) {
        self.lock().health = mode;
    }

    /// Requests, but for checks.
    pub(super) fn received(&self) -> Vec<Received> {
        self.lock().received.iter().filter(|r| r.target() != "/health").cloned().collect()
    }

    pub(super) fn wait_for_requests(&self, n: usize) {
        let deadline = Instant::now() + DEADLINE;
        let mut inner = self.lock();
        while inner.received.len() < n {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {n} requests at {}", self.name);
            inner = self.inner.1.wait_timeout(inner, left).unwrap().0;
        }
    }

    /// Closes everything at once, as a process that is killed.
    pub(super) fn kill(&self) {
        let connections = {
            let mut inner = self.lock();
            inner.alive = false;
            std::mem::take(&mut inner.connections)
        };
        self.inner.1.notify_all();
        for connection in connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the accepting, and is gone when nobody accepts any more.
        while TcpStream::connect(self.address).is_ok() {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub(super) fn revive(&self) {
        let listener = crate::rig::eventually("the address", || TcpListener::bind(self.address).ok());
        self.lock().alive = true;
        self.accept(listener);
    }

    fn accept(&self, listener: TcpListener) {
        let fake = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut inner = fake.lock();
                if !inner.alive {
                    return;
                }
                inner.connections.push(stream.try_clone().unwrap());
                drop(inner);
                let fake = fake.clone();
                thread::spawn(move || fake.connection(stream));
            }
        });
    }

    fn connection(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let socket = stream.try_clone().unwrap();
        match &self.tls {
            None => self.serve(&mut { stream }),
            Some(config) => self.serve(&mut StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)),
        }
        // Others hold it too, to cut it off.
        let _ = socket.shutdown(Shutdown::Both);
    }

    fn serve(&self, stream: &mut impl Duplex) {
        let mut buffer = Vec::new();
        while let Some(request) = read_message(stream, &mut buffer) {
            let target = request.target().to_owned();
            let mut inner = self.lock();
            inner.received.push(request);
            self.inner.1.notify_all();
            let mode = if target == "/health" { inner.health } else { inner.mode };
            let status = match mode {
                Mode::Status(status) => status,
                Mode::HangUp => return,
                Mode::Stall => {
                    let _woken = self.inner.1.wait_timeout_while(inner, DEADLINE, |i| i.alive && i.mode == mode).unwrap();
                    return;
                }
            };
            drop(inner);
            let body = format!("{} {target}", self.name);
            let answer =
                format!("HTTP/1.1 {status} X\r\nX-Served-By: {}\r\nContent-Length: {}\r\n\r\n{body}", self.name, body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap()
    }
}
