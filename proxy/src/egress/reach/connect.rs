//! A new connection to a receiver: its name is resolved, every address vetted, one of those that pass connected to, and
//! TLS spoken.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use clearway_config::egress::v1::Failure;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::egress::{
    Egress,
    post::failure::Failed,
    receiver::{target::Target, trust::Identity},
};

/// Bytes of an answer's head at most.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 128;

/// A connection that can take a request.
#[derive(Debug)]
pub(in crate::egress) struct Connection {
    pub(in crate::egress) sender: SendRequest<Full<Bytes>>,
    pub(in crate::egress) address: IpAddr,
    pub(in crate::egress) born: Instant,
}

impl Egress {
    /// Connects to `target`, and shows `identity` where it is asked for one.
    pub(in crate::egress) async fn connect(
        &self,
        target: &Target,
        identity: Option<&Identity>,
        within: Duration,
    ) -> Result<Connection, Failed> {
        let origin = &target.origin;
        self.guard.check_origin(origin.https, origin.port)?;
        let due = tokio::time::Instant::now() + within;
        let late = |what: &str| Failed::new(Failure::ConnectTimeout, format!("{what} took longer than {within:?}"));

        let found = timeout_at(due, self.resolver.resolve(&origin.host, origin.port)).await;
        let found = found.map_err(|_| late("the look-up of its name"))?.map_err(|e| Failed::of(Failure::Dns, &*e))?;
        let addresses = self.vetted(&found)?;
        let (stream, address) =
            self.reach(&addresses, due).await.map_err(|failed| failed.unwrap_or_else(|| late("connecting")))?;
        // What the kernel says it is connected to, and nothing else.
        self.guard.check(address).map_err(|refused| Failed::from(refused).at(address))?;

        // Makes no difference to what is sent.
        let _ = stream.set_nodelay(true);
        if !origin.https {
            return speak(stream, address).await;
        }
        let config = self.trust.config(identity).map_err(|why| Failed::new(Failure::Tls, why).at(address))?;
        let handshake = TlsConnector::from(config).connect(target.server_name.clone(), stream);
        let stream = timeout_at(due, handshake).await.map_err(|_| late("the TLS handshake").at(address))?;
        speak(stream.map_err(|e| Failed::of(Failure::Tls, &e).at(address))?, address).await
    }

    /// Those of a name's addresses that may be connected to.
    fn vetted(&self, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failed> {
        let (mut vetted, mut refused) = (Vec::with_capacity(found.len()), None);
        for address in found {
            match self.guard.check(address.ip()) {
                Ok(()) => vetted.push(*address),
                Err(why) => refused = Some(Failed::from(why).at(address.ip())),
            }
        }
        if vetted.is_empty() {
            Err(refused.unwrap_or_else(|| Failed::new(Failure::Dns, "the name has no address")))
        } else {
            Ok(vetted)
        }
    }

    /// The first of them that answers; none may take the time of those behind it. `Err(None)`: there was no time left.
    async fn reach(&self, addresses: &[SocketAddr], due: tokio::time::Instant) -> Result<(TcpStream, IpAddr), Option<Failed>> {
        let mut failed = None;
        for (at, address) in addresses.iter().enumerate() {
            let left = due.saturating_duration_since(tokio::time::Instant::now());
            let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let connected = timeout(share, TcpStream::connect(address)).await;
            match connected.map(|connected| connected.and_then(|stream| Ok((stream.peer_addr()?.ip(), stream)))) {
                Ok(Ok((peer, stream))) => return Ok((stream, peer)),
                Ok(Err(e)) => failed = Some(Failed::of(Failure::Connect, &e).at(address.ip())),
                Err(_) => {}
            }
        }
        Err(failed)
    }
}

async fn speak<S>(stream: S, address: IpAddr) -> Result<Connection, Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = Builder::new().max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|e| Failed::of(Failure::Broken, &e).at(address))?;
    tokio::spawn(async move {
        // Whoever waits for an answer hears of it.
        let _ = connection.await;
    });
    Ok(Connection { sender, address, born: Instant::now() })
}
