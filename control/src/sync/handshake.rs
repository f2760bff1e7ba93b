//! How a proxy and control prove to each other that they know the shared token, for every kind of stream that a proxy
//! opens: each kind has labels of its own, so that no answer of one opens another.
//!
//! It knows what is said, not how: who sends and receives is the stream's.

use clearway_config::{
    ProxyId,
    sync::{NONCE_BYTES, v1},
};

const NAME_CHARS_MAX: usize = 100;

/// Of token, proxy's nonce and control's.
pub(crate) type Mac = fn(token: &[u8], proxy_nonce: &[u8], nonce: &[u8]) -> MacBytes;
type MacBytes = [u8; 32];
/// Whether what was got is that of token, proxy's nonce and control's.
type Verify = fn(token: &[u8], proxy_nonce: &[u8], nonce: &[u8], got: &[u8]) -> bool;

/// The answers of one kind of stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    /// What control answers.
    pub(crate) control_mac: Mac,
    /// Whether what the proxy has answered is right.
    pub(crate) verify_proxy: Verify,
}

/// What every hello says. Nothing of it is proved yet.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) proxy_id: Vec<u8>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) nonce: Vec<u8>,
}

/// A proxy that has proved that it knows the token. What it calls itself is bounded and printable.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: ProxyId,
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A proxy whose proof is waited for.
pub(crate) struct Challenged<'t> {
    token: &'t [u8],
    labels: Labels,
    proxy_nonce: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    peer: Peer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the proxy broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the proxy does not know the sync token")]
    Unauthenticated,
}

impl Greeting {
    /// What is to be answered, and what its answer is to be judged by.
    pub(crate) fn challenge(self, token: &[u8], labels: Labels) -> Result<(Challenged<'_>, v1::Challenge), Refusal> {
        let id = ProxyId::from_slice(&self.proxy_id).ok_or(Refusal::Protocol("a proxy's id is 16 bytes"))?;
        if self.nonce.len() != NONCE_BYTES {
            return Err(Refusal::Protocol("a nonce is 32 bytes"));
        }
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mac = (labels.control_mac)(token, &self.nonce, &nonce).to_vec();
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
        let peer = Peer { id, name: short(self.name), version: short(self.version) };
        Ok((Challenged { token, labels, proxy_nonce: self.nonce, nonce, peer }, v1::Challenge { nonce: nonce.to_vec(), mac }))
    }
}

impl Challenged<'_> {
    pub(crate) fn prove(self, proof: &v1::Proof) -> Result<Peer, Refusal> {
        if (self.labels.verify_proxy)(self.token, &self.proxy_nonce, &self.nonce, &proof.mac) {
            Ok(self.peer)
        } else {
            Err(Refusal::Unauthenticated)
        }
    }
}
