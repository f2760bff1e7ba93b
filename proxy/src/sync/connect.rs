//! From settings to an open stream.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clearway_config::{
    settings::process::SyncTls,
    sync::{
        NONCE_BYTES,
        v1::{FromControl, FromProxy},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::Options;

/// The generated half of the service.
mod wire {
    #![expect(unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.sync.v1");
}

/// Messages between a session and the connection at most.
const OUTGOING_MAX: usize = 64;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that answers nothing for twice as long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A delta of the most changes with the longest words is smaller.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What control may send ahead: a snapshot is not to wait for a round trip each 64 KiB.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{url} is not https://, which the settings under [sync.tls] ask for")]
    NotEncrypted { url: String },
    #[error("{} cannot be read", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("{} does not hold 64 hexadecimal digits", file.display())]
    Token { file: PathBuf },
    #[error("control cannot be reached")]
    Transport(#[from] tonic::transport::Error),
    #[error("control refused")]
    Refused(#[source] Box<tonic::Status>),
    #[error("control did not answer in time")]
    TimedOut,
    #[error("the snapshot's disk thread is gone")]
    Disk,
}

/// Read for every connection: control may not have made it yet, and it may be replaced.
pub(crate) fn read_token(file: &Path) -> Result<[u8; NONCE_BYTES], ConnectError> {
    let text = fs::read_to_string(file).map_err(|source| ConnectError::File { file: file.to_owned(), source })?;
    parse_token(text.trim()).ok_or_else(|| ConnectError::Token { file: file.to_owned() })
}

fn parse_token(text: &str) -> Option<[u8; NONCE_BYTES]> {
    if text.len() != 2 * NONCE_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut token = [0; NONCE_BYTES];
    for (at, byte) in token.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(token)
}

/// A connection to control at `url`, encrypted where the settings say so.
pub(crate) async fn channel(options: &Options, url: &str) -> Result<Channel, ConnectError> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if let Some(tls) = &options.tls {
        if !url.starts_with("https://") {
            return Err(ConnectError::NotEncrypted { url: url.to_owned() });
        }
        endpoint = endpoint.tls_config(tls_config(tls)?)?;
    }
    Ok(endpoint.connect().await?)
}

/// Opens the stream with `hello` as its first message.
pub(super) async fn attach(
    options: &Options,
    url: &str,
    hello: FromProxy,
) -> Result<(Streaming<FromControl>, mpsc::Sender<FromProxy>), ConnectError> {
    let channel = channel(options, url).await?;
    let mut client = wire::sync_client::SyncClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
    let sent = outgoing.try_send(hello);
    debug_assert!(sent.is_ok(), "the channel is new and has room");
    let answer = tokio::time::timeout(CONNECT_TIMEOUT, client.attach(ReceiverStream::new(messages))).await;
    match answer.map_err(|_| ConnectError::TimedOut)? {
        Ok(response) => Ok((response.into_inner(), outgoing)),
        Err(status) => Err(ConnectError::Refused(Box::new(status))),
    }
}

fn tls_config(settings: &SyncTls) -> Result<ClientTlsConfig, ConnectError> {
    let read = |file: &PathBuf| fs::read(file).map_err(|source| ConnectError::File { file: file.clone(), source });
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&settings.ca_file)?))
        .identity(Identity::from_pem(read(&settings.cert_file)?, read(&settings.key_file)?));
    Ok(match &settings.server_name {
        Some(name) => config.domain_name(name.clone()),
        None => config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_tls_is_set_a_plain_address_is_refused_before_anything_is_sent() {
        let options = Options {
            proxy: clearway_config::ProxyId::from_bytes([1; 16]),
            name: String::new(),
            urls: Vec::new(),
            token_file: PathBuf::new(),
            tls: Some(SyncTls {
                ca_file: PathBuf::new(),
                cert_file: PathBuf::new(),
                key_file: PathBuf::new(),
                server_name: None,
            }),
        };
        let refused = attach(&options, "http://127.0.0.1:1", FromProxy::default()).await;
        assert!(matches!(refused, Err(ConnectError::NotEncrypted { .. })));
    }

    #[test]
    fn a_token_is_exactly_sixty_four_hexadecimal_digits() {
        assert_eq!(parse_token(&"0f".repeat(32)), Some([15; 32]));
        for bad in [String::new(), "0f".repeat(31), "0f".repeat(33), "+f".repeat(32), "é".repeat(32)] {
            assert_eq!(parse_token(&bad), None, "{bad}");
        }
    }
}
