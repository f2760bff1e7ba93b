//! Which route a request takes. A tree of whole path segments for every host: finding costs one hash
//! look-up a segment, however many routes there are.
//!
//! The most specific host and path decide alone: where they do not allow the method, a less specific
//! route is not tried. A route that is stricter than the one above it is never walked around.

use std::{collections::HashMap, hash::BuildHasher};

use clearway_config::settings::{Gateway, Route};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use http::Method;

use crate::{Reject, request::path::segment_as_read};

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// Roots of the trees of routes that name a host.
    hosts: HashMap<String, Node, FixedState>,
    /// For every node, its routes; they differ in their methods.
    nodes: Vec<Vec<u32>>,
    edges: HashTable<Edge>,
    hasher: FixedState,
}

/// A node of a tree: an index into [`Routes::nodes`].
type Node = u32;

/// The root of the tree for every host.
const ANY_HOST: Node = 0;

#[derive(Debug)]
struct Edge {
    from: Node,
    segment: Box<[u8]>,
    to: Node,
}

/// How specifically a route speaks of a request; the greatest wins. In this order: a route that names
/// the host comes before every one that does not, then the longer path comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    host: HostMatch,
    segments: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostMatch {
    Any,
    Exact,
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub struct MatchedRoute<'r> {
    /// Its place in [`Gateway::routes`].
    pub index: usize,
    pub route: &'r Route,
    /// Bytes of the request's path that the route's path stands for, parameters of segments included.
    matched_bytes: usize,
}

impl MatchedRoute<'_> {
    /// The path to forward: without the route's own, where the route strips it.
    pub fn forwarded_path<'p>(&self, path: &'p str) -> &'p str {
        if !self.route.strip_prefix {
            return path;
        }
        match &path[self.matched_bytes..] {
            "" => "/",
            rest => rest,
        }
    }
}

impl Routes {
    pub fn new(gateway: &Gateway) -> Self {
        let mut routes = Self {
            routes: gateway.routes.clone(),
            hosts: HashMap::default(),
            nodes: vec![Vec::new()],
            edges: HashTable::with_capacity(gateway.routes.len()),
            hasher: FixedState::default(),
        };
        for (index, route) in gateway.routes.iter().enumerate() {
            let index = u32::try_from(index).expect("settings bound the number of routes");
            let node = routes.grow(route);
            routes.nodes[node as usize].push(index);
        }
        routes
    }

