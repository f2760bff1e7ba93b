//! What the two processes say to each other, and how it stands in a packet: a length, JSON, and bytes that
//! are none of its business.

use std::{io, net::IpAddr, os::fd::OwnedFd, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    gateway::Peer,
    ledger::Ending,
    tls::{acceptor::TlsFacts, certificates::Certificates, client::ClientCertificate},
};

/// In the order in which they are said. A word that is not known is an error before [`Message::Go`], and skipped after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(crate) enum Message {
    /// By the new process: its settings are right and its files are read.
    Hello {
        protocol: u32,
        version: String,
    },
    /// By the old process, which goes on.
    Refused {
        why: String,
    },
    /// By the old process, with a descriptor for each.
    Listeners {
        version: String,
        listeners: Vec<Listening>,
    },
    /// By the new process: it can begin.
    Begin,
    /// By the old process, which decides nothing any more, with the lock of the data directory.
    Handed {
        lease_until_ms: u64,
    },
    /// By the new process: it can serve.
    Ready,
    /// By the old process: from here on it is the new one's. Not to be taken back.
    Go,
    /// By the old process, until it ends: [`Ending`]s, and connections that bring another request.
    Finished {
        record: u32,
        status: u16,
        duration_ms: u64,
    },
    Line {
        record: Option<u32>,
    },
    Forgotten {
        record: u32,
    },
    /// With the connection itself, and what has been read of it and not used.
    Connection(Handed),
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Listening {
    Gateway,
    GatewayTls,
    Egress,
    Metrics,
}

/// A client's connection on its way to the new process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handed {
    pub(crate) address: IpAddr,
    pub(crate) tls: Option<HandedTls>,
    pub(crate) begun: Begun,
    /// The old process stays in between and passes bytes on: the first answer is to be the last.
    pub(crate) through: bool,
}

/// How much is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Begun {
    /// Nothing has been read of it.
    No,
    Http1,
    Http2,
}

/// [`TlsFacts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandedTls {
    server_name: Option<Box<str>>,
    is_1_3: bool,
    client: Option<ClientCertificate>,
    /// The client is bound to the name that it asked for.
    is_bound: bool,
}

impl Handed {
    pub(crate) fn new(peer: &Peer, begun: Begun, through: bool) -> Self {
        let tls = peer.tls.as_ref().map(|facts| HandedTls {
            server_name: facts.server_name.clone(),
            is_1_3: facts.version == "1.3",
            client: facts.client.clone(),
            is_bound: facts.bound_to.is_some(),
        });
        Self { address: peer.address, tls, begun, through }
    }

    /// Who is connected. `None`: it was bound to a certificate that this process does not have.
    pub(crate) fn peer(&self, certificates: Option<&Certificates>) -> Option<Peer> {
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let bound_to = certificates.filter(|_| tls.is_bound).and_then(|all| all.find(tls.server_name.as_deref()));
                if tls.is_bound && bound_to.is_none() {
                    return None;
                }
                let version = if tls.is_1_3 { "1.3" } else { "1.2" };
                let (server_name, client) = (tls.server_name.clone(), tls.client.clone());
                Some(Arc::new(TlsFacts { server_name, version, client, bound_to }))
            }
        };
        Some(Peer { address: self.address, tls, parting: self.through })
    }
}

/// A message and what comes with it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) message: Message,
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

const LENGTH_BYTES: usize = 4;

impl Packet {
    pub(crate) fn of(message: Message) -> Self {
        Self { message, payload: Vec::new(), descriptors: Vec::new() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&self.message).expect("messages are strings, numbers and lists of them");
        let length = u32::try_from(json.len()).expect("a message is short").to_le_bytes();
        [&length[..], &json, &self.payload].concat()
    }

    pub(super) fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let malformed = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| malformed("a packet is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (json, payload) = rest.split_at_checked(length).ok_or_else(|| malformed("a packet is cut off"))?;
        let message = serde_json::from_slice(json).map_err(|e| malformed(&format!("a message is not understood: {e}")))?;
        Ok(Self { message, payload: payload.to_owned(), descriptors })
    }
}

impl From<Ending> for Packet {
    fn from(ending: Ending) -> Self {
        let (message, payload) = match ending {
            Ending::Finished { record, status, duration_ms } => (Message::Finished { record, status, duration_ms }, Vec::new()),
            Ending::Line { record, line } => (Message::Line { record }, line),
            Ending::Forgotten { record } => (Message::Forgotten { record }, Vec::new()),
        };
        Self { message, payload, descriptors: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_is_an_error() {
        for bytes in [&b""[..], b"\0\0\0", b"\x05\0\0\0{}", b"\x02\0\0\0{}", b"\x12\0\0\0{\"message\":\"hm\"}..."] {
            assert_eq!(Packet::decode(bytes, Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }

    #[test]
    fn an_encrypted_connection_is_described_as_it_was() {
        let client =
            ClientCertificate { fingerprint_sha256: [7; 32], subject_alt_names: Vec::new(), subject: Some("CN=x".into()) };
        let facts = TlsFacts { server_name: Some("a.test".into()), version: "1.3", client: Some(client.clone()), bound_to: None };
        let peer = Peer { address: [192, 0, 2, 1].into(), tls: Some(Arc::new(facts)), parting: false };
        let packet = Packet::of(Message::Connection(Handed::new(&peer, Begun::Http1, true)));
        let Message::Connection(handed) = Packet::decode(&packet.encode(), Vec::new()).unwrap().message else {
            panic!("a connection")
        };
        let read = handed.peer(None).unwrap();
        let tls = read.tls.unwrap();
        assert_eq!((read.address, read.parting), (peer.address, true));
        assert_eq!((tls.server_name.as_deref(), tls.version, tls.client.as_ref()), (Some("a.test"), "1.3", Some(&client)));
    }
}
