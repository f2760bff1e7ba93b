//! What an authority looks for at a name to see that it is ours (RFC 8555, 8.3).

use std::collections::HashMap;

use arc_swap::ArcSwap;

/// Where it looks.
pub(crate) const PATH: &str = "/.well-known/acme-challenge/";

/// The answers of the order that is being made; empty most of the time.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    by_token: ArcSwap<HashMap<String, String>>,
}

impl Challenges {
    /// The answer at a path, where one is expected there.
    pub(crate) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.by_token.load().get(token).cloned()
    }

    pub(super) fn expect(&self, token: &str, authorization: &str) {
        self.by_token.rcu(|old| {
            let mut new = HashMap::clone(old);
            new.insert(token.to_owned(), authorization.to_owned());
            new
        });
    }

    pub(super) fn clear(&self) {
        self.by_token.store(std::sync::Arc::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_while_its_order_is_made() {
        let challenges = Challenges::default();
        challenges.expect("abc", "abc.thumb");
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc").as_deref(), Some("abc.thumb"));
        for path in
            ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/abcd", "/abc", "/x/.well-known/acme-challenge/abc"]
        {
            assert_eq!(challenges.answer(path), None, "{path}");
        }
        challenges.clear();
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc"), None);
    }
}
