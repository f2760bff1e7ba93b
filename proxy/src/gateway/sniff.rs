//! Which HTTP a plain connection begins with. HTTP/2 without TLS says so by its preface, knowing that the
//! server speaks it (RFC 9113, 3.3); an Upgrade to it is not offered.

use std::{io, time::Duration};

use rustix::net::{RecvFlags, recv};
use tokio::{io::Interest, net::TcpStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the client begins with HTTP/2's preface; nothing of it is consumed. An error: there is nothing to serve,
/// within `patience`.
pub(super) async fn is_h2(stream: &TcpStream, patience: Duration) -> io::Result<bool> {
    tokio::time::timeout(patience, begins_with_preface(stream)).await?
}

async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut begun = [0; PREFACE.len()];
    let mut seen = 0;
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            let (n, _) = recv(stream, &mut begun, RecvFlags::PEEK)?;
            // As much as before: the next byte is waited for, not asked for again and again.
            if n > seen || n == 0 { Ok(n) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        seen = match peeked {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) => return Err(e),
        };
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if begun[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn the_preface_is_known_however_it_is_cut() {
        for cut in [1, 3, 23] {
            let (mut client, server) = pair().await;
            client.set_nodelay(true).unwrap();
            client.write_all(&PREFACE[..cut]).await.unwrap();
            let sniff = tokio::spawn(async move { is_h2(&server, Duration::from_secs(60)).await });
            tokio::task::yield_now().await;
            client.write_all(&PREFACE[cut..]).await.unwrap();
            assert!(sniff.await.unwrap().unwrap(), "{cut}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_left_for_http_1() {
        for sent in ["GET / HTTP/1.1\r\n", "POST", "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\nxxxx"] {
            let (mut client, server) = pair().await;
            client.write_all(sent.as_bytes()).await.unwrap();
            assert!(!is_h2(&server, Duration::from_secs(60)).await.unwrap(), "{sent}");
            let mut left = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut { server }, &mut left).await.unwrap();
            assert_eq!(left, sent.as_bytes()[..4], "nothing was consumed");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_in_the_middle_is_not_waited_for() {
        let (mut client, server) = pair().await;
        client.write_all(&PREFACE[..5]).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(is_h2(&server, Duration::from_secs(60)).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
