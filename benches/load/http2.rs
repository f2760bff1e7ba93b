//! Clients that speak HTTP/2 in clear, with prior knowledge: few connections, many streams on each.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use h2::client::SendRequest;
use http::{Request, Version, header};
use tokio::net::TcpStream;

use crate::traffic::{BODY_BYTES, Random, Run};

/// Bytes of answers that may be on their way: more than all streams' bodies together.
const WINDOW: u32 = 1 << 20;

/// [`crate::traffic::drive`], by `streams` streams on each of `connections` connections.
pub(crate) async fn drive(
    target: SocketAddr,
    keys: &Arc<[String]>,
    connections: usize,
    streams: usize,
    duration: Duration,
) -> Result<Run, String> {
    let began = Instant::now();
    let mut clients = Vec::new();
    let mut links = Vec::new();
    for connection in 0..connections {
        let stream = TcpStream::connect(target).await.map_err(|e| format!("{target}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, link) = builder.handshake::<_, bytes::Bytes>(stream).await.map_err(|e| e.to_string())?;
        links.push(tokio::spawn(link));
        for stream in 0..streams {
            let seed = (connection * streams + stream) as u64 + 1;
            clients.push(tokio::spawn(client(sender.clone(), target, keys.clone(), seed, began + duration)));
        }
    }
    let mut run = Run::default();
    for client in clients {
        run.answered(client.await.map_err(|e| e.to_string())??);
    }
    run.wall = began.elapsed();
    links.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(run)
}

async fn client(
    mut sender: SendRequest<bytes::Bytes>,
    target: SocketAddr,
    keys: Arc<[String]>,
    seed: u64,
    until: Instant,
) -> Result<Vec<u32>, String> {
    let (uri, mut random) = (format!("http://{target}/bench/item?n=1"), Random::new(seed));
    let mut latencies = Vec::with_capacity(65_536);
    // At least once: whoever asks for no time at all asks for one answer.
    while latencies.is_empty() || Instant::now() < until {
        let began = Instant::now();
        sender = sender.ready().await.map_err(|e| e.to_string())?;
        let request = Request::get(&uri)
            .version(Version::HTTP_2)
            .header(header::ACCEPT, "*/*")
            .header(header::AUTHORIZATION, format!("Bearer {}", random.pick(&keys)))
            .body(())
            .map_err(|e| e.to_string())?;
        let (answer, _) = sender.send_request(request, true).map_err(|e| e.to_string())?;
        let answer = answer.await.map_err(|e| e.to_string())?;
        let (status, mut body) = (answer.status(), answer.into_body());
        let mut bytes = 0;
        while let Some(part) = body.data().await {
            let part = part.map_err(|e| e.to_string())?;
            bytes += part.len();
            body.flow_control().release_capacity(part.len()).map_err(|e| e.to_string())?;
        }
        if status != 200 || bytes != BODY_BYTES {
            return Err(format!("a request was answered {status} with {bytes} bytes in the middle of a run"));
        }
        latencies.push(began.elapsed().as_micros() as u32);
    }
    Ok(latencies)
}
