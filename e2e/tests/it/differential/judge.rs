//! Whether three stacks and the gateway's own log tell of one and the same request.

use std::collections::HashMap;

use super::{stacks::Echo, targets::HOST};

/// What a client may be told about a target that has no single reading, or no route.
const REFUSALS: [u16; 5] = [400, 404, 405, 414, 431];
/// Bytes of a path that the access log keeps; it may be a character short of them.
const LOGGED_BYTES_MAX: usize = 512;

/// One of the things that a stack says of a request.
type Said = fn(&Echo) -> &str;

/// What has become of a target sent to one stack's host.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// By the gateway, in its own words.
    Refused(u16),
    Echoed(Box<Echo>),
    /// By the stack, which could not read what was forwarded to it.
    Unread(u16),
    /// Anything else.
    Fault(String),
}

/// A line of the access log.
#[derive(Debug, Clone)]
pub(super) struct Logged {
    pub(super) host: String,
    pub(super) path: String,
}

/// Where two disagree about `target`; nothing, if nobody does. `outcomes` are of the hosts `hosts`, and
/// `logged` is by request id.
pub(super) fn judge(target: &[u8], hosts: &[&str], outcomes: &[Outcome], logged: &HashMap<String, Logged>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut echoes: Vec<&Echo> = Vec::new();
    let mut statuses = Vec::new();
    for (outcome, host) in outcomes.iter().zip(hosts) {
        match outcome {
            Outcome::Refused(status) if REFUSALS.contains(status) => statuses.push(status),
            Outcome::Refused(status) => faults.push(format!("{host}: the gateway answers {status}")),
            Outcome::Unread(status) => faults.push(format!("{host}: the upstream answers {status}")),
            Outcome::Fault(fault) => faults.push(format!("{host}: {fault}")),
            Outcome::Echoed(echo) => {
                alone(target, host, echo, logged.get(&echo.request_id), &mut faults);
                echoes.push(echo);
            }
        }
    }
    if statuses.windows(2).any(|pair| pair[0] != pair[1]) || (!statuses.is_empty() && !echoes.is_empty()) {
        faults.push(format!("refused with {statuses:?}, and read by {} of {}", echoes.len(), outcomes.len()));
    }
    let said: [(&str, Said); 3] = [
        ("path", |echo| &echo.path),
        ("decoded path", |echo| echo.decoded.as_deref().unwrap_or("(not UTF-8)")),
        ("target", |echo| &echo.target),
    ];
    for (what, of) in said {
        if echoes.windows(2).any(|pair| of(pair[0]) != of(pair[1])) {
            faults.extend(echoes.iter().map(|echo| format!("{} reads the {what} {:?}", echo.stack, of(echo))));
        }
    }
    faults
}

/// What one stack has read, against what was sent to it, what the gateway says, and itself.
fn alone(target: &[u8], host: &str, echo: &Echo, logged: Option<&Logged>, faults: &mut Vec<String>) {
    let mut fault = |what: &str, read: &str, wanted: &str| {
        if read != wanted {
            faults.push(format!("{}: {what} is {read:?}, and should be {wanted:?}", echo.stack));
        }
    };
    let (path, query) = echo.target.split_once('?').unwrap_or((&echo.target, ""));
    let sent_query = query_of(target);
    fault("the method", &echo.method, "GET");
    fault("the host", &echo.host, host);
    // Its own normalising finds nothing to do.
    fault("the path as parsed", &echo.path, path);
    fault("the query as received", &spelled(query), &spelled(&String::from_utf8_lossy(sent_query)).replace(HOST, host));
    fault("the query as parsed", &spelled(&echo.query), &spelled(query));
    match logged {
        None => fault("the access log's line", "missing", "there"),
        Some(logged) => {
            fault("the logged host", &logged.host, host);
            let cut = logged.path.len() > LOGGED_BYTES_MAX - 4 && echo.path.starts_with(&logged.path);
            if !cut {
                fault("the logged path", &logged.path, &echo.path);
            }
        }
    }
    faults.extend(ambiguities(echo).into_iter().map(|what| format!("{}: {what} in {:?}", echo.stack, echo.path)));
}

fn query_of(target: &[u8]) -> &[u8] {
    target.iter().position(|&byte| byte == b'?').map_or(&[], |at| &target[at + 1..])
}

/// What a path that is passed on never holds, escaped or not.
fn ambiguities(echo: &Echo) -> Vec<&'static str> {
    let Some(decoded) = &echo.decoded else { return vec!["escapes that are not UTF-8"] };
    let dots = |path: &str| path.split('/').map(|segment| segment.split(';').next()).any(|name| matches!(name, Some("." | "..")));
    let slashes = |path: &str| path.matches(['/', '\\']).count();
    [
        (dots(&echo.path) || dots(decoded), "a dot segment"),
        (echo.path.contains("//"), "an empty segment"),
        (slashes(decoded) != echo.path.matches('/').count(), "an encoded separator"),
        (decoded.contains(|letter: char| letter.is_ascii_control()), "a control character"),
    ]
    .into_iter()
    .filter_map(|(is, what)| is.then_some(what))
    .collect()
}

/// A query in which what WHATWG URL escapes is escaped: the one spelling that parsers of URLs may change.
fn spelled(query: &str) -> String {
    query.replace('"', "%22").replace('\'', "%27").replace('<', "%3C").replace('>', "%3E")
}
