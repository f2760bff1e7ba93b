//! Who takes which requests: two routes that could both take one, neither being more specific, are a mistake.

use std::collections::{HashMap, HashSet};

use super::{
    Route,
    host::HostPattern,
    path::{PathMatch, SEGMENTS_MAX},
};
use crate::settings::fault::Fault;

/// Routes that differ neither in host nor in path, but in methods and conditions, at most: they are tried one by one.
pub const ROUTES_PER_PATH_MAX: usize = 64;
/// Different sets of places in which the paths of one host have their parameters, at most. It bounds how many ways
/// there are to read one request's path, and so how long a look-up can take.
pub const ARRANGEMENTS_MAX: usize = 128;

/// What has been taken so far.
#[derive(Debug, Default)]
pub(super) struct Claims {
    paths: HashMap<(HostPattern, String, PathMatch), Vec<usize>>,
    arrangements: HashMap<HostPattern, HashSet<u64>>,
}

impl Claims {
    /// Takes `route`'s requests for it, which is going to be the next of `routes`.
    pub(super) fn take(&mut self, route: &Route, routes: &[Route]) -> Result<(), Fault> {
        let (shape, arrangement) = (route.path.shape(), route.path.arrangement());
        for host in &route.hosts {
            if arrangement != 0 {
                let arrangements = self.arrangements.entry(host.clone()).or_default();
                arrangements.insert(arrangement);
                if arrangements.len() > ARRANGEMENTS_MAX {
                    return Err(Fault::at(
                        "path",
                        format!(
                            "the routes of this host have their parameters in more than {ARRANGEMENTS_MAX} different sets of places"
                        ),
                    ));
                }
            }
            let taken = self.paths.entry((host.clone(), shape.clone(), route.path.kind)).or_default();
            if let Some(&other) = taken.iter().find(|&&other| clash(route, &routes[other])) {
                return Err(Fault::at(
                    "path",
                    format!("takes requests that route `{}` takes too, and neither is more specific", routes[other].name),
                ));
            }
            if taken.len() == ROUTES_PER_PATH_MAX {
                return Err(Fault::at("path", format!("more than {ROUTES_PER_PATH_MAX} routes have this host and path")));
            }
            taken.push(routes.len());
        }
        Ok(())
    }
}

/// Of two routes with the same host and path: whether a request could be for both and neither comes first.
fn clash(one: &Route, other: &Route) -> bool {
    let methods = match (one.methods.is_empty(), other.methods.is_empty()) {
        (true, true) => true,
        (false, false) => one.methods.iter().any(|method| other.methods.contains(method)),
        // The one that names its methods comes first.
        _ => false,
    };
    methods && one.conditions.len() == other.conditions.len() && !one.conditions.exclude(&other.conditions)
}

const _: () = assert!(SEGMENTS_MAX <= 64, "an arrangement is a set of bits");
