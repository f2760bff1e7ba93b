//! Names to addresses, by the system's resolver; what comes back is not believed, see [`super::guard`].

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;

/// Addresses of a name that are tried at most.
const ADDRESSES_MAX: usize = 8;

type Lookup = dyn Fn(Arc<str>, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// How names are resolved.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Lookup>);

impl Resolver {
    /// As every program on this machine does it.
    pub(crate) fn of_the_system() -> Self {
        Self::by(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((&*host, port)).await?.take(ADDRESSES_MAX).collect()) })
        })
    }

    pub(crate) fn by(
        lookup: impl Fn(Arc<str>, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }

    /// What `host` leads to now; an address leads to itself.
    pub(crate) async fn resolve(&self, host: &Arc<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(vec![(address, port).into()]),
            Err(_) => (self.0)(host.clone(), port).await,
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}
