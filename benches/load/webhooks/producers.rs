//! Who emits events: an operator's services, each over a connection of its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::receiver::SENT;

/// Bytes of an event's data, about: so that what is posted to the receiver has 1 KiB.
const DATA_BYTES: usize = 860;

/// How events are emitted.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) control: SocketAddr,
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) producers: usize,
    /// Events a second of all together; as fast as they are accepted without it.
    pub(super) rate: Option<f64>,
    pub(super) for_: Duration,
    pub(super) began: Instant,
}

/// What they saw.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    pub(super) events: u64,
    pub(super) wall: Duration,
    pub(super) accepted_us: Vec<u32>,
}

pub(super) async fn emit(plan: &Plan) -> Result<Emitted, String> {
    let began = Instant::now();
    let mut producers = JoinSet::new();
    for n in 0..plan.producers {
        producers.spawn(produce(plan.clone(), n));
    }
    let mut emitted = Emitted::default();
    while let Some(accepted) = producers.join_next().await {
        let accepted = accepted.map_err(|e| e.to_string())??;
        emitted.events += accepted.len() as u64;
        emitted.accepted_us.extend(accepted);
    }
    emitted.wall = began.elapsed();
    Ok(emitted)
}

/// Microseconds that each event took to be accepted.
async fn produce(plan: Plan, n: usize) -> Result<Vec<u32>, String> {
    let mut stream = TcpStream::connect(plan.control).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (began, mut accepted, mut buffer) = (Instant::now(), Vec::new(), Vec::with_capacity(4096));
    let every = plan.rate.map(|rate| Duration::from_secs_f64(plan.producers as f64 / rate));
    let filler = "x".repeat(DATA_BYTES);
    while began.elapsed() < plan.for_ {
        if let Some(every) = every {
            let turn = began + every.mul_f64(accepted.len() as f64 + n as f64 / plan.producers as f64);
            tokio::time::sleep_until(turn.into()).await;
        }
        let sent = Instant::now();
        let sent_us = plan.began.elapsed().as_micros();
        let body = format!(r#"{{"type":"{}","data":{{{SENT}{sent_us},"text":"{filler}"}}}}"#, plan.kind);
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: control\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n",
            plan.key,
            body.len()
        );
        stream.write_all([head, body].concat().as_bytes()).await.map_err(|e| e.to_string())?;
        let status = answer(&mut stream, &mut buffer).await?;
        if status != 202 {
            return Err(format!("an event was answered {status}: {}", String::from_utf8_lossy(&buffer)));
        }
        accepted.push(sent.elapsed().as_micros() as u32);
    }
    Ok(accepted)
}

/// Reads one answer whole; its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<u16, String> {
    buffer.clear();
    loop {
        if let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).map_err(|e| e.to_string())?;
            let status = text.get(9..12).and_then(|s| s.parse().ok()).ok_or("an answer without a status")?;
            let length: usize = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse().ok())
                .ok_or("an answer without a length")?;
            if buffer.len() >= head + 4 + length {
                return Ok(status);
            }
        }
        if stream.read_buf(buffer).await.map_err(|e| e.to_string())? == 0 {
            return Err("control closed a connection".to_owned());
        }
    }
}
