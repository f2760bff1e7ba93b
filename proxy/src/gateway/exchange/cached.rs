//! What an exchange has to do with the cache: where answers are, under what, and which of them it makes worthless.

use clearway_filters::cache;

use super::{Exchange, ForwardedProto};
use crate::{
    cache::{Cache, Forget},
    gateway::texts::Word,
};

impl Exchange {
    /// A request like this one, that nobody waits for and that is neither charged nor logged: decided already, it asks for
    /// what the cache is going to need.
    pub(in crate::gateway) fn shadow(&self) -> Self {
        let mut shadow = Self::begin(self.state.clone());
        shadow.table.clone_from(&self.table);
        shadow.method.clone_from(&self.method);
        shadow.texts = self.texts.clone();
        shadow.facts = self.facts.clone();
        shadow.target.clone_from(&self.target);
        shadow.tls.clone_from(&self.tls);
        shadow.forwarded_proto = self.forwarded_proto;
        shadow.trace = self.trace;
        shadow.attempts = self.attempts.anew();
        (shadow.decided, shadow.mirrored, shadow.background) = (true, true, true);
        shadow
    }

    pub(in crate::gateway) fn cache(&self) -> Cache {
        self.state.cache
    }

    /// Tells its route's definition from every other one.
    pub(in crate::gateway) fn definition(&self) -> u64 {
        self.table.as_ref().zip(self.facts.route).map_or(0, |(table, route)| table.definition(route))
    }

    pub(in crate::gateway) fn is_https(&self) -> bool {
        self.forwarded_proto == ForwardedProto::Https
    }

    /// What a request may have changed is not given out of the cache any more.
    pub(super) fn forget(&mut self, status: u16) {
        let keeps = self.table.as_ref().is_some_and(|table| table.keeps_answers());
        if !keeps || self.forgotten || self.attempts.made() == 0 || !cache::invalidates(&self.method, status) {
            return;
        }
        self.forgotten = true;
        let store = self.state.cache.store;
        let text = |word| self.texts.text(word).unwrap_or_default();
        store.forget(Forget::Resource(store.resource(text(Word::Host), text(Word::Path))));
    }
}
