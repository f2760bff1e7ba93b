//! Filling templates from a request: paths for upstreams, targets of redirects.
//!
//! What is filled in comes out of the canonical view, so that it holds no control character, no slash where a
//! segment is meant, and no `..`.

use clearway_config::settings::gateway::{
    path::{PathPart, PathTemplate},
    redirect::{Redirect, TargetPart},
};
use http::HeaderValue;

use super::{Asked, MatchedRoute, Params};
use crate::Reject;

/// A template with its parameters, and `rest` behind it.
pub(super) fn fill(template: &PathTemplate, params: &Params, path: &str, rest: &str) -> String {
    let mut filled = String::with_capacity(path.len() + 32);
    for part in &template.parts {
        filled.push_str(match part {
            PathPart::Text(text) => text,
            PathPart::Param(n) => params.get(*n, path).unwrap_or_default(),
        });
    }
    filled.push_str(rest);
    filled
}

/// The Location that a redirect answers with.
pub fn location(redirect: &Redirect, matched: &MatchedRoute<'_>, asked: &Asked<'_>) -> Result<HeaderValue, Reject> {
    let mut location = String::with_capacity(asked.path.len() + 64);
    for part in &redirect.to {
        match part {
            TargetPart::Text(text) => location.push_str(text),
            // Without one the path would be read as a host.
            TargetPart::Host if asked.host.is_empty() => return Err(Reject::Ambiguous("Host is missing")),
            TargetPart::Host => location.push_str(asked.host),
            TargetPart::Path => location.push_str(asked.path),
            TargetPart::Query => {
                if let Some(query) = asked.query {
                    location.push('?');
                    location.push_str(query);
                }
            }
            TargetPart::Param(n) => {
                let param = matched.params.get(*n, asked.path).unwrap_or_default();
                if location.contains('?') {
                    push_in_query(&mut location, param);
                } else {
                    location.push_str(param);
                }
            }
        }
    }
    HeaderValue::try_from(location).map_err(|_| Reject::Ambiguous("the target is not a path"))
}

/// What separates the parameters of a query may stand in a path.
fn push_in_query(location: &mut String, param: &str) {
    for c in param.chars() {
        match c {
            '&' => location.push_str("%26"),
            '+' => location.push_str("%2B"),
            ';' => location.push_str("%3B"),
            '=' => location.push_str("%3D"),
            c => location.push(c),
        }
    }
}
