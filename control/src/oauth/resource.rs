//! What a token is good for (RFC 8707): the whole gateway, or one path of it and everything below. There is no other resource:
//! what is elsewhere has an authorization server elsewhere.

use clearway_filters::jwt::{covers, is_resource_path};

/// A path below the issuer; `None` is everything there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resource(Option<String>);

/// It is none of ours, or more than was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The resource must be the issuer, or a path below it that was granted.")]
pub(super) struct UnknownTarget;

impl Resource {
    /// What a request names; `None` where it names nothing.
    pub(super) fn read(issuer: &str, asked: Option<&str>) -> Result<Option<Self>, UnknownTarget> {
        let Some(asked) = asked else { return Ok(None) };
        match asked.strip_prefix(issuer) {
            Some("") => Ok(Some(Self(None))),
            Some(path) if is_resource_path(path) => Ok(Some(Self(Some(path.to_owned())))),
            _ => Err(UnknownTarget),
        }
    }

    /// Of what was granted, what is asked for: the same, or less.
    pub(super) fn narrowed(&self, asked: Option<Self>) -> Result<Self, UnknownTarget> {
        let Some(asked) = asked else { return Ok(self.clone()) };
        let inside = match (&self.0, &asked.0) {
            (None, _) => true,
            (Some(granted), Some(path)) => covers(Some(granted), path),
            (Some(_), None) => false,
        };
        if inside { Ok(asked) } else { Err(UnknownTarget) }
    }

    /// As tokens name it in `aud`.
    pub(super) fn url(&self, issuer: &str) -> String {
        format!("{issuer}{}", self.0.as_deref().unwrap_or_default())
    }

    /// As it is stored.
    pub(super) fn path(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub(super) fn of_path(path: Option<String>) -> Self {
        Self(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://gw.example";

    fn read(text: &str) -> Result<Option<Resource>, UnknownTarget> {
        Resource::read(ISSUER, Some(text))
    }

    #[test]
    fn a_resource_is_the_gateway_or_a_path_of_it() {
        assert_eq!(Resource::read(ISSUER, None), Ok(None));
        assert_eq!(read(ISSUER), Ok(Some(Resource::default())));
        assert_eq!(read("https://gw.example/orders").unwrap().unwrap().url(ISSUER), "https://gw.example/orders");
        for wrong in
            ["https://elsewhere.example", "https://gw.example.evil/", "https://gw.example/", "https://gw.example/a#b", "/a", ""]
        {
            assert_eq!(read(wrong), Err(UnknownTarget), "{wrong}");
        }
    }

    #[test]
    fn less_than_was_granted_can_be_asked_for_and_never_more() {
        let of = |path: &str| Resource(Some(path.to_owned()));
        let all = Resource::default();
        assert_eq!(all.narrowed(Some(of("/a"))), Ok(of("/a")));
        assert_eq!(of("/a").narrowed(None), Ok(of("/a")));
        assert_eq!(of("/a").narrowed(Some(of("/a/b"))), Ok(of("/a/b")));
        for wider in [all, of("/b"), of("/ab"), of("/")] {
            assert_eq!(of("/a").narrowed(Some(wider)), Err(UnknownTarget));
        }
    }
}
