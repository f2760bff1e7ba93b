//! Which route a request takes: the most specific one, as [`Precedence`] says.
//!
//! The routes of one host are a tree of whole path segments. Finding costs one hash look-up a segment,
//! however many routes there are. Where a literal and a parameter both fit, the literal's side is looked
//! through first, and the parameter's only if nothing there takes the request. The settings bound how
//! often that can happen ([`ARRANGEMENTS_MAX`]).
//!
//! The most specific host and path that there is decides about the method: where it does not allow the
//! method, a less specific route is not tried, so that a stricter route is never walked around by its
//! methods. Conditions on headers and query do fall through, to the same path's other routes first and
//! then to less specific ones: a route with conditions is only about the requests that meet them. So a
//! condition guards nothing. A client leaves a header away as it likes; what no other request may
//! reach must not be reachable by the route below either.
//!
//! [`ARRANGEMENTS_MAX`]: clearway_config::settings::gateway::claims::ARRANGEMENTS_MAX

mod build;
mod find;
mod methods;
mod precedence;
mod query;
pub mod target;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, ops::Range};

use clearway_config::settings::{
    Route,
    gateway::path::{PARAMS_MAX, PathTemplate},
};
use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use http::{HeaderMap, Method};

pub use methods::MethodSet;
pub use precedence::Precedence;

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// Names and segments stand in the tables themselves where they are short: a look-up that follows no pointer
    /// waits less for memory.
    exact_hosts: HashMap<CompactString, NodeId, FixedState>,
    /// By what stands behind `*.`.
    wildcard_hosts: HashMap<CompactString, NodeId, FixedState>,
    /// Labels behind `*.` at most.
    wildcard_labels_max: usize,
    any_host: Option<NodeId>,
    nodes: Vec<Node>,
    edges: HashTable<Edge>,
    /// The entries of every node, the most specific first.
    entries: Vec<Entry>,
    hasher: FixedState,
}

/// An index into [`Routes::nodes`].
type NodeId = u32;

/// Where a request is, having read so many segments of its path.
#[derive(Debug, Default)]
struct Node {
    literals: bool,
    param: Option<NodeId>,
    /// Routes that end here: of [`Routes::entries`].
    exact: Range<u32>,
    /// Routes for this and everything below.
    prefix: Range<u32>,
}

/// A literal segment, from one node to the next.
#[derive(Debug)]
struct Edge {
    from: NodeId,
    to: NodeId,
    segment: CompactString,
}

/// A route at its node.
#[derive(Debug, Clone, Copy)]
struct Entry {
    route: u32,
    methods: MethodSet,
    conditional: bool,
}

/// What of a request decides about its route.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// Canonical, as is the path.
    pub host: &'r str,
    pub path: &'r str,
    pub method: &'r Method,
    /// Without the `?`.
    pub query: Option<&'r str>,
    pub headers: &'r HeaderMap,
    /// Of a CORS preflight: the names of the headers that the request itself is going to carry. A condition on one
    /// of these is taken as met, since its value is not known yet; the request itself is looked at again.
    pub announced: Option<&'r [u8]>,
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub struct MatchedRoute<'r> {
    /// Its place in [`clearway_config::settings::Gateway::routes`].
    pub index: usize,
    pub route: &'r Route,
    pub params: Params,
    /// Bytes of the request's path that the route's path stands for, parameters of segments included.
    matched_bytes: u32,
}

/// The parameters of a matched path, as places in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Params {
    places: [(u32, u32); PARAMS_MAX],
    len: u8,
}

impl Params {
    /// In the order of the path; `path` is the one that was matched.
    pub fn get<'p>(&self, n: usize, path: &'p str) -> Option<&'p str> {
        let &(start, end) = self.places[..usize::from(self.len)].get(n)?;
        path.get(start as usize..end as usize)
    }

    fn push(&mut self, start: usize, end: usize) {
        // Settings bound the parameters, and every server the path.
        if let (Some(place), Ok(start), Ok(end)) =
            (self.places.get_mut(usize::from(self.len)), u32::try_from(start), u32::try_from(end))
        {
            *place = (start, end);
            self.len += 1;
        }
    }

    fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}

impl MatchedRoute<'_> {
    /// A parameter of the path as the request spells it.
    pub fn param<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let n = self.route.path.param_names().position(|param| param == name)?;
        self.params.get(n, path)
    }

    /// The path to forward: with another in the place of the route's own, where the route says so.
    pub fn forwarded_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let rest = || path.get(self.matched_bytes as usize..).unwrap_or_default();
        match &self.route.rewrite.path {
            None => Cow::Borrowed(path),
            Some(template) if is_root(template) => Cow::Borrowed(if rest().is_empty() { "/" } else { rest() }),
            Some(template) => Cow::Owned(target::fill(template, &self.params, path, rest())),
        }
    }
}

fn is_root(template: &PathTemplate) -> bool {
    matches!(template.parts.as_slice(), [clearway_config::settings::gateway::path::PathPart::Text(text)] if text == "/")
}
