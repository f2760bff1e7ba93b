//! The listener for proxies: TLS, keep-alive, and who may attach.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use clearway_config::{
    settings::process::SyncTls,
    sync::v1::{FromControl, FromProxy},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    service::Routes,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use super::{
    Hub,
    session::{self, OUTGOING_MAX},
};

/// The generated half of the service.
mod wire {
    #![expect(clippy::allow_attributes, unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.sync.v1");
}

/// Streams that have not yet proved that they know the token, at most.
const STRANGERS_MAX: usize = 64;
/// A peer that answers nothing for twice as long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What a proxy may send ahead: what it has to tell is not to wait for a round trip each 64 KiB.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// What is needed for mutual TLS, read.
#[derive(Clone)]
pub struct Tls(ServerTlsConfig);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{} cannot be read", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("the sync listener failed")]
    Transport(#[from] tonic::transport::Error),
}

impl Tls {
    pub fn read(settings: &SyncTls) -> Result<Self, ServeError> {
        let read = |file: &PathBuf| fs::read(file).map_err(|source| ServeError::File { file: file.clone(), source });
        let config = ServerTlsConfig::new()
            .identity(Identity::from_pem(read(&settings.cert_file)?, read(&settings.key_file)?))
            .client_ca_root(Certificate::from_pem(read(&settings.ca_file)?));
        Ok(Self(config))
    }
}

impl Hub {
    /// Serves proxies until `stop`, then ends their streams and the hub's own tasks. `beside` is what else they may ask
    /// for at this listener; whose streams those are ends them at `stop` too.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Tls>,
        beside: Routes,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let service = Service { hub: self.clone(), strangers: Arc::new(Semaphore::new(STRANGERS_MAX)) };
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_concurrent_streams(4);
        if let Some(Tls(config)) = tls {
            server = server.tls_config(config)?;
        }
        let stop = async {
            stop.await;
            self.inner().stopping.send_replace(true);
        };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server
            .add_routes(beside.add_service(wire::sync_server::SyncServer::new(service)))
            .serve_with_incoming_shutdown(incoming, stop)
            .await?;
        Ok(())
    }
}

struct Service {
    hub: Hub,
    strangers: Arc<Semaphore>,
}

#[tonic::async_trait]
impl wire::sync_server::Sync for Service {
    type AttachStream = ReceiverStream<Result<FromControl, Status>>;

    async fn attach(&self, request: Request<Streaming<FromProxy>>) -> Result<Response<Self::AttachStream>, Status> {
        let stranger = self.strangers.clone().try_acquire_owned();
        let stranger = stranger.map_err(|_| Status::resource_exhausted("too many proxies are attaching"))?;
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        tokio::spawn(session::run(self.hub.inner().clone(), request.into_inner(), out, stranger));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}
