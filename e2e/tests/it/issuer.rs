//! An issuer of tokens: serves its keys over HTTP, counts who asks for them, changes them, and breaks.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) jwks_url: String,
    document: Arc<Mutex<String>>,
    fetches: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed")
}

/// A token with the key of `seed`, which is also its `kid`.
pub(crate) fn token(seed: u8, claims: &Value) -> String {
    token_named(seed, &seed.to_string(), claims)
}

pub(crate) fn token_named(seed: u8, kid: &str, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(json!({ "alg": "EdDSA", "kid": kid }).to_string()), b64(claims.to_string()));
    format!("{signed}.{}", b64(pair(seed).sign(signed.as_bytes())))
}

impl Issuer {
    /// Serves the keys of `seeds`.
    pub(crate) async fn start(seeds: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let issuer = Self {
            jwks_url: format!("http://{}/keys", listener.local_addr().expect("a bound port")),
            document: Arc::default(),
            fetches: Arc::default(),
            broken: Arc::default(),
        };
        issuer.publish(seeds);
        let serving = issuer.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let _ = stream.write_all(serving.answer().as_bytes()).await;
                });
            }
        });
        issuer
    }

    fn answer(&self) -> String {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let (status, body) = if self.broken.load(Ordering::SeqCst) {
            ("503 Service Unavailable", String::new())
        } else {
            ("200 OK", self.document.lock().expect("no test panics while holding it").clone())
        };
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// Serves these keys from now on.
    pub(crate) fn publish(&self, seeds: &[u8]) {
        let key = |seed: &u8| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": seed.to_string(), "x": b64(pair(*seed).public_key()) });
        let document = json!({ "keys": seeds.iter().map(key).collect::<Vec<_>>() }).to_string();
        *self.document.lock().expect("no test panics while holding it") = document;
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}
