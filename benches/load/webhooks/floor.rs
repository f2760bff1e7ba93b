//! The least that a delivery can cost: a hyper client that signs and posts, and keeps no books.

use std::{fs, net::SocketAddr, time::Duration};

use clearway_filters::webhook::{ID, SIGNATURE, Signer, TIMESTAMP};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// Connections that post at the same time.
const CONNECTIONS: u64 = 16;
const BODY_BYTES: usize = 1024;

/// Processor time of one post, of the client alone, over `posts` of them.
pub(super) fn measure(to: SocketAddr, posts: u64) -> Result<Duration, String> {
    // On a thread of its own, whose processor time is the client's and nothing else.
    let client = std::thread::spawn(move || -> Result<Duration, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let before = thread_time();
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            for _ in 0..CONNECTIONS {
                connections.spawn(post(to, posts / CONNECTIONS));
            }
            while let Some(posted) = connections.join_next().await {
                posted.map_err(|e| e.to_string())??;
            }
            Ok::<_, String>(())
        })?;
        Ok(thread_time().saturating_sub(before) / u32::try_from(posts).unwrap_or(u32::MAX))
    });
    client.join().map_err(|_| "the floor panicked")?
}

async fn post(to: SocketAddr, posts: u64) -> Result<(), String> {
    let stream = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let signer = Signer::new(vec![super::signing_key()]);
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    for n in 0..posts {
        let id = format!("evt_{n:022}");
        let signed = signer.sign(&id, 1_770_724_800, &body, 0).ok_or("a live key")?;
        let request = Request::post("/floor")
            .header("host", "receiver")
            .header("content-type", "application/json")
            .header(ID, id)
            .header(TIMESTAMP, 1_770_724_800)
            .header(SIGNATURE, signed.standard)
            .body(Full::new(body.clone()))
            .map_err(|e| e.to_string())?;
        sender.ready().await.map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        answer.into_body().collect().await.map_err(|e| e.to_string())?;
    }
    drop(sender);
    let _ = driver.await;
    Ok(())
}

/// What this thread has run.
fn thread_time() -> Duration {
    let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(line.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}
