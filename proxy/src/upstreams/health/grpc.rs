//! gRPC's own question: `grpc.health.v1.Health/Check`, by hand on one HTTP/2 stream.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{CONTENT_TYPE, TE},
    uri::PathAndQuery,
};
use pingora::{connectors::http::Connector, protocols::http::client::HttpSession, upstreams::peer::HttpPeer};
use prost::Message;

use super::ask::{head, send, session, short};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// An answer is two bytes in a frame of five.
const ANSWER_BYTES_MAX: usize = 1024;
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn ask(connector: &Connector, peer: &HttpPeer, service: &str, host: &HeaderValue) -> Result<(), String> {
    let mut session = session(connector, peer).await?;
    let mut head = head(&session, &Method::POST, &PathAndQuery::from_static(PATH), host, peer.is_tls())?;
    head.insert_header(CONTENT_TYPE, "application/grpc").map_err(|e| short(&e))?;
    head.insert_header(TE, "trailers").map_err(|e| short(&e))?;
    session.write_request_header(Box::new(head)).await.map_err(|e| short(&e))?;
    send(&mut session, frame(&Request { service: service.to_owned() })).await?;
    session.read_response_header().await.map_err(|e| short(&e))?;
    if let Some(refused) = session.response_header().and_then(|answer| refusal(&answer.headers)) {
        return Err(refused);
    }
    let mut answer = BytesMut::new();
    while let Some(part) = session.read_response_body().await.map_err(|e| short(&e))? {
        if answer.len() + part.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
        answer.extend_from_slice(&part);
    }
    let HttpSession::H2(stream) = &mut session else { return Err("no HTTP/2 is spoken".to_owned()) };
    let trailers = stream.read_trailers().await.map_err(|e| short(&e))?;
    if let Some(refused) = trailers.as_ref().and_then(refusal) {
        return Err(refused);
    }
    let message = answer.get(5..).filter(|_| answer[0] == 0).ok_or("the answer is no message")?;
    match Answer::decode(message) {
        Ok(Answer { status: SERVING }) => Ok(()),
        Ok(Answer { status }) => Err(format!("health status {status}")),
        Err(e) => Err(e.to_string()),
    }
}

/// The gRPC status in headers or trailers, if there is one and it is not OK.
fn refusal(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("unreadable");
    (status != "0").then(|| format!("grpc status {status}"))
}

/// Five bytes and a message, uncompressed.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message.encode_to_vec());
    frame.freeze()
}
