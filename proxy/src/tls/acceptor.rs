//! The handshake: an encrypted stream and what it has shown, or nothing.
//!
//! Every handshake has a deadline, and only so many run at the same time; one that waits for its turn
//! waits within its deadline.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use clearway_config::settings::process::ClientCertificates;
use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Semaphore};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{certificate::Certificate, certificates::Certificates, client::ClientCertificate, config};
use crate::{gateway::now_s, metrics::Metrics};

/// Shakes hands. One for all workers.
#[derive(Debug)]
pub struct Acceptor {
    config: ArcSwap<ServerConfig>,
    /// The same rules, for a listener that speaks HTTP/1.1 alone.
    http1: ArcSwap<ServerConfig>,
    certificates: Arc<Certificates>,
    clients: ClientCertificates,
    metrics: Arc<Metrics>,
}

/// What is spoken over the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    All,
    Http1,
}

/// An encrypted connection, as far as requests want to know; shared by all of them.
#[derive(Debug)]
pub struct TlsFacts {
    /// Whom the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    pub client: Option<ClientCertificate>,
    /// What the client was shown, where its certificate is wanted: it proved who it is to that name only.
    pub bound_to: Option<Arc<Certificate>>,
}

/// What a handshake comes to.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TlsStream<TcpStream>,
    pub facts: TlsFacts,
    /// The client chose HTTP/2.
    pub is_h2: bool,
}

impl Acceptor {
    pub(super) fn new(
        config: ServerConfig,
        certificates: Arc<Certificates>,
        clients: ClientCertificates,
        metrics: Arc<Metrics>,
    ) -> Self {
        let http1 = ArcSwap::from_pointee(config::http1_alone(&config));
        Self { config: ArcSwap::from_pointee(config), http1, certificates, clients, metrics }
    }

    /// Handshakes from now on follow these rules.
    pub(super) fn replace(&self, config: ServerConfig) {
        self.http1.store(Arc::new(config::http1_alone(&config)));
        self.config.store(Arc::new(config));
    }

    /// Waits for a turn, and then for the client, no longer than `patience` in all.
    ///
    /// `None`: there is no connection. Why is a metric, not a line in the log, for strangers decide how
    /// often it happens.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        speaks: Speaks,
        turns: &Semaphore,
        patience: Duration,
    ) -> Option<Accepted> {
        let config = match speaks {
            Speaks::All => &self.config,
            Speaks::Http1 => &self.http1,
        };
        let handshake = async {
            let Ok(_turn) = turns.acquire().await else { return Err(io::ErrorKind::ResourceBusy.into()) };
            TlsAcceptor::from(config.load_full()).accept(stream).await
        };
        let shaken = tokio::time::timeout(patience, handshake).await;
        let accepted = match shaken {
            Ok(Ok(stream)) => self.read(stream).await,
            Ok(Err(e)) => {
                tracing::debug!(error = %e, "TLS handshake failed");
                None
            }
            Err(_) => None,
        };
        self.metrics.encryption.handshake(accepted.is_some());
        accepted
    }

    async fn read(&self, mut stream: TlsStream<TcpStream>) -> Option<Accepted> {
        let session = stream.get_ref().1;
        let presented = session.peer_certificates().and_then(|chain| chain.first());
        let client = presented.map(|leaf| ClientCertificate::read(leaf, now_s()));
        let Some(client) = client.map_or(Some(None), |read| read.map(Some)) else {
            // It was right once, or is of a kind that rustls takes and that cannot be named.
            let _ = stream.shutdown().await;
            return None;
        };
        let server_name = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
        let facts = TlsFacts {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            client,
            bound_to: match self.clients {
                ClientCertificates::Required => self.certificates.find(server_name.as_deref()),
                ClientCertificates::Off | ClientCertificates::Optional => None,
            },
            server_name,
        };
        let is_h2 = session.alpn_protocol() == Some(config::H2);
        Some(Accepted { stream, facts, is_h2 })
    }
}

impl TlsFacts {
    /// Whether a request for `host` may come over this connection (RFC 9110, 7.4).
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.bound_to.as_ref().is_none_or(|certificate| certificate.covers(host))
    }
}
