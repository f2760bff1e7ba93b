//! Looking for a request's route.

use std::{hash::BuildHasher, ops::Range};

use clearway_config::settings::gateway::conditions::{Conditions, Wanted};
use http::HeaderName;

use super::{Asked, Entry, MatchedRoute, MethodSet, NodeId, Params, Routes, methods::Allowed, query};
use crate::{Reject, request::path::segment_as_read};

/// A way down the tree, as far as it has got.
struct Search<'s, 'r> {
    routes: &'s Routes,
    asked: &'r Asked<'r>,
    params: Params,
}

/// The routes that are about the request, at the most specific host and path: they decide.
type Decided<'s> = Result<MatchedRoute<'s>, Reject>;

impl Routes {
    /// The route that takes a request. Allocates nothing, but where the path holds escapes.
    pub fn find(&self, asked: &Asked<'_>) -> Result<MatchedRoute<'_>, Reject> {
        let mut search = Search { routes: self, asked, params: Params::default() };
        let exact = self.exact_hosts.get(asked.host).copied();
        let found = exact.and_then(|root| search.below(root, 0));
        let found = found.or_else(|| self.wildcards(asked.host).find_map(|root| search.below(root, 0)));
        let found = found.or_else(|| self.any_host.and_then(|root| search.below(root, 0)));
        found.unwrap_or(Err(Reject::RouteNotFound))
    }

    /// The roots of the wildcards for a host, the longest first.
    fn wildcards(&self, host: &str) -> impl Iterator<Item = NodeId> {
        // Longer ones than there are need no look-up; a host of a hundred labels is no more work than another.
        let labels = if self.wildcard_labels_max == 0 { 0 } else { host.bytes().filter(|&b| b == b'.').count() };
        let mut below = host;
        (0..labels).rev().filter_map(move |left| {
            below = below.split_once('.')?.1;
            (left < self.wildcard_labels_max).then(|| self.wildcard_hosts.get(below).copied()).flatten()
        })
    }

    pub(super) fn next(&self, from: NodeId, segment: &[u8]) -> Option<NodeId> {
        let hash = self.hasher.hash_one((from, segment));
        self.edges.find(hash, |edge| edge.from == from && edge.segment.as_bytes() == segment).map(|edge| edge.to)
    }
}

impl<'s> Search<'s, '_> {
    /// Looks through what lies at and below a node, the most specific first. `at` is where the rest of the path
    /// begins: with a slash, or at the end. As deep as the routes go, whatever the path.
    fn below(&mut self, id: NodeId, at: usize) -> Option<Decided<'s>> {
        let node = &self.routes.nodes[id as usize];
        let rest = self.asked.path.get(at + 1..);
        let mut ends = true;
        if let Some(rest) = rest {
            let segment = rest.split('/').next().unwrap_or_default();
            let end = at + 1 + segment.len();
            let read = segment_as_read(segment);
            // A slash at the end is no segment.
            ends = read.is_empty() && segment.len() == rest.len();
            if node.literals
                && let Some(next) = self.routes.next(id, &read)
                && let Some(decided) = self.below(next, end)
            {
                return Some(decided);
            }
            if let Some(next) = node.param.filter(|_| !read.is_empty()) {
                self.params.push(at + 1, end);
                if let Some(decided) = self.below(next, end) {
                    return Some(decided);
                }
                self.params.pop();
            }
        }
        if ends && let Some(decided) = self.choose(&node.exact, at) {
            return Some(decided);
        }
        self.choose(&node.prefix, at)
    }

    /// Among the routes of one host and path: the first that takes the request. `None` where none is about it.
    fn choose(&self, entries: &Range<u32>, at: usize) -> Option<Decided<'s>> {
        let mut allowed: Option<MethodSet> = None;
        for entry in self.routes.entries.get(entries.start as usize..entries.end as usize)? {
            let index = entry.route as usize;
            if entry.conditional && !self.meets(&self.routes.routes[index].conditions) {
                continue;
            }
            if self.allows(entry) {
                let matched_bytes = u32::try_from(at).unwrap_or(u32::MAX);
                let route = &self.routes.routes[index];
                return Some(Ok(MatchedRoute { index, route, params: self.params, matched_bytes }));
            }
            allowed = Some(allowed.unwrap_or_default().and(entry.methods));
        }
        allowed.map(|methods| Err(Reject::MethodNotAllowed(methods)))
    }

    fn allows(&self, entry: &Entry) -> bool {
        match entry.methods.allows(self.asked.method) {
            Allowed::Yes => true,
            Allowed::No => false,
            Allowed::Ask => self.routes.routes[entry.route as usize].methods.contains(self.asked.method),
        }
    }

    fn meets(&self, conditions: &Conditions) -> bool {
        let headers = match self.asked.announced {
            None => conditions.hold_for_headers(self.asked.headers),
            Some(names) => conditions.headers().iter().all(|(name, _)| is_announced(name, names)),
        };
        let holds = |(name, wanted): &(String, Wanted)| query::holds(self.asked.query.unwrap_or_default(), name, wanted);
        headers && conditions.query().iter().all(holds)
    }
}

/// Whether a comma-separated list has the name.
fn is_announced(name: &HeaderName, list: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}
