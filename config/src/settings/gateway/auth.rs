//! How a route wants to know who asks: which methods it takes, and what anonymous requests may cost.

use serde::{Deserialize, Serialize};

use crate::{limits::Limits, settings::fault::Fault};

/// `"key"`, `"open"`, or a list of methods of which a request uses one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(
    untagged,
    expecting = "must be `open`, a method (`key`, `jwt`, `signature`, `mtls`, `session`, `anonymous`), or a list of methods"
)]
pub enum AuthSpec {
    One(AuthWord),
    Several(Vec<Method>),
}

/// A route's `auth` where it is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuthWord {
    /// Anyone may; nothing is checked or counted.
    Open,
    Key,
    Jwt,
    Signature,
    Mtls,
    Session,
    Anonymous,
}

/// One way to say who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// An API key.
    Key,
    /// A token of one of the issuers.
    Jwt,
    /// A message signature with a key's signing secret (RFC 9421), without the key itself.
    Signature,
    /// A client certificate of the TLS connection.
    Mtls,
    /// A session of a person with Clearway itself, as bearer: the upstream verifies it. Limited by address.
    Session,
    /// No credential at all; limited by address.
    Anonymous,
}

impl Method {
    pub const ALL: [Method; 6] = [Method::Key, Method::Jwt, Method::Signature, Method::Mtls, Method::Session, Method::Anonymous];

    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Key => "key",
            Method::Jwt => "jwt",
            Method::Signature => "signature",
            Method::Mtls => "mtls",
            Method::Session => "session",
            Method::Anonymous => "anonymous",
        }
    }
}

/// A set of methods.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods(u8);

impl Methods {
    pub const fn of(method: Method) -> Self {
        Self(1 << method as u8)
    }

    pub const fn contains(self, method: Method) -> bool {
        self.0 & 1 << method as u8 != 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |&method| self.contains(method))
    }
}

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        Self(methods.into_iter().fold(0, |set, method| set | Self::of(method).0))
    }
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A route's `auth`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anyone may; nothing is checked or counted.
    Open,
    /// The request's credential is of one of these methods.
    Any(Methods),
    /// A client certificate and one credential of these methods, both of the same account.
    WithCertificate(Methods),
}

impl Auth {
    pub const KEY: Auth = Auth::Any(Methods::of(Method::Key));

    /// What the route takes; nothing where it is open.
    pub fn methods(self) -> Methods {
        match self {
            Auth::Open => Methods::default(),
            Auth::Any(methods) | Auth::WithCertificate(methods) => methods,
        }
    }

    pub fn takes(self, method: Method) -> bool {
        self.methods().contains(method)
    }

    /// Whether it lets requests pass of which nothing is known here, which are limited by their address.
    pub fn takes_strangers(self) -> bool {
        self.takes(Method::Anonymous) || self.takes(Method::Session)
    }
}

impl AuthSpec {
    /// `all`: a certificate is asked for beside the other credential.
    pub fn resolve(&self, all: bool) -> Result<Auth, Fault> {
        let methods: Methods = match self {
            AuthSpec::One(AuthWord::Open) if all => return Err(Fault::at("auth_all", "an open route asks for nothing")),
            AuthSpec::One(AuthWord::Open) => return Ok(Auth::Open),
            AuthSpec::One(word) => word.method().into_iter().collect(),
            AuthSpec::Several(methods) => {
                let set: Methods = methods.iter().copied().collect();
                if set.len() as usize != methods.len() {
                    return Err(Fault::at("auth", "names a method twice"));
                }
                set
            }
        };
        if methods.is_empty() {
            return Err(Fault::at("auth", "must name at least one method; `open` is for a route that asks for nothing"));
        }
        if !all {
            return Ok(Auth::Any(methods));
        }
        let others: Methods = methods.iter().filter(|&method| method != Method::Mtls).collect();
        if !methods.contains(Method::Mtls) || others.is_empty() || Auth::Any(others).takes_strangers() {
            return Err(Fault::at("auth_all", "needs `mtls` and at least one of `key`, `jwt` and `signature` in auth"));
        }
        Ok(Auth::WithCertificate(others))
    }
}

impl AuthWord {
    fn method(self) -> Option<Method> {
        match self {
            AuthWord::Open => None,
            AuthWord::Key => Some(Method::Key),
            AuthWord::Jwt => Some(Method::Jwt),
            AuthWord::Signature => Some(Method::Signature),
            AuthWord::Mtls => Some(Method::Mtls),
            AuthWord::Session => Some(Method::Session),
            AuthWord::Anonymous => Some(Method::Anonymous),
        }
    }
}

/// What one client address may do without a credential, on one route. IPv6 counts by /64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AnonymousSpec {
    /// Requests in any second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u64>,
    /// Requests in a UTC date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
    /// Requests being served at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
}

impl AnonymousSpec {
    pub fn resolve(&self) -> Result<Limits, Fault> {
        let limits = Limits::new(self.per_second, self.per_day, None, self.concurrent, false)
            .map_err(|wrong| Fault::at(wrong.field, format!("must be from 1 to {}", wrong.max)))?;
        if limits.is_unlimited() {
            return Err(Fault::new("needs at least one limit"));
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, all: bool) -> Result<Auth, String> {
        #[derive(Deserialize)]
        struct Holder {
            auth: AuthSpec,
        }
        let holder: Holder = toml::from_str(&format!("auth = {text}")).map_err(|e| e.message().to_owned())?;
        holder.auth.resolve(all).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_word_is_a_list_of_one() {
        assert_eq!(read("\"open\"", false), Ok(Auth::Open));
        assert_eq!(read("\"key\"", false), Ok(Auth::KEY));
        assert_eq!(read("[\"key\"]", false), Ok(Auth::KEY));
        let both = read("[\"anonymous\", \"jwt\"]", false).unwrap();
        assert!(both.takes(Method::Jwt) && both.takes(Method::Anonymous) && !both.takes(Method::Key));
    }

    #[test]
    fn a_certificate_beside_another_credential_is_asked_for_by_auth_all() {
        let auth = read("[\"mtls\", \"key\", \"jwt\"]", true).unwrap();
        assert_eq!(auth, Auth::WithCertificate([Method::Key, Method::Jwt].into_iter().collect()));
        for without in ["\"open\"", "[\"key\", \"jwt\"]", "[\"mtls\"]", "[\"mtls\", \"anonymous\"]", "[\"mtls\", \"session\"]"] {
            assert!(read(without, true).unwrap_err().starts_with("auth_all: "), "{without}");
        }
    }

    #[test]
    fn nothing_twice_and_unknown_words_are_refused() {
        assert_eq!(read("[\"key\", \"key\"]", false).unwrap_err(), "auth: names a method twice");
        assert!(read("[]", false).unwrap_err().starts_with("auth: must name at least one"));
        assert!(read("\"basic\"", false).unwrap_err().starts_with("must be `open`, a method"));
        assert!(read("[\"open\", \"key\"]", false).is_err(), "open is not a method beside others");
    }

    #[test]
    fn anonymous_requests_are_always_limited() {
        assert!(AnonymousSpec::default().resolve().is_err());
        let zero = AnonymousSpec { per_second: Some(0), ..AnonymousSpec::default() };
        assert!(zero.resolve().unwrap_err().to_string().starts_with("per_second: "));
        let some = AnonymousSpec { per_day: Some(100), concurrent: Some(2), ..AnonymousSpec::default() };
        assert_eq!(some.resolve().unwrap(), Limits { per_day: Some(100), concurrent: Some(2), ..Limits::UNLIMITED });
    }
}
