//! What "the most specific route" means, in one place.

use clearway_config::settings::{
    Route,
    gateway::{
        host::HostPattern,
        path::{PathMatch, SEGMENTS_MAX, Segment},
    },
};

/// How specifically a route speaks of a request that it takes; the greatest wins. Fields in the order in which they
/// count:
///
/// 1. The host: an exact name, then the wildcard with the longest name, then every host.
/// 2. The path, segment by segment from the left: a literal comes before a parameter, and both before a path that has
///    ended; where both have ended, `exact` comes before `prefix`.
/// 3. The method: a route that names it comes before one for all.
/// 4. The number of conditions on headers and query.
///
/// Two routes of equal precedence that could take the same request are refused by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    host: HostRank,
    path: PathRank,
    names_methods: bool,
    conditions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Any,
    /// Characters of the name.
    Wildcard(usize),
    Exact,
}

/// Two bits a segment, the first segment in the highest: so numbers compare as paths do, from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PathRank(u128);

const LITERAL: u128 = 3;
const PARAM: u128 = 2;
const EXACT_END: u128 = 1;
const PREFIX_END: u128 = 0;

impl Precedence {
    /// `host` is the one of the route's hosts that matches.
    pub fn of(route: &Route, host: &HostPattern) -> Self {
        Self {
            host: HostRank::of(host),
            path: PathRank::of(route),
            names_methods: !route.methods.is_empty(),
            conditions: route.conditions.len(),
        }
    }
}

impl HostRank {
    fn of(host: &HostPattern) -> Self {
        match host {
            HostPattern::Any => Self::Any,
            HostPattern::Wildcard(below) => Self::Wildcard(below.len()),
            HostPattern::Exact(_) => Self::Exact,
        }
    }
}

impl PathRank {
    fn of(route: &Route) -> Self {
        const { assert!(SEGMENTS_MAX < u128::BITS as usize / 2, "every segment and the end have their two bits") };
        let end = match route.path.kind {
            PathMatch::Exact => EXACT_END,
            PathMatch::Prefix => PREFIX_END,
        };
        let segments = route.path.segments().map(|segment| match segment {
            Segment::Literal(_) => LITERAL,
            Segment::Param(_) => PARAM,
        });
        let places = segments.chain([end]).zip((0..u128::BITS / 2).rev());
        Self(places.fold(0, |rank, (bits, place)| rank | bits << (2 * place)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::gateway;
    use super::*;

    #[test]
    fn precedence_is_host_then_path_then_method_then_conditions() {
        // From the most specific down.
        let gateway = gateway(&[
            r#"host = "a.b.example" path = "/""#,
            r#"host = "*.b.example" path = "/x/y" methods = ["GET"] query = { q = "*" }"#,
            r#"host = "*.example" path = "/x/y/z""#,
            r#"path = "/x/y/z""#,
            r#"path = "/x/y/{z}" path_match = "exact""#,
            r#"path = "/x/y/{z}" methods = ["GET"] query = { q = "*" }"#,
            r#"path = "/x/y/{z}" methods = ["GET"]"#,
            r#"path = "/x/y/{z}" query = { q = "*" } headers = { x = "*" }"#,
            r#"path = "/x/y/{z}" headers = { x = "*" }"#,
            r#"path = "/x/y/{z}""#,
            r#"path = "/x/y" path_match = "exact""#,
            r#"path = "/x/y""#,
            r#"path = "/x/{y}/z""#,
            r#"path = "/x/{y}" path_match = "exact""#,
            r#"path = "/x""#,
            r#"path = "/{x}/y""#,
            r#"path = "/" path_match = "exact""#,
            r#"path = "/""#,
        ]);
        let ranks: Vec<_> = gateway.routes.iter().map(|route| Precedence::of(route, &route.hosts[0])).collect();
        for (n, pair) in ranks.windows(2).enumerate() {
            assert!(pair[0] > pair[1], "route {n} before route {}", n + 1);
        }
    }
}