    /// The routes, as in [`Gateway::routes`].
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The route for a canonical host and path.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Result<MatchedRoute<'_>, Reject> {
        let exact = self.hosts.get(host).map(|&root| (HostMatch::Exact, root));
        let (_, node, matched_bytes) = exact
            .into_iter()
            .chain([(HostMatch::Any, ANY_HOST)])
            .filter_map(|(host, root)| self.deepest(host, root, path))
            .max_by_key(|&(precedence, ..)| precedence)
            .ok_or(Reject::RouteNotFound)?;
        // TRACE would read the gateway's own headers back to the client, and CONNECT opens a tunnel: only by name.
        let ordinary = !matches!(*method, Method::TRACE | Method::CONNECT);
        let allows = |route: &Route| (ordinary && route.methods.is_empty()) || route.methods.contains(method);
        // A route that names the method comes before one that takes them all.
        let candidates = || self.nodes[node as usize].iter().map(|&index| (index as usize, &self.routes[index as usize]));
        let (index, route) = candidates()
            .find(|(_, route)| route.methods.contains(method))
            .or_else(|| candidates().find(|(_, route)| allows(route)))
            .ok_or(Reject::MethodNotAllowed)?;
        Ok(MatchedRoute { index, route, matched_bytes: if route.path == "/" { 0 } else { matched_bytes } })
    }

    /// The last node on the way of `path` that has routes, and how many bytes of `path` lead to it.
    fn deepest(&self, host: HostMatch, root: Node, path: &str) -> Option<(Precedence, Node, usize)> {
        let mut deepest = None;
        let (mut node, mut bytes) = (root, 0);
        let mut segments = path.split('/').skip(1).enumerate();
        loop {
            if !self.nodes[node as usize].is_empty() {
                let segments = segments.clone().next().map_or(usize::MAX, |(n, _)| n);
                deepest = Some((Precedence { host, segments }, node, bytes));
            }
            let Some((_, segment)) = segments.next() else { return deepest };
            let Some(next) = self.next(node, &segment_as_read(segment)) else { return deepest };
            node = next;
            bytes += 1 + segment.len();
        }
    }

    fn next(&self, from: Node, segment: &[u8]) -> Option<Node> {
        let hash = self.hasher.hash_one((from, segment));
        self.edges.find(hash, |edge| edge.from == from && *edge.segment == *segment).map(|edge| edge.to)
    }

    /// The node of a route's host and path, made where it is not there yet.
    fn grow(&mut self, route: &Route) -> Node {
        let mut node = match &route.host {
            None => ANY_HOST,
            Some(host) => match self.hosts.get(host) {
                Some(&root) => root,
                None => {
                    let root = self.plant();
                    self.hosts.insert(host.clone(), root);
                    root
                }
            },
        };
        for segment in route.path.split('/').filter(|segment| !segment.is_empty()) {
            node = self.next(node, segment.as_bytes()).unwrap_or_else(|| {
                let to = self.plant();
                let edge = Edge { from: node, segment: segment.as_bytes().into(), to };
                let hasher = &self.hasher;
                let hash = |edge: &Edge| hasher.hash_one((edge.from, &*edge.segment));
                self.edges.insert_unique(hash(&edge), edge, hash);
                to
            });
        }
        node
    }

    fn plant(&mut self) -> Node {
        self.nodes.push(Vec::new());
        Node::try_from(self.nodes.len() - 1).expect("settings bound the number of routes and the length of their paths")
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::{Source, UpstreamAddress};

    use super::*;

    fn routes(table: &[(&str, &str, &str, &str)]) -> Routes {
        let mut text = String::new();
        for (name, host, path, methods) in table {
            text += &format!("[[routes]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"control\"\nauth = \"open\"\n");
            text += &format!("strip_prefix = true\nmethods = [{methods}]\n");
            if !host.is_empty() {
                text += &format!("host = \"{host}\"\n");
            }
        }
        let control = UpstreamAddress::parse("http://127.0.0.1:1").unwrap();
        Routes::new(&Gateway::resolve(&[Source::new("gateway.toml", text)], &control).unwrap())
    }

    fn found<'r>(routes: &'r Routes, host: &str, path: &str) -> Option<&'r str> {
        routes.find(host, path, &Method::GET).ok().map(|found| found.route.name.as_str())
    }

    #[test]
    fn the_most_specific_route_wins_a_host_before_a_path() {
        let routes = routes(&[
            ("root", "", "/", ""),
            ("orders", "", "/orders", ""),
            ("open-orders", "", "/orders/open", ""),
            ("a", "a.example", "/", ""),
            ("b-orders", "b.example", "/orders", ""),
        ]);
        for (host, path, name) in [
            ("x", "/", "root"),
            ("x", "/other", "root"),
            ("x", "/orders", "orders"),
            ("x", "/orders/", "orders"),
            ("x", "/ordersx", "root"),
            ("x", "/orders/17/items", "orders"),
            ("x", "/orders/open", "open-orders"),
            ("x", "/orders/open/1", "open-orders"),
            ("a.example", "/orders/open", "a"),
            ("b.example", "/orders/open", "b-orders"),
            ("b.example", "/other", "root"),
        ] {
            assert_eq!(found(&routes, host, path), Some(name), "{host}{path}");
        }
    }

    #[test]
    fn precedence_is_host_then_length() {
        let precedence = |host, segments| Precedence { host, segments };
        assert!(precedence(HostMatch::Exact, 0) > precedence(HostMatch::Any, 9));
        assert!(precedence(HostMatch::Any, 2) > precedence(HostMatch::Any, 1));
    }

    #[test]
    fn no_spelling_of_a_path_walks_around_its_route() {
        let routes = routes(&[("root", "", "/", ""), ("admin", "", "/admin:x/y", "")]);
        for path in ["/admin:x/y", "/admin%3Ax/y", "/admin:x;v=1/y", "/admin:x;/y;", "/admin%3Ax%3Bv/y/z", "/admin:x/y/"] {
            assert_eq!(found(&routes, "", path), Some("admin"), "{path}");
        }
        for path in ["/admin:x", "/admin/y", "/admin:X/y", "/admin%253Ax/y"] {
            assert_eq!(found(&routes, "", path), Some("root"), "{path}");
        }
    }

    #[test]
    fn trace_and_connect_are_only_for_routes_that_name_them() {
        let routes = routes(&[("all", "", "/", ""), ("named", "", "/named", "\"TRACE\"")]);
        for method in [Method::TRACE, Method::CONNECT] {
            assert_eq!(routes.find("", "/a", &method).map(|found| found.index), Err(Reject::MethodNotAllowed));
        }
        assert_eq!(routes.find("", "/named", &Method::TRACE).map(|found| found.index), Ok(1));
    }

    #[test]
    fn a_method_that_the_most_specific_route_refuses_is_not_tried_on_another() {
        let routes = routes(&[
            ("root", "", "/", ""),
            ("read", "", "/a", "\"GET\", \"HEAD\""),
            ("write", "", "/a", "\"POST\""),
            ("any", "", "/b", ""),
            ("b-get", "", "/b", "\"GET\""),
        ]);
        let name = |path: &str, method: &Method| routes.find("", path, method).map(|found| found.route.name.clone());
        assert_eq!(name("/a", &Method::POST).as_deref(), Ok("write"));
        assert_eq!(name("/a", &Method::DELETE), Err(Reject::MethodNotAllowed));
        assert_eq!((name("/b", &Method::GET).as_deref(), name("/b", &Method::PUT).as_deref()), (Ok("b-get"), Ok("any")));
    }

    #[test]
    fn without_a_matching_route_there_is_none() {
        let routes = routes(&[("a", "a.example", "/a", "")]);
        for (host, path) in [("a.example", "/"), ("a.example", "/b"), ("b.example", "/a"), ("", "/a")] {
            assert!(matches!(routes.find(host, path, &Method::GET), Err(Reject::RouteNotFound)), "{host}{path}");
        }
    }

    #[test]
    fn a_stripped_prefix_leaves_a_path() {
        let routes = routes(&[("orders", "", "/v1/orders", ""), ("root", "", "/", "")]);
        for (path, forwarded) in [
            ("/v1/orders", "/"),
            ("/v1/orders/", "/"),
            ("/v1/orders/17", "/17"),
            ("/v1;x=2/orders;y/17;z", "/17;z"),
            ("/other/x", "/other/x"),
        ] {
            assert_eq!(routes.find("", path, &Method::GET).unwrap().forwarded_path(path), forwarded, "{path}");
        }
    }
}
