//! What proxies verify access tokens by: who issues them and by which keys, and what was revoked.

use async_trait::async_trait;
use clearway_config::sync::v1;

use super::{
    signing,
    store::{revocations, signing as keys},
};
use crate::{
    db::{self, Db},
    secrets::Secrets,
    sync::{self, ChangeKind, Feed},
    world::World,
};

/// The issuer and its keys; nothing before the first key was made.
#[derive(Debug, Clone)]
pub struct IssuerFeed {
    pub issuer: String,
    pub secrets: Secrets,
    /// Whether proofs must carry nonces.
    pub nonces: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct RevocationFeed;

/// Has proxies told again who issues tokens: the name is a setting, which may have changed since.
pub async fn announce(db: &Db, world: &World) -> db::Result<()> {
    if keys::all(db).await?.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    sync::record(&mut tx, ChangeKind::OauthKeys, signing::ALL, world.now_ms()).await?;
    tx.commit().await
}

impl IssuerFeed {
    async fn changes(&self, db: &Db) -> db::Result<v1::Changes> {
        if keys::all(db).await?.is_empty() {
            return Ok(v1::Changes::default());
        }
        let jwks = signing::published(db).await?.to_string().into_bytes();
        let nonce_key = if self.nonces { signing::nonce_key(db, &self.secrets).await? } else { None };
        let nonce_key = nonce_key.map(|key| key.as_ref().to_vec()).unwrap_or_default();
        let token_issuer = Some(v1::TokenIssuer { issuer: super::http::issuer_of(&self.issuer), jwks, nonce_key });
        Ok(v1::Changes { token_issuer, ..v1::Changes::default() })
    }
}

#[async_trait]
impl Feed for IssuerFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::OauthKeys
    }

    async fn load(&self, db: &Db, _: &[String]) -> db::Result<v1::Changes> {
        self.changes(db).await
    }

    async fn page(&self, db: &Db, _: Option<String>, _: u32) -> db::Result<(v1::Changes, Option<String>)> {
        Ok((self.changes(db).await?, None))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Feed for RevocationFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::OauthRevocation
    }

    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        Ok(changes(&revocations::some(db, ids).await?))
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let found = revocations::after(db, &after.unwrap_or_default(), limit).await?;
        let full = u32::try_from(found.len()).is_ok_and(|found| found == limit);
        let next = found.last().filter(|_| full).map(|last| last.id.clone());
        Ok((changes(&found), next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

fn changes(found: &[revocations::Revoked]) -> v1::Changes {
    let void = |revoked: &revocations::Revoked| v1::RevokedTokens {
        id: revoked.id.clone(),
        until: u64::try_from(revoked.until).unwrap_or(0),
    };
    v1::Changes { revoked_tokens: found.iter().map(void).collect(), ..v1::Changes::default() }
}
