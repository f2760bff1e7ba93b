//! Putting the trees together.

use std::{collections::HashMap, hash::BuildHasher};

use clearway_config::settings::{
    Gateway, Route,
    gateway::{
        host::HostPattern,
        path::{PathMatch, Segment},
    },
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{Edge, Entry, MethodSet, Node, NodeId, Precedence, Routes};

/// A route on its way to its node.
struct Claim {
    node: NodeId,
    kind: PathMatch,
    precedence: Precedence,
    route: u32,
}

impl Routes {
    pub fn new(gateway: &Gateway) -> Self {
        let mut routes = Self {
            routes: gateway.routes.clone(),
            exact_hosts: HashMap::default(),
            wildcard_hosts: HashMap::default(),
            wildcard_labels_max: 0,
            any_host: None,
            nodes: Vec::with_capacity(gateway.routes.len()),
            edges: HashTable::with_capacity(gateway.routes.len()),
            entries: Vec::with_capacity(gateway.routes.len()),
            hasher: FixedState::default(),
        };
        let mut claims = Vec::with_capacity(gateway.routes.len());
        for (index, route) in gateway.routes.iter().enumerate() {
            let index = u32::try_from(index).expect("settings bound the number of routes");
            for host in &route.hosts {
                let node = routes.grow(host, route);
                claims.push(Claim { node, kind: route.path.kind, precedence: Precedence::of(route, host), route: index });
            }
        }
        routes.settle(claims);
        routes
    }

    /// The routes, as in [`Gateway::routes`].
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The node of a route's host and path, made where it is not there yet.
    fn grow(&mut self, host: &HostPattern, route: &Route) -> NodeId {
        let mut node = self.root(host);
        for segment in route.path.segments() {
            node = match segment {
                Segment::Param(_) => match self.nodes[node as usize].param {
                    Some(next) => next,
                    None => {
                        let next = self.plant();
                        self.nodes[node as usize].param = Some(next);
                        next
                    }
                },
                Segment::Literal(text) => self.next(node, text.as_bytes()).unwrap_or_else(|| self.branch(node, text)),
            };
        }
        node
    }

    fn root(&mut self, host: &HostPattern) -> NodeId {
        let (hosts, name) = match host {
            HostPattern::Any => {
                let root = self.any_host.unwrap_or_else(|| self.plant());
                self.any_host = Some(root);
                return root;
            }
            HostPattern::Exact(name) => (&self.exact_hosts, name),
            HostPattern::Wildcard(name) => {
                self.wildcard_labels_max = self.wildcard_labels_max.max(name.split('.').count());
                (&self.wildcard_hosts, name)
            }
        };
        if let Some(&root) = hosts.get(name.as_str()) {
            return root;
        }
        let root = self.plant();
        let hosts = match host {
            HostPattern::Wildcard(_) => &mut self.wildcard_hosts,
            HostPattern::Any | HostPattern::Exact(_) => &mut self.exact_hosts,
        };
        hosts.insert(name.as_str().into(), root);
        root
    }

    fn branch(&mut self, from: NodeId, segment: &str) -> NodeId {
        let to = self.plant();
        let edge = Edge { from, to, segment: segment.into() };
        let hasher = &self.hasher;
        let hash = |edge: &Edge| hasher.hash_one((edge.from, edge.segment.as_bytes()));
        self.edges.insert_unique(hash(&edge), edge, hash);
        self.nodes[from as usize].literals = true;
        to
    }

    fn plant(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        NodeId::try_from(self.nodes.len() - 1).expect("settings bound the routes, their hosts and the length of their paths")
    }

    /// Gives every node its routes, the most specific first.
    fn settle(&mut self, mut claims: Vec<Claim>) {
        let is_prefix = |claim: &Claim| claim.kind == PathMatch::Prefix;
        claims.sort_unstable_by_key(|c| (c.node, is_prefix(c), std::cmp::Reverse(c.precedence), c.route));
        for claims in claims.chunk_by(|one, other| (one.node, one.kind) == (other.node, other.kind)) {
            let start = self.entries.len();
            self.entries.extend(claims.iter().map(|claim| {
                let route = &self.routes[claim.route as usize];
                Entry { route: claim.route, methods: MethodSet::of(&route.methods), conditional: !route.conditions.is_empty() }
            }));
            let end = self.entries.len();
            let bound = |n| u32::try_from(n).expect("settings bound the routes and their hosts");
            let node = &mut self.nodes[claims[0].node as usize];
            *(if is_prefix(&claims[0]) { &mut node.prefix } else { &mut node.exact }) = bound(start)..bound(end);
        }
    }
}
