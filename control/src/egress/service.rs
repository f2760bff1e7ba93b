//! `Egress.Attach` beside what else the listener for proxies serves.

use std::sync::Arc;

use clearway_config::egress::v1::{FromEgress, ToEgress};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use super::{
    Egress,
    session::{self, OUTGOING_MAX},
};

/// The generated half of the service.
mod wire {
    #![expect(clippy::allow_attributes, unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.egress.v1");
}

/// Streams that have not yet proved that they know the token, at most.
const STRANGERS_MAX: usize = 64;

impl Egress {
    /// For [`crate::sync::Hub::serve`], which has the listener.
    pub fn routes(&self) -> Routes {
        let service = Service { egress: self.clone(), strangers: Arc::new(Semaphore::new(STRANGERS_MAX)) };
        Routes::new(wire::egress_server::EgressServer::new(service))
    }
}

struct Service {
    egress: Egress,
    strangers: Arc<Semaphore>,
}

#[tonic::async_trait]
impl wire::egress_server::Egress for Service {
    type AttachStream = ReceiverStream<Result<ToEgress, Status>>;

    async fn attach(&self, request: Request<Streaming<FromEgress>>) -> Result<Response<Self::AttachStream>, Status> {
        let stranger = self.strangers.clone().try_acquire_owned();
        let stranger = stranger.map_err(|_| Status::resource_exhausted("too many proxies are attaching"))?;
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        tokio::spawn(session::run(self.egress.inner.clone(), request.into_inner(), out, stranger));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}
