//! Sets of methods.

use std::fmt;

use http::Method;

/// The methods that there are a bit for. What is not among these is looked up in the route.
const KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];
const ONLY_BY_NAME: [Method; 2] = [Method::TRACE, Method::CONNECT];
/// All that there is no bit for.
const ALL: u16 = 1 << 15;
/// Some that there is no bit for.
const OTHERS: u16 = 1 << 14;

/// Methods that a route allows. Written as Allow writes them: `GET, HEAD`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

/// What a set says about one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Yes,
    No,
    /// The set holds methods that it cannot name.
    Ask,
}

impl MethodSet {
    /// An empty list is all methods, as in a route; but TRACE would read the gateway's own headers back to the
    /// client, and CONNECT opens a tunnel: these are only for routes that name them.
    pub(super) fn of(methods: &[Method]) -> Self {
        if methods.is_empty() {
            let ordinary = KNOWN.iter().filter(|&method| !ONLY_BY_NAME.contains(method));
            return Self(ordinary.fold(ALL, |bits, method| bits | bit(method)));
        }
        Self(methods.iter().fold(0, |bits, method| bits | bit(method)))
    }

    pub(super) fn allows(self, method: &Method) -> Allowed {
        match bit(method) {
            OTHERS if self.0 & ALL != 0 => Allowed::Yes,
            OTHERS if self.0 & OTHERS != 0 => Allowed::Ask,
            bit if self.0 & bit != 0 => Allowed::Yes,
            _ => Allowed::No,
        }
    }

    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

fn bit(method: &Method) -> u16 {
    KNOWN.iter().position(|known| known == method).map_or(OTHERS, |n| 1 << n)
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = KNOWN.iter().enumerate().filter(|(n, _)| self.0 & (1 << n) != 0);
        for (n, (_, method)) in named.enumerate() {
            f.write_str(if n == 0 { "" } else { ", " })?;
            f.write_str(method.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_what_it_holds_and_says_so() {
        let purge = Method::from_bytes(b"PURGE").unwrap();
        let set = MethodSet::of(&[Method::POST, Method::GET]);
        assert_eq!(
            (set.allows(&Method::GET), set.allows(&Method::HEAD), set.allows(&purge)),
            (Allowed::Yes, Allowed::No, Allowed::No)
        );
        assert_eq!(set.and(MethodSet::of(&[Method::DELETE])).to_string(), "GET, POST, DELETE");
        assert_eq!(MethodSet::of(std::slice::from_ref(&purge)).allows(&purge), Allowed::Ask);
        let all = MethodSet::of(&[]);
        assert_eq!((all.allows(&purge), all.allows(&Method::GET)), (Allowed::Yes, Allowed::Yes));
        assert_eq!((all.allows(&Method::TRACE), all.allows(&Method::CONNECT)), (Allowed::No, Allowed::No));
        assert_eq!(MethodSet::of(&[Method::TRACE]).allows(&Method::TRACE), Allowed::Yes);
    }
}
