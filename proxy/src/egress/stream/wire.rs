//! From settings to an open stream: the generated half of the service, over the same kind of connection as sync's.

use clearway_config::egress::v1::{FromEgress, ToEgress};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::sync::{CONNECT_TIMEOUT, ConnectError, Options, channel};

mod generated {
    #![expect(unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.egress.v1");
}

/// Messages between a session and the connection at most, each of a batch of results.
const OUTGOING_MAX: usize = 4;

/// Opens the stream with `hello` as its first message. It has a connection of its own: neither kind of stream waits for
/// the other.
pub(super) async fn attach(
    options: &Options,
    url: &str,
    hello: FromEgress,
) -> Result<(Streaming<ToEgress>, mpsc::Sender<FromEgress>), ConnectError> {
    let mut client = generated::egress_client::EgressClient::new(channel(options, url).await?);
    let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
    let sent = outgoing.try_send(hello);
    debug_assert!(sent.is_ok(), "the channel is new and has room");
    let answer = timeout(CONNECT_TIMEOUT, client.attach(ReceiverStream::new(messages))).await;
    match answer.map_err(|_| ConnectError::TimedOut)? {
        Ok(response) => Ok((response.into_inner(), outgoing)),
        Err(status) => Err(ConnectError::Refused(Box::new(status))),
    }
}
