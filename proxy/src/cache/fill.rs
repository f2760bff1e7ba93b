//! An answer on its way into the store. Only a whole one gets there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta,
        key::CacheHashKey as _,
        storage::{HandleMiss, MissFinishType},
    },
};

use super::store::{Asking, Entry, Store, asking};
use crate::gateway::Held;

pub(super) struct Fill {
    store: &'static Store,
    id: [u8; 16],
    asking: Arc<Asking>,
    entry: Entry,
    /// What the answer says its length is.
    length: Option<u64>,
    body: BytesMut,
    held: Held,
}

impl Fill {
    pub(super) fn new(store: &'static Store, key: &CacheKey, meta: &CacheMeta) -> Result<Self> {
        let asking = asking(key)?;
        let length = meta.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Self {
            store,
            id: key.primary_bin(),
            entry: Entry::new(key, asking.route(), meta, Bytes::new()),
            asking,
            length,
            body: BytesMut::new(),
            held: store.bodies.none(),
        })
    }
}

#[async_trait]
impl HandleMiss for Fill {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        if !self.held.add(data.len()) {
            return Error::e_explain(ErrorType::InternalError, "no room for another body");
        }
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let Self { store, id, asking, mut entry, length, body, held } = *self;
        if length.is_some_and(|length| length != body.len() as u64) {
            return Error::e_explain(ErrorType::InternalError, "a body that is not whole");
        }
        // A copy without what was reserved ahead.
        entry.complete(Bytes::copy_from_slice(&body))?;
        drop(held);
        match store.keep(id, &asking, entry) {
            Some(weight) => Ok(MissFinishType::Created(weight)),
            None => Error::e_explain(ErrorType::InternalError, "it has been forgotten meanwhile"),
        }
    }
}
