//! Why a request is refused. Being refused is an outcome, not an error: there is no source, and
//! every variant knows the code that the client is answered with.

use std::sync::Arc;

use clearway_config::{ErrorCode, Scope, settings::gateway::policy::Maintenance};

use crate::{
    jwt,
    quota::{Refusal, Refused, Standing, Window},
    route::MethodSet,
    signature,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// The request can be read in more than one way; names what.
    Ambiguous(&'static str),
    /// The host is not one that this connection's client certificate was shown to.
    Misdirected,
    /// It came unencrypted and shall come again otherwise.
    HttpsRequired,
    /// The request's target is longer than any may be.
    UriTooLong,
    /// There are more headers than any request may have.
    HeadTooLarge,
    /// There is no memory to serve it with.
    Overloaded,
    RouteNotFound,
    /// The methods that would do.
    MethodNotAllowed(MethodSet),
    /// The route is closed for a while.
    Maintenance(Arc<Maintenance>),
    /// The body is, or says that it is, longer than the route takes.
    BodyTooLarge,
    /// The body has not come to its end in time.
    BodyTooSlow,
    /// The body is not what its type says; says why.
    MalformedBody(&'static str),
    /// The body is of a type that the route does not take.
    UnsupportedMediaType,
    /// The body is compressed, and has to be read.
    UnsupportedEncoding,
    KeyMissing,
    KeyMalformed,
    KeyUnknown,
    KeyRevoked,
    KeyExpired,
    /// Nothing was presented of all that the route takes.
    CredentialMissing,
    /// A credential of a kind that the route does not take.
    CredentialNotAccepted,
    Token(jwt::Refusal),
    IssuerKeysUnavailable,
    Signature(signature::Refusal),
    CertificateMissing,
    CertificateUnknown,
    AccountSuspended,
    /// The account names a policy that is not there.
    AccountPolicyUnknown,
    AddressNotAllowed,
    /// The first scope that is wanted and not held.
    ScopeMissing(Scope),
    /// Boxed, so that the answer to every accepted request stays small.
    Quota(Box<Refused>),
    /// What this node of a fleet was granted is spent, and the store has not been asked for more yet. What the answer
    /// is where it has nothing: nobody is answered before that is known.
    LeaseShort(Box<Refused>),
    /// The store that nodes share cannot be asked, and the plan does not go on without it.
    QuotaStoreUnavailable,
    AuthLeaseExpired,
    NotReady,
    LedgerUnavailable,
}

impl Reject {
    pub fn code(&self) -> ErrorCode {
        match self {
            Reject::Ambiguous(_) => ErrorCode::AmbiguousRequest,
            Reject::Misdirected => ErrorCode::MisdirectedRequest,
            Reject::HttpsRequired => ErrorCode::HttpsRequired,
            Reject::UriTooLong => ErrorCode::UriTooLong,
            Reject::HeadTooLarge => ErrorCode::HeadTooLarge,
            Reject::Overloaded => ErrorCode::GatewayOverloaded,
            Reject::RouteNotFound => ErrorCode::RouteNotFound,
            Reject::MethodNotAllowed(_) => ErrorCode::MethodNotAllowed,
            Reject::Maintenance(_) => ErrorCode::Maintenance,
            Reject::BodyTooLarge => ErrorCode::BodyTooLarge,
            Reject::BodyTooSlow => ErrorCode::RequestTimeout,
            Reject::MalformedBody(_) => ErrorCode::MalformedBody,
            Reject::UnsupportedMediaType => ErrorCode::UnsupportedMediaType,
            Reject::UnsupportedEncoding => ErrorCode::UnsupportedEncoding,
            Reject::KeyMissing => ErrorCode::KeyMissing,
            Reject::KeyMalformed => ErrorCode::KeyMalformed,
            Reject::KeyUnknown => ErrorCode::KeyUnknown,
            Reject::KeyRevoked => ErrorCode::KeyRevoked,
            Reject::KeyExpired => ErrorCode::KeyExpired,
            Reject::CredentialMissing => ErrorCode::CredentialMissing,
            Reject::CredentialNotAccepted => ErrorCode::CredentialNotAccepted,
            Reject::Token(refusal) => refusal.code(),
            Reject::IssuerKeysUnavailable => ErrorCode::IssuerKeysUnavailable,
            Reject::Signature(refusal) => refusal.code(),
            Reject::CertificateMissing => ErrorCode::CertificateMissing,
            Reject::CertificateUnknown => ErrorCode::CertificateUnknown,
            Reject::AccountSuspended => ErrorCode::AccountSuspended,
            Reject::AccountPolicyUnknown => ErrorCode::AccountPolicyUnknown,
            Reject::AddressNotAllowed => ErrorCode::AddressNotAllowed,
            Reject::ScopeMissing(_) => ErrorCode::ScopeMissing,
            Reject::Quota(refused) | Reject::LeaseShort(refused) => match refused.refusal.window {
                Window::Second => ErrorCode::RateLimitExceeded,
                Window::Day | Window::Month => ErrorCode::QuotaExceeded,
                Window::Concurrent => ErrorCode::ConcurrencyExceeded,
            },
            Reject::QuotaStoreUnavailable => ErrorCode::QuotaStoreUnavailable,
            Reject::AuthLeaseExpired => ErrorCode::AuthLeaseExpired,
            Reject::NotReady => ErrorCode::NotReady,
            Reject::LedgerUnavailable => ErrorCode::LedgerUnavailable,
        }
    }

    /// Which limit was met, where one was.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Reject::Quota(refused) | Reject::LeaseShort(refused) => Some(&refused.refusal),
            _ => None,
        }
    }

    /// What is left of every limit, where limits were looked at.
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Reject::Quota(refused) | Reject::LeaseShort(refused) => Some(&refused.standing),
            _ => None,
        }
    }
}

impl From<jwt::Refusal> for Reject {
    fn from(refusal: jwt::Refusal) -> Self {
        Reject::Token(refusal)
    }
}

impl From<signature::Refusal> for Reject {
    fn from(refusal: signature::Refusal) -> Self {
        Reject::Signature(refusal)
    }
}

impl From<Box<Refused>> for Reject {
    fn from(refused: Box<Refused>) -> Self {
        Reject::Quota(refused)
    }
}
