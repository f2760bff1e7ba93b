//! Certificates as the proxies hold them: the key opened, for a stream that is between us alone.

use async_trait::async_trait;
use clearway_config::sync::v1;

use super::{KEY, store};
use crate::{
    db::{self, Db},
    http::Paging,
    secrets::Secrets,
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone)]
pub struct CertificateFeed {
    pub secrets: Secrets,
}

#[async_trait]
impl Feed for CertificateFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Certificate
    }

    /// Those that are gone are named as removed.
    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        let found = store::some(db, ids).await?;
        let gone = ids.iter().filter(|id| !found.iter().any(|stored| stored.name == **id)).cloned().collect();
        Ok(v1::Changes { removed_certificates: gone, ..self.changes(found) })
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let page = store::list(db, Paging { limit: limit.min(PAGE_ROWS_MAX), offset: 0, cursor: after }).await?;
        Ok((self.changes(page.items), page.next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

/// Chains are long: so many fit into a message with room to spare.
const PAGE_ROWS_MAX: u32 = 32;

impl CertificateFeed {
    fn changes(&self, found: Vec<store::Stored>) -> v1::Changes {
        let certificate = |stored: store::Stored| {
            let key = match self.secrets.open(KEY, &stored.name, &stored.sealed_key) {
                Ok(key) => key.to_vec(),
                Err(why) => {
                    // Without a key it cannot be shown; the proxy says so, and goes on with all others.
                    tracing::error!(certificate.name = stored.name, error.cause = %why, "a certificate's key cannot be read");
                    Vec::new()
                }
            };
            v1::Certificate { name: stored.name, chain: stored.chain.into_bytes(), key, sealed_key: Vec::new() }
        };
        v1::Changes { certificates: found.into_iter().map(certificate).collect(), ..v1::Changes::default() }
    }
}
