//! The store in Redis 7 or later, or what speaks its protocol: one server, one that sentinels name, or a cluster.
//!
//! Every call is one script, named by its digest and sent whole where the server does not know it. A script touches keys of
//! one hash tag only: `ratelimit:{q7}:…` for the accounts of bucket 7 and their keys, `ratelimit:{fleet}:members` for the
//! beats. All of them expire by themselves.
//!
//! A server must not evict keys (`maxmemory-policy noeviction`): a count that is evicted is a budget that opens again. And
//! a replica that takes over may lack what its master acknowledged last; the scripts see that it is another server, and
//! wait for the nodes to say what they hold.

mod keys;
mod link;
mod script;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use ::redis::{Cmd, Value, cmd};
use async_trait::async_trait;
use clearway_config::settings::process::RedisSettings;
use clearway_filters::lease::{Answer, Beat, Beaten, NodeId, Policy, Restore, Restored, SubjectId, Take, call::Long};

use self::{
    keys::Keys,
    link::{Line, Place},
    script::Script,
};
use super::{LeaseStore, StoreError};

/// Settings that a store cannot be had by.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("redis is not set")]
    NotSet,
    #[error("{} cannot be read", file.display())]
    File {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("redis settings are not usable")]
    Settings(#[source] ::redis::RedisError),
}

#[derive(Debug)]
pub struct RedisStore {
    line: Line,
    keys: Keys,
    policy: Policy,
    call_timeout: Duration,
    take: Script,
    restore: Script,
    beat: Script,
}

impl RedisStore {
    /// Reads the files that the settings name. Connects with the first call.
    pub fn open(settings: &RedisSettings, policy: Policy) -> Result<Self, OpenError> {
        let place = Place::of(settings)?;
        Ok(Self {
            line: Line::new(place, settings.connect_timeout),
            keys: Keys::new(&settings.name_prefix),
            policy,
            call_timeout: settings.call_timeout,
            take: Script::take(),
            restore: Script::restore(),
            beat: Script::beat(),
        })
    }

    /// What a node may admit of a window in all, as it stands in Redis; 0 where nothing does.
    pub(crate) async fn noted(
        &self,
        node: NodeId,
        bucket: u16,
        subject: SubjectId,
        long: Long,
        window: u32,
    ) -> Result<u64, StoreError> {
        let mut cmd = cmd("HGET");
        cmd.arg(self.keys.long(bucket, subject, long, window)).arg(node.to_string());
        let value = self.line.call(&cmd, self.call_timeout).await?.map_err(|e| StoreError::Refused(e.to_string()))?;
        let text: Option<String> = ::redis::from_redis_value(value).map_err(|_| StoreError::Malformed("it is no text"))?;
        let granted = text.as_deref().map_or(Some("0"), |text| text.split(' ').next());
        granted.and_then(|granted| granted.parse().ok()).ok_or(StoreError::Malformed("no number of requests"))
    }

    /// Carries a script out with what `fill` adds: the number of keys, the keys and the arguments.
    async fn run(&self, script: &Script, fill: impl Fn(&mut Cmd)) -> Result<Value, StoreError> {
        let mut by_digest = cmd("EVALSHA");
        by_digest.arg(script.digest());
        fill(&mut by_digest);
        match self.line.call(&by_digest, self.call_timeout).await? {
            Ok(value) => Ok(value),
            Err(e) if e.kind() == ::redis::ErrorKind::Server(::redis::ServerErrorKind::NoScript) => {
                // Not carried out. Sent whole it is known from then on.
                let mut whole = cmd("EVAL");
                whole.arg(script.text());
                fill(&mut whole);
                self.line.call(&whole, self.call_timeout).await?.map_err(|e| StoreError::Refused(e.to_string()))
            }
            Err(e) => Err(StoreError::Refused(e.to_string())),
        }
    }
}

#[async_trait]
impl LeaseStore for RedisStore {
    async fn take(&self, take: &Take) -> Result<Answer, StoreError> {
        let value = self.run(&self.take, |cmd| script::fill_take(cmd, &self.keys, &self.policy, take)).await?;
        script::read_answer(value, take)
    }

    async fn restore(&self, restore: &Restore) -> Result<Restored, StoreError> {
        let value = self.run(&self.restore, |cmd| script::fill_restore(cmd, &self.keys, &self.policy, restore)).await?;
        script::read_restored(value)
    }

    async fn beat(&self, beat: &Beat) -> Result<Beaten, StoreError> {
        let value = self.run(&self.beat, |cmd| script::fill_beat(cmd, &self.keys, &self.policy, beat)).await?;
        script::read_beaten(value)
    }
}
