//! Names to addresses, by the system's resolver; what comes back is not believed, see [`clearway_filters::address`].
//!
//! Nothing is remembered: every new connection asks. But those who ask for the same name at the same time ask once. A
//! look-up holds a thread for as long as it takes, and a name whose servers are silent would otherwise take one for each
//! attempt, also of those that have been given up.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

/// Addresses of a name that are tried at most.
const ADDRESSES_MAX: usize = 8;

type Lookup = dyn Fn(Arc<str>, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;
type Name = (Arc<str>, u16);
type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type Asked = Arc<Mutex<HashMap<Name, Shared<BoxFuture<'static, Found>>>>>;

/// How names are resolved.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    /// Look-ups under way.
    asked: Asked,
}

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
        Self { lookup: Arc::new(lookup), asked: Asked::default() }
    }

    /// What `host` leads to now; an address leads to itself.
    pub(crate) async fn resolve(&self, host: &Arc<str>, port: u16) -> Found {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([(address, port).into()].into());
        }
        self.ask((host.clone(), port)).await
    }

    fn ask(&self, name: Name) -> Shared<BoxFuture<'static, Found>> {
        let mut asked = self.asked.lock();
        if let Some(asking) = asked.get(&name) {
            return asking.clone();
        }
        let under_way = UnderWay { asked: self.asked.clone(), name: name.clone() };
        let answer = (self.lookup)(name.0.clone(), name.1);
        // Goes on when nobody waits for it any more.
        let task = tokio::spawn(async move {
            let _under_way = under_way;
            answer.await
        });
        let found = async move {
            let found = task.await.unwrap_or_else(|e| Err(io::Error::other(e)));
            found.map(Into::into).map_err(Arc::new)
        };
        let asking = found.boxed().shared();
        asked.insert(name, asking.clone());
        asking
    }
}

/// A look-up that others may join, until this is dropped.
struct UnderWay {
    asked: Asked,
    name: Name,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.asked.lock().remove(&self.name);
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}
