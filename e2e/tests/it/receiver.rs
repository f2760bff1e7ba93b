//! Receivers of webhooks that do as they are told, and remember what came.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::fleet::word;

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const TAKEN: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Between two bytes of one that dawdles.
const DAWDLES: Duration = Duration::from_millis(10);

/// What a receiver does with a message.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    Says(Vec<u8>),
    /// Nothing, until it is released; then it takes it.
    Hangs,
    /// Closes without a word.
    Closes,
    /// Breaks the connection off behind these bytes.
    Resets(&'static [u8]),
    /// Says this byte by byte, and then the last one again and again.
    Drips(&'static [u8]),
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    head: String,
    pub(crate) event: Value,
}

#[derive(Debug)]
struct Seen {
    connections: AtomicUsize,
    messages: Mutex<Vec<Message>>,
    released: watch::Sender<bool>,
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

impl Does {
    pub(crate) fn takes() -> Self {
        Self::Says(TAKEN.to_vec())
    }

    /// Answers with `status` and these lines, and keeps the connection.
    pub(crate) fn answers(status: u16, lines: &[&str]) -> Self {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        Self::Says(format!("HTTP/1.1 {status} It\r\n{lines}Content-Length: 0\r\n\r\n").into_bytes())
    }
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Of the delivery, from 1.
    pub(crate) fn attempt(&self) -> u64 {
        self.header("clearway-attempt").and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Receiver {
    /// `script` is asked about every message, with how many came before it.
    pub(crate) async fn start(script: impl Fn(usize, &Message) -> Does + Send + Sync + 'static) -> Self {
        Self::at(LOCALHOST, 0, script).await
    }

    pub(crate) async fn at(address: IpAddr, port: u16, script: impl Fn(usize, &Message) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, port)).await.expect("a free port");
        let bound = listener.local_addr().expect("a bound port");
        let seen =
            Arc::new(Seen { connections: AtomicUsize::new(0), messages: Mutex::default(), released: watch::Sender::new(false) });
        let receiver = Self { url: format!("http://{bound}/hook"), port: bound.port(), seen };
        let (seen, script) = (receiver.seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, script) = (seen.clone(), script.clone());
                tokio::spawn(async move { serve(stream, &seen, &*script).await });
            }
        });
        receiver
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.seen.messages.lock().expect("no panic").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Lets what hangs, and what would, be taken.
    pub(crate) fn release(&self) {
        self.seen.released.send_replace(true);
    }
}

async fn serve(mut stream: TcpStream, seen: &Seen, script: &(impl Fn(usize, &Message) -> Does + ?Sized)) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = next(&mut stream, &mut buffer).await {
        let message = Message { head, event: serde_json::from_slice(&body).expect("an event") };
        let does = {
            let mut messages = seen.messages.lock().expect("no panic");
            let does = script(messages.len(), &message);
            messages.push(message);
            does
        };
        let said = match does {
            Does::Says(bytes) => stream.write_all(&bytes).await,
            Does::Hangs => {
                let mut released = seen.released.subscribe();
                // Whoever waits for it may have given up.
                let mut gone = [0];
                tokio::select! {
                    () = async { drop(released.wait_for(|released| *released).await) } => stream.write_all(TAKEN).await,
                    _ = stream.read(&mut gone) => return,
                }
            }
            Does::Closes => return,
            Does::Resets(bytes) => {
                let _ = stream.write_all(bytes).await;
                set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
                return;
            }
            Does::Drips(bytes) => {
                let _ = stream.set_nodelay(true);
                for byte in bytes.iter().chain(std::iter::repeat(&bytes[bytes.len() - 1])) {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(DAWDLES).await;
                }
                return;
            }
        };
        if said.is_err() {
            return;
        }
    }
}

/// The next message of a connection, head and body.
pub(crate) async fn next(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        let head = buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse::<usize>().ok()?;
            if buffer.len() >= end + length {
                let body = buffer[end..end + length].to_vec();
                buffer.drain(..end + length);
                return Some((text, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The id of the event that a message is about.
pub(crate) fn event_of(message: &Message) -> String {
    word(&message.event, "id")
}
